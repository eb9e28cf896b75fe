"""What each rule for long texts is worth where the label depends on one passage: a spam message among ham.

Messages of the SMS Spam Collection are put into parts, near duplicates together; within each part a text is made of
seven of them, all ham, or six and one spam at a random place. ``--max-tokens`` is then far below the length of a text.
``whole`` reads all of it at once. ``--data`` takes labelled texts as they are instead, with columns text and label.
Writes bench/results/long-NAME.json.

    .venv/bin/python bench/long.py [--data FILE] [--depth N] [--max-tokens N] [--precision NAME] [--method NAME]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.data.catalog import open_dataset
from tailtune.data.dataset import Dataset
from tailtune.data.split import split_dataset
from tailtune.evaluate.intervals import mcnemar_p
from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.train import train

RESULTS = Path(__file__).resolve().parent / "results"
MESSAGES = 7
FRACTIONS = (0.5, 0.15, 0.35)
RULES: dict[str, dict[str, Any]] = {
    "truncate-tail": {"long": "truncate-tail"},
    "truncate-head": {"long": "truncate-head"},
    "windows, mean": {"long": "windows", "merge": "mean"},
    "windows, vote": {"long": "windows", "merge": "vote"},
    "windows, max": {"long": "windows", "merge": "max"},
    "windows, mean, no overlap": {"long": "windows", "merge": "mean", "stride": "max"},
    "whole": {"max_tokens": None},
}


def long_texts(messages: Dataset, rows: np.ndarray[Any, Any], seed: int) -> Iterator[tuple[str, str]]:
    """Yield (text, label), each spam message among six ham ones once, and as many texts of ham alone."""
    random = np.random.default_rng(seed)
    ham = [messages.texts[row] for row in rows if messages.labels[row] == "ham"]
    spam = [messages.texts[row] for row in rows if messages.labels[row] == "spam"]
    for message in spam:
        parts = [ham[place] for place in random.choice(len(ham), MESSAGES, replace=False)]
        yield "\n".join(parts), "ham"
        parts = [ham[place] for place in random.choice(len(ham), MESSAGES, replace=False)]
        parts[random.integers(MESSAGES)] = message
        yield "\n".join(parts), "spam"


def write_parts(folder: Path) -> dict[str, str]:
    """Write the three parts and return the settings that name them."""
    messages = open_dataset("sms-spam")
    split = split_dataset(messages, seed=0, fractions=FRACTIONS)
    files = {}
    for seed, (setting, part) in enumerate((("data", "train"), ("validation", "validation"), ("test", "test"))):
        files[setting] = str(folder / f"{part}.csv")
        with Path(files[setting]).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *long_texts(messages, getattr(split, part), seed)])
    return files


def main() -> None:
    """Train once for each rule and print accuracies with their intervals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="file or named data set (default: joined messages)")
    parser.add_argument("--depth", default="15")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--method", default="probe")
    given = parser.parse_args()
    of = Path(given.data).stem if given.data else "joined"
    result: dict[str, Any] = {"versions": versions(), **vars(given), "data": of, "rules": {}}
    right: dict[str, np.ndarray[Any, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        common: dict[str, Any] = ({"data": given.data} if given.data else write_parts(Path(name))) | {
            **{"method": given.method, "depth": given.depth, "precision": given.precision, "baselines": False},
            "max_tokens": given.max_tokens,
        }
        for rule, settings in RULES.items():
            chosen = {**common, **settings, "out": str(Path(name) / rule.replace(", ", "-"))}
            if chosen.get("stride") == "max":
                chosen["stride"] = given.max_tokens
            run = train(resolve(chosen).config)
            metrics = run.metrics
            matrix = np.array(metrics["test"]["confusion"])
            right[rule] = _right(run.folder)
            result["rules"][rule] = {
                "accuracy": metrics["test"]["accuracy"],
                "accuracy_interval": metrics["test"]["accuracy_interval"],
                "log_loss": metrics["test"]["log_loss"],
                "recall": (matrix.diagonal() / matrix.sum(axis=1)).tolist(),
                "tokens": {key: metrics["tokens"][key] for key in ("windows", "total", "computed", "truncated_texts")},
                "seconds": {key: metrics["seconds"][key] for key in ("backbone", "method", "total")},
            }
            print(rule, result["rules"][rule], flush=True)
    result["mcnemar_against_windows_mean"] = {
        rule: mcnemar_p(rows, right["windows, mean"]) for rule, rows in right.items() if rule != "windows, mean"
    }
    print(result["mcnemar_against_windows_mean"])
    write_json(RESULTS / f"long-{of}-{given.method}.json", result)


def _right(folder: Path) -> np.ndarray[Any, Any]:
    """[test rows] whether the answer was right."""
    import json

    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return np.array([row["label"] == row["predicted"] for row in map(json.loads, lines)])


if __name__ == "__main__":
    main()
