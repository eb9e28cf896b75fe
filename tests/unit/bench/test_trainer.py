"""The usual trainer's batches: every text once per epoch, the sample spread over all lengths, pads counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tailtune.bench.trainer import grouped_order, padded_positions, run, spread_batches

LENGTHS = np.random.default_rng(3).integers(2, 120, 203).tolist()
BATCH = 8


@pytest.fixture(scope="module")
def order() -> list[list[int]]:
    """Three epochs in the trainer's own order."""
    pytest.importorskip("transformers", reason="the order is that of the reference library's sampler")
    return grouped_order(LENGTHS, batch=BATCH, epochs=3)


def test_every_text_comes_once_in_each_epoch(order: list[list[int]]) -> None:
    """All batches are full but the last of an epoch, and no epoch is as another."""
    each = -(-len(LENGTHS) // BATCH)
    assert [len(batch) for batch in order] == ([BATCH] * (each - 1) + [len(LENGTHS) % BATCH]) * 3
    epochs = [
        [place for batch in order[start : start + each] for place in batch] for start in range(0, len(order), each)
    ]
    assert all(sorted(epoch) == list(range(len(LENGTHS))) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_the_same_every_time(order: list[list[int]]) -> None:
    """Both halves of a sample, in processes of their own, are halves of one order."""
    assert grouped_order(LENGTHS, batch=BATCH, epochs=3) == order


def test_grouping_saves_pads(order: list[list[int]]) -> None:
    """Texts of one batch are about as long as each other: it costs little more than no pads at all."""
    grouped = padded_positions(LENGTHS, order)
    in_turn = [range(start, min(start + BATCH, len(LENGTHS))) for start in range(0, len(LENGTHS), BATCH)]
    assert 3 * sum(LENGTHS) <= grouped < 0.8 * 3 * padded_positions(LENGTHS, in_turn)


def test_a_sample_of_batches_is_spread_over_their_lengths(order: list[list[int]]) -> None:
    """Its longest texts, sorted, lie between those of all batches at even distances; rows are those of the data."""
    train = np.arange(1000, 1000 + len(LENGTHS))[::-1].copy()
    rows: list[dict[str, Any]] = [{}] * 1000 + [{"input_ids": [0] * length} for length in reversed(LENGTHS)]
    count = 13
    chosen = spread_batches(order, rows, train, count=count)
    known = {tuple(int(train[place]) for place in batch) for batch in order}
    assert len({tuple(batch) for batch in chosen} & known) == count
    every = sorted(max(LENGTHS[place] for place in batch) for batch in order)
    longest = [max(len(rows[row]["input_ids"]) for row in batch) for batch in chosen]
    middles = [every[int((number + 0.5) * len(every) / count)] for number in range(count)]
    assert sorted(longest) == middles
    assert longest != middles  # a machine that slows down meanwhile does so for short and long batches alike


def test_a_sample_of_all_batches_is_all_of_them(order: list[list[int]]) -> None:
    """Asked for more than there are, each is taken once."""
    rows: list[dict[str, Any]] = [{"input_ids": [0] * length} for length in LENGTHS]
    chosen = spread_batches(order, rows, np.arange(len(LENGTHS)), count=10 * len(order))
    assert sorted(chosen) == sorted(order)


def test_positions_are_texts_times_the_longest_of_their_batch() -> None:
    """The last batch of an evaluation may be smaller, and is padded to its own longest text."""
    assert padded_positions([3, 7, 2, 2, 9], [[0, 1], [2, 3], [4]]) == 2 * 7 + 2 * 2 + 9
    assert padded_positions([], []) == 0


def test_a_sampled_training_times_what_it_was_asked_for(asked: dict[str, Any]) -> None:
    """One time for each full batch of its half; the steps and positions told are those of the whole training."""
    pytest.importorskip("transformers", reason="the reference library's trainer is measured")
    pytest.importorskip("accelerate", reason="the reference library's trainer needs it")
    answer = run({**asked, "steps": 20, "half": 1, "whole": False})
    assert answer["steps"] == 5 * 11  # 84 texts by 8
    assert 6 <= len(answer["step_seconds"]) <= 10  # of five epochs five batches are not full
    assert min(answer["step_seconds"]) > 0
    assert answer["evaluation_seconds"] > 0
    assert answer["evaluations"] == 5
    assert answer["positions"] > 5 * (84 + 12) * 10
