"""Intervals over folds hold in simulated cross-validation what they say; counts of folds add up."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.decisions import counted
from tailtune.evaluate.intervals import binomial_upper, wilson
from tailtune.evaluate.resampled import corrected_interval, summed

Doubles = NDArray[np.float64]


def test_the_formula() -> None:
    """By hand: five folds, a quarter as many tested as trained rows, t of 4 degrees of freedom 2.7764."""
    values = [0.9, 0.92, 0.94, 0.96, 0.88]
    half = 2.7764451 * math.sqrt(0.001) * math.sqrt(1 / 5 + 1 / 4)
    assert corrected_interval(values, 0.25) == pytest.approx([0.92 - half, 0.92 + half])
    assert corrected_interval(values, 0.25, within=(0.0, 0.95)) == pytest.approx([0.92 - half, 0.95])
    assert corrected_interval([1.0, 1.0], 0.5) is None


def _fit(vectors: Doubles, truth: NDArray[np.bool_]) -> Doubles:
    """Weights of a ridge regression on ±1, the bias last."""
    wide = np.c_[vectors, np.ones(len(vectors))]
    return np.linalg.solve(wide.T @ wide + np.eye(wide.shape[1]), wide.T @ (2.0 * truth - 1))


def _worth(weights: Doubles, apart: float) -> float:
    """The true accuracy: classes are normal around ±apart on the first axis."""
    length = float(np.linalg.norm(weights[:-1]))
    sides = (float(apart * weights[0] + sign * weights[-1]) / length for sign in (1, -1))
    return sum(NormalDist().cdf(side) for side in sides) / 2


@pytest.mark.parametrize(("rows", "folds"), [(150, 5), (150, 10), (600, 5)])
def test_the_coverage_that_the_report_states(rows: int, folds: int) -> None:
    """The worth of the folds' classifiers and of the saved one: Wilson holds 91 % at least, corrected 95."""
    random, apart, draws = np.random.default_rng(rows + folds), 1.3, 300
    held = np.zeros((2, 2))
    for _ in range(draws):
        truth = random.random(rows) < 0.5
        vectors = random.normal(size=(rows, 10))
        vectors[:, 0] += apart * (2.0 * truth - 1)
        fold = random.permutation(rows) % folds
        right = np.zeros(rows, dtype=bool)
        worths = []
        for number in range(folds):
            tested = fold == number
            weights = _fit(vectors[~tested], truth[~tested])
            worths.append(_worth(weights, apart))
            right[tested] = (np.c_[vectors[tested], np.ones(tested.sum())] @ weights > 0) == truth[tested]
        saved = _worth(_fit(vectors, truth), apart)
        shares = [float(right[fold == number].mean()) for number in range(folds)]
        corrected = corrected_interval(shares, 1 / (folds - 1))
        assert corrected is not None
        for place, (low, high) in enumerate((wilson(int(right.sum()), rows), corrected)):
            held[place] += [low <= float(np.mean(worths)) <= high, low <= saved <= high]
    assert (held[0] / draws).min() >= 0.91
    assert (held[1] / draws).min() >= 0.95


def test_counts_of_folds_add_up() -> None:
    """Counts are summed and their interval made anew, bounds too; other numbers are averaged by rows; None stays."""
    first = {"rows": 10, "hits": counted(1, 10), "wrong": {**counted(0, 8), "upper_bound": 0.3}, "cost": 1.0, "x": None}
    second = {"rows": 30, "hits": counted(5, 30), "wrong": {**counted(2, 20), "upper_bound": 0.3}, "cost": 3.0, "x": 1}
    found = summed([first, second], [10, 30])
    assert found == {
        "rows": 40,
        "hits": counted(6, 40),
        "wrong": {**counted(2, 28), "upper_bound": binomial_upper(2, 28)},
        "cost": 2.5,
        "x": None,
    }
