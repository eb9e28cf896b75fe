"""Accuracy of the chapter's recipe over seeds 0 to 4: the last block fine-tuned at full depth, and ``auto``.

Both on the chapter's split, beside the cheap baselines. Writes bench/results/seeds.json.

    .venv/bin/python bench/seeds.py [--data FILE]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.train import train

SEEDS = range(5)
METHODS: dict[str, dict[str, Any]] = {
    "tail at full depth": {"method": "tail", "depth": "last"},
    "auto": {"method": "auto"},
}
RESULTS = Path(__file__).resolve().parent / "results"


def run(data: str, settings: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Return the metrics of one training on the chapter's split."""
    given = {"data": data, "recipe": "chapter", "seed": seed, "out": str(folder), **settings}
    return train(resolve(given).config).metrics


def main() -> None:
    """Run all and print accuracies and means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="sms-spam", help="file or named data set")
    given = parser.parse_args()
    result: dict[str, Any] = {"versions": versions()}
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in METHODS.items():
            found = [run(given.data, settings, seed, Path(folder) / f"{name}-{seed}") for seed in SEEDS]
            accuracies = [metrics["test"]["accuracy"] for metrics in found]
            result[name] = {
                "accuracy": accuracies,
                "mean": statistics.mean(accuracies),
                "chosen": [f"{metrics['method']} at depth {metrics['depth']}" for metrics in found],
            }
            result["data"] = {"name": given.data, "sha256": found[0]["data"]["sha256"]}
            result["baselines"] = {key: value["accuracy"] for key, value in found[0]["baselines"].items()}
            said = ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
            print(f"{name}: {said}; mean {100 * result[name]['mean']:.2f} %")
    print("baselines:", ", ".join(f"{name} {100 * value:.2f} %" for name, value in result["baselines"].items()))
    write_json(RESULTS / "seeds.json", result)


if __name__ == "__main__":
    main()
