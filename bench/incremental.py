"""What a second training costs after twenty rows were added to five thousand: the whole command, its start included.

Rows are messages of ``--data``. The first training starts from an empty feature store. It is then run again with the
rows added, once as it was, once with ``--like`` the first run; each time the new texts are not in the store yet.
Writes bench/results/incremental.json.

    .venv/bin/python bench/incremental.py [--data NAME] [--rows N] [--added N]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailtune.parts import prepare
from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import cache_home, write_json

RESULTS = Path(__file__).resolve().parent / "results"


def write_rows(path: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """Write a CSV file of labelled texts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return path


def trained(file: Path, run: Path, home: Path, *flags: str) -> dict[str, Any]:
    """Return the seconds of one ``tailtune train``, those of its stages, and what it computed."""
    command = [sys.executable, "-m", "tailtune.cli", "train", str(file), "--out", str(run), "--quiet", *flags]
    started = time.monotonic()
    subprocess.run(command, env={**os.environ, "TAILTUNE_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(seconds, 2),
        "stages": metrics["seconds"],
        "computed_texts": metrics["tokens"]["computed_texts"],
        "depth": metrics["depth"],
        "precision": metrics["precision"],
        "accuracy": metrics["test"]["accuracy"],
    }


def main() -> None:
    """Train twice and print both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="sms-spam", help="file or named data set")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--added", type=int, default=20)
    given = parser.parse_args()
    dataset, _ = prepare(resolve({"data": given.data}).config)
    most = given.rows + 2 * given.added
    if len(dataset) < most:
        sys.exit(f"{given.data}: {len(dataset)} rows, but {most} are needed; name a larger set or give --rows")
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name) / "home"
        home.mkdir()
        (home / "models").symlink_to(cache_home() / "models")  # the model is there each time
        result: dict[str, Any] = {"versions": versions(), "rows": given.rows, "added": given.added}
        for number, (kind, flags) in enumerate(
            {"first": (), "again": (), "like": ("--like", f"{folder}/first")}.items()
        ):
            rows = given.rows + number * given.added
            file = write_rows(folder / f"{kind}.csv", dataset.texts[:rows], dataset.labels[:rows])
            result[kind] = trained(file, folder / kind, home, *flags)
            print(kind, json.dumps(result[kind]), flush=True)
    for kind in ("again", "like"):
        result[kind]["share"] = round(result[kind]["seconds"] / result["first"]["seconds"], 4)
        print(f"{kind} / first: {result[kind]['share']:.1%}")
    write_json(RESULTS / "incremental.json", result)


if __name__ == "__main__":
    main()
