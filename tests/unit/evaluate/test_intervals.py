"""Intervals and tests: known values, parity with scipy, coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.intervals import mcnemar_p, mean_interval, wilson


def test_wilson_of_a_published_result() -> None:
    """287 right of 300 lie between 92.7 and 97.5 %."""
    low, high = wilson(287, 300)
    assert (round(100 * low, 1), round(100 * high, 1)) == (92.7, 97.5)


@pytest.mark.parametrize(("correct", "rows"), [(0, 1), (1, 1), (0, 50), (7, 50), (50, 50), (14_990, 15_000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(correct: int, rows: int, level: float) -> None:
    """The interval is scipy's, at any level, the ends included."""
    from scipy.stats import binomtest

    reference = binomtest(correct, rows).proportion_ci(confidence_level=level, method="wilson")
    assert wilson(correct, rows, level) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_wilson_ends_are_exact() -> None:
    """Nothing right has low 0, everything right has high 1, without rounding crumbs outside [0, 1]."""
    assert wilson(0, 37)[0] == 0
    assert wilson(37, 37)[1] == 1


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_wilson_covers_as_often_as_it_says(share: float) -> None:
    """Of 2,000 samples of 300 rows, 95 % intervals hold the true share in 93 to 97 % (standard error 0.5 points)."""
    draws = np.random.default_rng(5).binomial(300, share, size=2000)
    bounds = np.array([wilson(int(correct), 300) for correct in draws])
    covered = np.mean((bounds[:, 0] <= share) & (share <= bounds[:, 1]))
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("correct", "rows", "level"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses_impossible_counts(correct: int, rows: int, level: float) -> None:
    """Counts or a level that cannot be are a ValueError."""
    with pytest.raises(ValueError, match="want"):
        wilson(correct, rows, level)


def _pair(only_a: int, only_b: int, both: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a = np.array([True] * only_a + [False] * only_b + [True] * both)
    b = np.array([False] * only_a + [True] * only_b + [True] * both)
    return a, b


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (0, 6), (3, 3), (2, 11), (11, 2), (40, 61), (900, 1100)])
def test_mcnemar_equals_the_binomial_test(only_a: int, only_b: int) -> None:
    """The p-value is scipy's two-sided binomial test on the disagreements, either way round."""
    from scipy.stats import binomtest

    reference = binomtest(only_a, only_a + only_b, 0.5).pvalue
    assert mcnemar_p(*_pair(only_a, only_b, 100)) == pytest.approx(reference, rel=1e-9)


def test_mcnemar_looks_at_disagreements_only() -> None:
    """Rows on which both agree change nothing; without any disagreement p is 1."""
    assert mcnemar_p(*_pair(2, 9, 0)) == mcnemar_p(*_pair(2, 9, 5000))
    assert mcnemar_p(*_pair(0, 0, 10)) == 1


def test_mcnemar_stays_exact_where_floats_would_underflow() -> None:
    """With 3,000 disagreements to one side p is 2 / 2**3000, below the smallest float: 0, no error."""
    assert mcnemar_p(*_pair(3000, 0, 0)) == 0
    assert 0 < mcnemar_p(*_pair(1000, 0, 0)) < 1e-300


def test_mcnemar_is_not_too_eager() -> None:
    """Two classifiers of equal accuracy differ at 5 % in at most 6.5 % of 1,000 trials (exact tests err below 5 %)."""
    generator = np.random.default_rng(7)
    a, b = generator.random((2, 1000, 300)) < 0.95
    found = np.mean([mcnemar_p(a[trial], b[trial]) < 0.05 for trial in range(1000)])
    assert 0.01 <= found <= 0.065


def test_mcnemar_refuses_other_rows() -> None:
    """Vectors of different length are a ValueError."""
    with pytest.raises(ValueError, match="want two arrays"):
        mcnemar_p(np.array([True]), np.array([True, False]))


@pytest.mark.parametrize("values", [[0.9, 0.8], [0.95, 0.96, 0.94, 0.95], [1.0, 1.0, 1.0]])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_mean_interval_equals_scipy(values: list[float], level: float) -> None:
    """Student's interval of a mean; a point where all values are one."""
    from scipy.stats import sem, t

    reference = (
        t.interval(level, len(values) - 1, loc=np.mean(values), scale=sem(values)) if len(set(values)) > 1 else (1, 1)
    )
    assert mean_interval(values, level) == pytest.approx(reference)


def test_mean_interval_needs_two_values() -> None:
    """One run says nothing about another."""
    with pytest.raises(ValueError, match="at least 2 values"):
        mean_interval([0.9])
