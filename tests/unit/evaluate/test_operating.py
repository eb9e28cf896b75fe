"""The counts at every threshold."""

from __future__ import annotations

import numpy as np
import pytest

from tailtune.evaluate.operating import MOST_POINTS, one_of, operating_curves


@pytest.mark.parametrize("rows", [40, 3000])
def test_counts_are_counts(rows: int) -> None:
    """At each threshold kept, so many rows of the class and of others reach it; few rows keep every distinct score."""
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, rows)
    shares = random.dirichlet(np.ones(3), rows).round(2)
    found = operating_curves(one_of(truth, 3), shares)
    assert found["rows"] == rows
    for curve in found["classes"]:
        own, scores = truth == curve["class"], shares[:, curve["class"]]
        assert curve["positives"] == own.sum()
        assert curve["threshold"] == sorted(set(curve["threshold"]), reverse=True)
        assert len(curve["threshold"]) <= MOST_POINTS
        for threshold, true, false in zip(curve["threshold"], curve["true"], curve["false"], strict=True):
            reached = scores >= threshold
            assert ((own & reached).sum(), (~own & reached).sum()) == (true, false)
        assert (curve["true"][-1], curve["false"][-1]) == (own.sum(), (~own).sum())
        assert curve["threshold"][0] == scores.max()
        if rows == 40:
            assert len(curve["threshold"]) == len(set(scores.tolist()))


def test_points_are_few_and_close_where_alarms_are_few() -> None:
    """Of many rows at most so many are kept, and the first alarms are among them."""
    random = np.random.default_rng(4)
    truth = (random.random(20_000) < 0.5).astype(np.int64)
    score = random.normal(size=20_000) + 2 * truth
    shares = 1 / (1 + np.exp(-score))
    (curve,) = operating_curves(truth[:, None] == 1, shares[:, None])["classes"]
    assert len(curve["threshold"]) <= MOST_POINTS
    assert np.diff(curve["true"]).max() <= 0.03 * curve["positives"]
    assert sum(false < 100 for false in curve["false"]) >= 8
    many = operating_curves(one_of(truth % 150, 150), np.repeat(shares[:, None], 150, axis=1))
    assert sum(len(each["threshold"]) for each in many["classes"]) <= 150 * 24


def test_what_has_no_curve() -> None:
    """A class that no row has, or every row, and no row at all."""
    assert operating_curves(np.zeros((0, 2), dtype=np.bool_), np.zeros((0, 2))) == {}
    there = np.array([[True, False, True], [True, False, False]])
    found = operating_curves(there, np.full((2, 3), 0.5))
    assert [each["class"] for each in found["classes"]] == [2]
    assert found["classes"][0] == {"class": 2, "positives": 1, "threshold": [0.5], "true": [1], "false": [1]}
