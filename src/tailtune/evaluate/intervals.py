"""How far a measured difference or share can be trusted. Knows nothing about what was classified."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from statistics import NormalDist

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


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return Student's interval (low, high) of the mean of what repetitions of one experiment gave.

    It says how far another set of repetitions would differ, not how far other texts would.

    Args:
        values: At least 2.
        level: Coverage asked for, in (0, 1).

    Raises:
        ValueError: If there are fewer, or ``level`` lies outside (0, 1).
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise ValueError(f"want at least 2 values, got {len(values)}")
    _require_level(level)
    mean = statistics.fmean(values)
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def difference_interval(correct: int, rows: int, other_correct: int, other_rows: int) -> tuple[float, float]:
    """Return the 95 % interval (low, high) of a share less that of other rows, as fractions.

    Newcombe's hybrid of the two Wilson intervals (1998, method 10): it stays inside [-1, 1] and covers well for few
    rows and shares close to 1.

    Args:
        correct: Rows that were right, 0..rows.
        rows: At least 1.
        other_correct: The same of other, independent rows.
        other_rows: At least 1.

    Raises:
        ValueError: If the counts cannot be.
    """
    low, high = wilson(correct, rows)
    other_low, other_high = wilson(other_correct, other_rows)
    share, other = correct / rows, other_correct / other_rows
    return (
        share - other - math.hypot(share - low, other_high - other),
        share - other + math.hypot(high - share, other - other_low),
    )


def binomial_upper(count: int, rows: int, level: float = 0.95) -> float:
    """Return the one-sided Clopper-Pearson bound: with ``level`` confidence the share is not larger.

    Exact, so cautious: it holds at least as often as it says for every share and number of rows.

    Args:
        count: Rows that were counted, 0..rows.
        rows: All rows, at least 1.
        level: In (0, 1).

    Raises:
        ValueError: If ``rows`` is below 1, ``count`` lies outside 0..rows or ``level`` outside (0, 1).
    """
    from scipy.special import betaincinv

    if rows < 1 or not 0 <= count <= rows:
        raise ValueError(f"want 0 <= count <= rows and rows >= 1, got {count} of {rows}")
    _require_level(level)
    return 1.0 if count == rows else float(betaincinv(count + 1, rows - count, level))


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


def _require_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"want a level in (0, 1), got {level}")
