"""Several labels per text: GoEmotions (28 emotions), the published parts, a sample of the training rows.

Beside one TF-IDF regression per label on the same rows. Needs TAILTUNE_DATA with goemotions/ in it. Writes
bench/results/goemotions.json.

    .venv/bin/python bench/goemotions.py [--rows 5000] [--held-out 2000]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.train import train

RESULTS = Path(__file__).resolve().parent / "results"
SCORES = ("micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy", "hamming_loss", "log_loss")


def rewrite(folder: Path, part: str, out: Path, most: int | None) -> Path:
    """Write ``most`` rows of a part, drawn with seed 0, as JSON lines to ``out``, and return it."""
    names = (folder / "labels.txt").read_text(encoding="utf-8").split()
    lines = (folder / f"{part}.tsv").read_text(encoding="utf-8").split("\n")
    cells = [line.split("\t") for line in lines if line]
    rows = [{"text": text, "labels": [names[int(at)] for at in ids.split(",")]} for text, ids, _ in cells]
    random.Random(0).shuffle(rows)
    path = out / f"{part}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:most]), encoding="utf-8")
    return path


def figures(scores: dict[str, Any]) -> dict[str, Any]:
    """Return each score with its interval."""
    return {key: {"value": scores[key], "interval": scores[f"{key}_interval"]} for key in SCORES}


def main() -> None:
    """Train, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000, help="training rows")
    parser.add_argument("--held-out", type=int, default=2000, help="validation rows")
    parser.add_argument("--method", default="probe")
    parser.add_argument("--model", help="default: the default model")
    given = parser.parse_args()
    source = Path(os.environ["TAILTUNE_DATA"]) / "goemotions"
    with tempfile.TemporaryDirectory() as folder:
        named = (("train", given.rows), ("dev", given.held_out), ("test", None))
        parts = {part: str(rewrite(source, part, Path(folder), most)) for part, most in named}
        settings = {"data": parts["train"], "validation": parts["dev"], "test": parts["test"], "method": given.method}
        chosen = {"model": given.model} if given.model else {}
        metrics = train(resolve({**settings, **chosen, "out": str(Path(folder) / "run")}).config, say=print).metrics
    result = {
        "rows": metrics["data"]["parts"],
        "model": metrics["model"]["name"],
        "chosen": metrics["reason"],
        "tailtune": figures(metrics["test"]),
        **{name: figures(scores) for name, scores in metrics["baselines"].items()},
        "verdict": metrics["verdict"],
        "calibrated": metrics["label_rules"]["calibrated"],
        "raw_log_loss": metrics["test"]["raw"]["log_loss"],
        "per_label": metrics["test"]["per_label"],
        "thresholds": metrics["label_rules"]["labels"],
        "seconds": metrics["seconds"],
        "versions": versions(),
    }
    for name in ("tailtune", *metrics["baselines"]):
        said = ", ".join(f"{key} {each['value']:.4f} {each['interval']}" for key, each in result[name].items())
        print(f"{name}: {said}")
    print(metrics["verdict"]["text"])
    write_json(RESULTS / "goemotions.json", result)


if __name__ == "__main__":
    main()
