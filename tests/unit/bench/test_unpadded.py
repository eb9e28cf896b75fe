"""The oracle of (c): the same maths on the reference library's modules, text by text, ends at the same classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tailtune.bench.material import load_material
from tailtune.bench.unpadded import equally_long, run

pytest.importorskip("transformers", reason="it is the oracle")


@pytest.fixture(scope="module")
def oracle(asked: dict[str, Any]) -> dict[str, Any]:
    return run(asked)


def test_our_losses_are_those_of_the_oracle(oracle: dict[str, Any], own_answer: dict[str, Any]) -> None:
    """At every step of all epochs, from the same head and in the same order; and the loss goes down."""
    ours = own_answer["losses"]
    assert len(ours) == 5 * 11  # 84 texts by 8, five epochs
    np.testing.assert_allclose(ours, oracle["losses"], atol=1e-4)
    assert np.mean(ours[-11:]) < np.mean(ours[:11])
    assert own_answer["score"] == oracle["score"]


def test_positions_are_those_of_one_pass_below_the_top(
    asked: dict[str, Any], oracle: dict[str, Any], own_answer: dict[str, Any]
) -> None:
    """Three of four blocks: ours for what is trained on, each different text once; the oracle's for the test too."""
    material = load_material(asked)
    seen, tests = (
        material.tokenizer().encode(texts).offsets[-1] for texts in (material.seen.texts, material.test_texts)
    )
    assert len(set(material.seen.texts)) == len(material.seen)
    assert own_answer["positions"] == 0.75 * seen
    assert oracle["positions"] == 0.75 * (seen + tests)


def test_texts_of_one_length_go_together() -> None:
    """Each place once, never two lengths in one piece."""
    random = np.random.default_rng(0)
    lengths = random.integers(3, 9, 300)
    rows = random.permutation(300)[:200]
    pieces = list(equally_long(rows, lengths))
    assert sorted(np.concatenate(pieces).tolist()) == list(range(200))
    assert all(len(set(lengths[rows[places]].tolist())) == 1 for places in pieces)
    assert max(map(len, pieces)) == 16
