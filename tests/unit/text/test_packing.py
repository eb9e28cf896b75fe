"""Packed batches hold every text once, without pads, equal lengths together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tailtune.text.packing import batches, pack

Lengths = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@given(Lengths, st.integers(1, 100))
def test_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    """Batches partition the texts; only a text longer than the budget exceeds it, and then it is alone."""
    counts = np.array(lengths)
    found = list(batches(counts, token_budget=budget))
    assert sorted(np.concatenate([batch.texts for batch in found]).tolist()) == list(range(len(lengths)))
    for batch in found:
        assert batch.tokens == counts[batch.texts].sum()
        assert batch.tokens <= budget or len(batch.texts) == 1


@given(Lengths)
def test_positions_and_last_rows_follow_the_texts(lengths: list[int]) -> None:
    """Each text's positions count from 0, and its last row is where its last position stands."""
    counts = np.array(lengths)
    batch = pack(np.arange(len(counts)), counts)
    expected = np.concatenate([np.arange(counts[text]) for text in batch.texts])
    assert batch.positions().tolist() == expected.tolist()
    assert batch.positions()[batch.last()].tolist() == (counts[batch.texts] - 1).tolist()
    assert [length for _, length in batch.groups] == sorted(set(lengths))


def test_order_inside_a_length_is_kept() -> None:
    """Sorting is stable, so a run can be repeated."""
    batch = pack(np.array([7, 3, 9, 4]), np.array([2, 1, 2, 1]))
    assert batch.texts.tolist() == [3, 4, 7, 9]
    assert batch.groups == ((2, 1), (2, 2))
