"""How far a measured difference or share can be trusted. Knows nothing about what was classified."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray


def wilson(correct: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of a share, as fractions.

    Chosen over the usual p ± z·sqrt(p(1-p)/n) because accuracies lie close to 1, where that one leaves [0, 1] and
    covers far less than it says (Brown, Cai, DasGupta 2001).

    Args:
        correct: Rows that were right, 0..rows.
        rows: All rows, at least 1.
        level: Coverage asked for, in (0, 1).

    Raises:
        ValueError: If ``rows`` is below 1, ``correct`` lies outside 0..rows or ``level`` outside (0, 1).
    """
    if rows < 1 or not 0 <= correct <= rows:
        raise ValueError(f"want 0 <= correct <= rows and rows >= 1, got {correct} of {rows}")
    _require_level(level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = correct / rows
    shrink = 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / shrink
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / shrink
    # At the two ends the formula gives 0 and 1 only up to rounding.
    return (0.0 if correct == 0 else middle - half, 1.0 if correct == rows else middle + half)


def mcnemar_p(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value of the exact McNemar test: how likely so uneven a set of disagreements is by chance.

    Only rows on which exactly one of the two is right count; under the null hypothesis each falls to either side
    with probability 1/2. Summed in integers, so it is exact for any number of rows.

    Args:
        correct_a: bool [n], whether the first classifier was right on each row.
        correct_b: bool [n], the second one on the same rows in the same order.

    Raises:
        ValueError: If the two are not one-dimensional and of one length.
    """
    if correct_a.ndim != 1 or correct_a.shape != correct_b.shape:
        raise ValueError(f"want two arrays [n], got {list(correct_a.shape)} and {list(correct_b.shape)}")
    only_a = int(np.count_nonzero(correct_a & ~correct_b))
    only_b = int(np.count_nonzero(correct_b & ~correct_a))
    disagreements, fewer = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 1
    for taken in range(1, fewer + 1):
        ways = ways * (disagreements - taken + 1) // taken
        tail += ways
    return min(1.0, 2 * tail / (1 << disagreements))


def bootstrap_difference(
    statistic: Callable[[NDArray[Any], NDArray[Any]], float],
    true_ids: NDArray[np.integer[Any]],
    predicted_a: NDArray[Any],
    predicted_b: NDArray[Any],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval (low, high) of statistic(a) - statistic(b), both taken on the same drawn rows.

    Drawing rows for both at once keeps their correlation: two good classifiers fail on the same rows, and the interval
    of their difference is much narrower than their own intervals suggest.

    Args:
        statistic: Called with (true_ids [n], predicted [n, ...]); gives one number, for example macro F1.
        true_ids: int [n].
        predicted_a: [n, ...], class ids or probabilities of the first classifier, row by row.
        predicted_b: [n, ...], those of the second.
        seed: Fixes the draws.
        draws: Number of resamples, at least 1; 1,000 settle the second digit of the bounds.
        level: Coverage asked for, in (0, 1).

    Raises:
        ValueError: If the lengths differ or are 0, ``draws`` is below 1 or ``level`` lies outside (0, 1).
    """
    rows = len(true_ids)
    if rows == 0 or len(predicted_a) != rows or len(predicted_b) != rows:
        raise ValueError(f"want three arrays of one length >= 1, got {rows}, {len(predicted_a)}, {len(predicted_b)}")
    if draws < 1:
        raise ValueError(f"want at least 1 draw, got {draws}")
    _require_level(level)
    generator = np.random.default_rng(seed)
    differences = np.empty(draws)
    for draw in range(draws):
        drawn = generator.integers(rows, size=rows)
        truth = true_ids[drawn]
        differences[draw] = statistic(truth, predicted_a[drawn]) - statistic(truth, predicted_b[drawn])
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _require_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"want a level in (0, 1), got {level}")
