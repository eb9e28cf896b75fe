"""What choosing by the test part costs, held against simulated choices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.intervals import wilson
from tailtune.evaluate.selection import best_of, expected_best


@pytest.mark.parametrize(("choices", "largest"), [(1, 0.0), (2, 0.5642), (5, 1.1630), (10, 1.5388), (50, 2.2491)])
def test_the_largest_of_several_normal_numbers(choices: int, largest: float) -> None:
    """Blom's approximation keeps within 5 % of the tabulated means (Harter 1961)."""
    assert expected_best(choices) == pytest.approx(largest, rel=0.05)


def _measured(choices: int, rows: int, share: float, common: float, draws: int) -> NDArray[np.int64]:
    """[draws, choices] right rows of equally good classifiers that share a part of what makes a row hard."""
    random = np.random.default_rng(choices)
    shared = random.random((draws, 1, rows))
    own = random.random((draws, choices, rows))
    difficulty = np.where(random.random((draws, choices, rows)) < common, shared, own)
    return np.asarray((difficulty < share).sum(axis=2))


@pytest.mark.parametrize("common", [0.0, 0.8])
def test_the_interval_of_the_best_holds_and_the_plain_one_does_not(common: float) -> None:
    """Ten equally good classifiers, 300 rows, 2,000 draws: the wide interval holds the truth in 95 % at least."""
    hits = _measured(10, 300, 0.9, common, 2000).max(axis=1)
    wide = [best_of(int(each), 300, 10)["interval"] for each in hits]
    held = np.mean([low <= 0.9 <= high for low, high in wide])
    plain = np.mean([low <= 0.9 <= high for low, high in (wilson(int(each), 300) for each in hits)])
    assert held >= 0.95
    assert plain < 0.95


@pytest.mark.parametrize(("choices", "rows"), [(2, 200), (10, 300), (20, 1000)])
def test_the_optimism_is_met_without_anything_in_common_and_a_bound_with_it(choices: int, rows: int) -> None:
    """Independent errors: within a tenth of the simulated excess (and its noise). Common errors: no more than said."""
    for common in (0.0, 0.8):
        hits = _measured(choices, rows, 0.9, common, 1000).max(axis=1)
        excess = float(hits.mean()) / rows - 0.9
        said = float(np.mean([best_of(int(each), rows, choices)["optimism"] for each in hits]))
        if common:
            assert excess < said
        else:
            assert excess == pytest.approx(said, rel=0.15)


def test_a_perfect_score_is_not_certain() -> None:
    """All rows right: optimism is not 0, and the interval is wider than for a single choice."""
    found = best_of(300, 300, 10)
    assert found["optimism"] > 0
    assert found["interval"][0] < wilson(300, 300)[0]
    assert best_of(290, 300, 1)["optimism"] == 0
