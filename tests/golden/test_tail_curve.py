"""Twenty steps of tail training give the losses they gave before, so that a refactor leaves the curve as it was.

Regenerate after a change that is meant to move it, and say why in the commit:

    PYTHONPATH=tests python tests/golden/test_tail_curve.py
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from support.features import model_features
from support.texts import encode
from support.tiny_models import write_tiny_gpt2, write_tiny_llama
from tailtune.features.backbone import Wanted
from tailtune.methods.descent import Step, TailSettings, fit_tail
from tailtune.methods.tail import new_tail
from tailtune.models.weights import load_decoder

FILE = Path(__file__).with_name("tail_curve.json")
# Written down: the curve must not move with the messages that other tests make up.
TEXTS = Path(__file__).with_name("tail_texts.jsonl")
WRITERS: dict[str, Callable[..., Path]] = {"llama": write_tiny_llama, "gpt2": write_tiny_gpt2}
SETTINGS = TailSettings(
    epochs=4, batch_size=8, learning_rate=1e-3, clip_norm=1.0, warmup_fraction=0.1, schedule="linear", seed=0
)


def losses(family: str, folder: Path) -> list[float]:
    """Return the losses of 20 steps at one thread: a tail of two blocks on a tiny random model of seed 0."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = WRITERS[family](folder / family, seed=0)
        rows = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
        texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
        features = model_features(model, folder, encode(model, texts), Wanted(states=(2,)))
        tail = new_tail(load_decoder(model), blocks=2, depth=4, classes=2, seed=SETTINGS.seed)
        ids = np.array([label == "spam" for label in labels], dtype=np.int64)
        nobody = np.empty(0, dtype=np.int64)
        events = fit_tail(tail, features, ids, train=np.arange(40), validation=nobody, settings=SETTINGS)
        return [event.loss for event in events if isinstance(event, Step)]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("family", WRITERS)
def test_the_loss_curve_is_the_recorded_one(family: str, tmp_path: Path) -> None:
    """To 1e-5: other processors add up in another order, other mathematics does not come this close."""
    recorded = json.loads(FILE.read_text(encoding="utf-8"))[family]
    got = losses(family, tmp_path)
    assert len(got) == 20
    np.testing.assert_allclose(got, recorded, rtol=1e-5)


def record() -> None:
    """Write the curves of this code to the golden file."""
    with tempfile.TemporaryDirectory() as folder:
        curves = {family: losses(family, Path(folder)) for family in WRITERS}
    FILE.write_text(json.dumps(curves, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
