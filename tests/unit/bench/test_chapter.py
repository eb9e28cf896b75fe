"""The chapter's loop: what a sample is multiplied with is what the whole loop does, text by text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tailtune.bench.chapter import EVALUATED_BATCHES, Loop, run, whole
from tailtune.bench.material import load_material
from tailtune.runs import Stopwatch

pytest.importorskip("transformers", reason="the loop runs the reference library's model")


class Counted:
    """What goes through a loop's model, and how often its optimizer steps."""

    def __init__(self, loop: Loop) -> None:
        self.forwards = self.positions = self.steps = 0
        loop.model.model.register_forward_pre_hook(self._forward, with_kwargs=True)
        loop.optimizer.register_step_post_hook(self._step)

    def _forward(self, _: Any, __: Any, named: dict[str, Any]) -> None:
        self.forwards += 1
        self.positions += named["input_ids"].numel()

    def _step(self, *_: Any) -> None:
        self.steps += 1


@pytest.mark.parametrize("rows", [None, 21])
def test_the_counts_are_those_of_the_whole_loop(asked: dict[str, Any], rows: int | None) -> None:
    """Steps, forward batches of all evaluations and positions, also where parts have few batches or none."""
    material = load_material({**asked, "rows": rows})
    loop = Loop(material, Stopwatch())
    counted = Counted(loop)
    answer = whole(loop, material)
    assert loop.counts() == {
        "steps": counted.steps,
        "evaluation_batches": counted.forwards - counted.steps,
        "positions": counted.positions,
    }
    assert counted.steps == {None: 50, 21: 10}[rows]
    assert len(loop.few(loop.train)) == {None: EVALUATED_BATCHES, 21: 2}[rows]
    assert set(answer["seconds"]) == {"steps", "evaluations"}
    assert answer["score"]["tests"] == len(material.test_ids)


def test_texts_are_padded_to_the_longest_training_text(asked: dict[str, Any]) -> None:
    """Shorter ones are filled up on the right, longer ones of the other parts are cut."""
    material = load_material(asked)
    loop = Loop(material, Stopwatch())
    ids = [material.tokenizer().encode([text]).ids for text in (*material.seen.texts, *material.test_texts)]
    longest = max(len(ids[row]) for row in material.parts.train)
    assert loop.ids.shape == (len(ids), longest)
    for row, text in zip(loop.ids.numpy(), ids, strict=True):
        assert row[: len(text)].tolist() == text[:longest].tolist()
        assert (row[len(text) :] == 0).all()


def test_a_step_changes_the_top_alone(asked: dict[str, Any]) -> None:
    """The last block, the final norm and the head learn; everything below stays to the bit."""
    loop = Loop(load_material(asked), Stopwatch())
    before = {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}
    loop.step(np.arange(8))
    changed = {name for name, tensor in loop.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("model.layers.3.", "model.norm.", "score.")) for name in changed)
    assert {"model.norm.weight", "score.weight", "score.bias", "model.layers.3.mlp.up_proj.weight"} <= changed


def test_a_sample_times_what_it_was_asked_for(asked: dict[str, Any]) -> None:
    """One time per step and per forward batch; the counts told are those of the whole loop."""
    answer = run({**asked, "steps": 3, "forwards": 2, "seed": 0, "whole": False})
    assert (len(answer["step_seconds"]), len(answer["forward_seconds"])) == (3, 2)
    assert min(answer["step_seconds"] + answer["forward_seconds"]) > 0
    assert answer["steps"] == 50
    assert {"model", "tokens"} <= set(answer["load"])
    assert "score" not in answer
