"""What class weights, focal loss and label smoothing do on unequal classes: probes and tails at one depth.

Writes bench/results/imbalance.json. About half an hour on one core; the features are computed once.

    .venv/bin/python bench/imbalance.py [--depth N] [--epochs N] [--seeds N] [VARIANT ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.train import train

VARIANTS: dict[str, dict[str, Any]] = {
    "probe": {"method": "probe"},
    "probe, weights": {"method": "probe", "class_weights": "auto"},
    "probe, weights, corrected": {"method": "probe", "class_weights": "auto", "prevalence": "data"},
    "tail": {"method": "tail"},
    "tail, weights": {"method": "tail", "class_weights": "auto"},
    "tail, focal": {"method": "tail", "loss": "focal"},
    "tail, smoothing 0.1": {"method": "tail", "label_smoothing": 0.1},
    "tail, weights, focal": {"method": "tail", "class_weights": "auto", "loss": "focal"},
}
FILE = Path(__file__).resolve().parent / "results" / "imbalance.json"


def measured(given: argparse.Namespace, settings: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Return what one training came to on its test rows, shares with their 95 % intervals."""
    fixed = {"data": given.data, "depth": given.depth, "epochs": given.epochs, "seed": seed, "out": str(folder)}
    metrics = train(resolve({**fixed, "baselines": False, **settings}).config).metrics
    test, detail = metrics["test"], metrics["detail"]
    of_class = test["per_class"][given.positive]
    recall = next(each for each in detail["slices"]["class"] if each["name"] == given.positive)
    return {
        "accuracy": test["accuracy"],
        "accuracy_interval": test["accuracy_interval"],
        "macro_f1": test["macro_f1"],
        "macro_f1_interval": detail["intervals"]["macro_f1"],
        "recall": of_class["recall"],
        "recall_interval": recall["interval"],
        "precision": of_class["precision"],
        "log_loss": test["log_loss"],
        "log_loss_interval": detail["intervals"]["log_loss"],
        "ece": test["ece"],
        "ece_interval": test["ece_interval"],
        "ece_before_calibration": test["raw"]["ece"],
        "log_loss_before_calibration": test["raw"]["log_loss"],
        "calibration": metrics["calibration"]["method"],
    }


def main() -> None:
    """Run every variant with every seed and print means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="sms-spam", help="file or named data set")
    parser.add_argument("--positive", default="spam", help="the rare class, whose recall and precision are told")
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("variants", nargs="*", help="measure these again and keep the others; default: all")
    given = parser.parse_args()
    asked = {key: value for key, value in vars(given).items() if key != "variants"}
    kept = json.loads(FILE.read_text(encoding="utf-8"))["variants"] if given.variants else {}
    result: dict[str, Any] = {"versions": versions(), "settings": asked, "variants": kept}
    for name in given.variants or VARIANTS:
        settings = VARIANTS[name]
        with tempfile.TemporaryDirectory() as folder:
            found = [measured(given, settings, seed, Path(folder) / str(seed)) for seed in range(given.seeds)]
        numbers = [key for key, value in found[0].items() if isinstance(value, float)]
        means = {key: statistics.mean(each[key] for each in found) for key in numbers}
        result["variants"][name] = {"mean": means, "seeds": found}
        said = ", ".join(f"{key} {value:.4f}" for key, value in means.items())
        print(f"{name}: {said}", flush=True)
        write_json(FILE, result)


if __name__ == "__main__":
    main()
