"""Every row tested once: five folds on the comments of the YouTube Spam Collection, the default model, ``auto``.

Writes bench/results/folds.json.

    TAILTUNE_DATA=DIR .venv/bin/python bench/folds.py [--folds 5]
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from pathlib import Path

from public_sets import youtube_spam
from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.train import train

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Train in folds, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "youtube.csv"
        with data.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *youtube_spam(Path(os.environ["TAILTUNE_DATA"]))])
        settings = {"data": str(data), "folds": given.folds, "out": str(Path(folder) / "run")}
        metrics = train(resolve(settings).config).metrics
    kept = {name: metrics[name] for name in ("folds", "verdict", "seconds")}
    kept["test"] = {
        name: metrics["test"][name] for name in ("rows", "accuracy", "accuracy_interval", "macro_f1", "ece")
    }
    kept["baselines"] = {name: found["accuracy"] for name, found in metrics["baselines"].items()}
    print(kept["test"], kept["folds"], kept["baselines"], metrics["verdict"]["text"], sep="\n")
    write_json(RESULTS / "folds.json", {"versions": versions(), **kept})


if __name__ == "__main__":
    main()
