"""Every setting of the optimiser at once gives the losses it gave before, step by step and epoch by epoch.

The plain curve is in test_tail_curve.py. Regenerate after a change that is meant to move it, and say why in the commit:

    PYTHONPATH=tests python tests/golden/test_descent_curve.py
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.features import model_features
from support.texts import encode
from support.tiny_models import write_tiny_llama
from tailtune.features.backbone import Wanted
from tailtune.methods.descent import Step, TailSettings, fit_tail
from tailtune.methods.tail import new_tail
from tailtune.models.weights import load_decoder

FILE = Path(__file__).with_name("descent_curve.json")
# Written down: the curve must not move with the messages that other tests make up.
TEXTS = Path(__file__).with_name("tail_texts.jsonl")
SETTINGS: Mapping[str, Any] = {
    "groups": {"layer_decay": 0.7, "head_factor": 4.0, "decayed": "matrices", "schedule": "cosine"},
    "accumulation and a moving average": {"batch_size": 3, "accumulation": 3, "ema": 0.9, "clip_norm": 1.0},
    "the last epochs": {"average_last": 2, "warmup_fraction": 0.2, "schedule": "linear"},
}


def losses(name: str, folder: Path) -> dict[str, list[float]]:
    """Return the losses of the steps and of the validation texts, one thread, two blocks of a tiny random model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = write_tiny_llama(folder / "model", seed=0)
        rows = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
        features = model_features(model, folder, encode(model, [row["text"] for row in rows]), Wanted(states=(2,)))
        tail = new_tail(load_decoder(model), blocks=2, depth=4, classes=2, seed=0)
        ids = np.array([row["label"] == "spam" for row in rows], dtype=np.int64)
        settings = TailSettings(**{"epochs": 4, "learning_rate": 1e-3, **SETTINGS[name]})
        weights = np.array([0.5, 1.5], dtype=np.float32)
        told: dict[str, list[float]] = {"steps": [], "validation": []}
        for event in fit_tail(
            *(tail, features, ids),
            train=np.arange(29),
            validation=np.arange(29, 40),
            settings=settings,
            class_weights=weights,
        ):
            if isinstance(event, Step):
                told["steps"].append(event.loss)
            else:
                told["validation"].append(event.validation_loss)
        return told
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_loss_curve_is_the_recorded_one(name: str, tmp_path: Path) -> None:
    """To 1e-5, as the plain one."""
    recorded, got = json.loads(FILE.read_text(encoding="utf-8"))[name], losses(name, tmp_path)
    assert (len(got["steps"]), len(got["validation"])) == (16, 4)
    for part, values in recorded.items():
        np.testing.assert_allclose(got[part], values, rtol=1e-5)


def record() -> None:
    """Write the curves of this code to the golden file."""
    with tempfile.TemporaryDirectory() as folder:
        curves = {name: losses(name, Path(folder) / name.replace(" ", "-")) for name in SETTINGS}
    FILE.write_text(json.dumps(curves, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
