"""Long texts beside the others: an interval of a difference that covers, and a verdict that follows it."""

from __future__ import annotations

import numpy as np
import pytest

from tailtune.evaluate.intervals import difference_interval, wilson
from tailtune.evaluate.long import long_rows


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [((56, 70, 48, 80), (0.0524, 0.3339)), ((9, 10, 3, 10), (0.1705, 0.8090)), ((10, 10, 0, 20), (0.6791, 1.0))],
)
def test_the_interval_of_a_difference_is_newcombes(
    counts: tuple[int, int, int, int], bounds: tuple[float, float]
) -> None:
    """His published examples, method 10; the other way round it is mirrored."""
    low, high = difference_interval(*counts)
    assert (round(low, 4), round(high, 4)) == bounds
    correct, rows, other_correct, other_rows = counts
    assert difference_interval(other_correct, other_rows, correct, rows) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("share", "rows", "other", "others"), [(0.9, 60, 0.97, 500), (0.98, 300, 0.98, 800)])
def test_it_covers_as_often_as_it_says(share: float, rows: int, other: float, others: int) -> None:
    """Of 2,000 pairs of samples about 95 % hold the true difference (standard error 0.5 points)."""
    random = np.random.default_rng(3)
    pairs = zip(random.binomial(rows, share, 2000), random.binomial(others, other, 2000), strict=True)
    held = 0
    for one, two in pairs:
        low, high = difference_interval(int(one), rows, int(two), others)
        held += low <= share - other <= high
    assert 0.93 <= held / 2000 <= 0.98


def answers(
    right: list[bool],
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    truth = np.arange(len(right), dtype=np.int64) % 2
    called = np.where(right, truth, 1 - truth)
    return truth, np.where(called[:, None] == [0, 1], 0.9, 0.1)


@pytest.mark.parametrize(
    ("wrong_longer", "wrong_others", "kind"), [(20, 4, "worse"), (0, 60, "better"), (5, 20, "not distinguishable")]
)
def test_the_verdict_follows_the_interval(wrong_longer: int, wrong_others: int, kind: str) -> None:
    """Counts, accuracies and intervals are those of each part; the sign is that of the longer ones less the others."""
    longer = np.arange(250) < 50
    right = [not (at < wrong_longer or 50 <= at < 50 + wrong_others) for at in range(250)]
    found = long_rows(*answers(right), longer)
    assert (found["longer"]["rows"], found["others"]["rows"]) == (50, 200)
    assert found["longer"]["accuracy"] == pytest.approx(1 - wrong_longer / 50)
    assert found["others"]["interval"] == list(wilson(200 - wrong_others, 200))
    assert found["difference"]["accuracy"] == pytest.approx(wrong_others / 200 - wrong_longer / 50)
    assert found["difference"]["kind"] == kind


@pytest.mark.parametrize("longer", [False, True])
def test_there_may_be_nothing_to_compare(longer: bool) -> None:
    """All texts cut, or none: no difference is made up."""
    found = long_rows(*answers([True] * 8), np.full(8, longer))
    assert found["difference"] is None
    assert (found["longer"] is None) != (found["others"] is None)
