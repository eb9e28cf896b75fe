"""What choosing by the test part costs, held against simulated choices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.intervals import wilson
from tailtune.evaluate.selection import best_of, best_of_rows, expected_best


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


def test_the_best_of_equals_is_no_better_than_they_are() -> None:
    """Over 60 samples of ten equally good classifiers: the best looks better than it is, corrected it does not."""
    random = np.random.default_rng(0)
    apparent, corrected = [], []
    for sample in range(60):
        rows = random.exponential(0.5, size=(10, 200))
        found = best_of_rows(rows, np.arange(200), smaller=True, seed=sample, draws=100)
        assert found is not None
        apparent.append(found["apparent"])
        corrected.append(found["corrected"])
        assert found["optimism"] == pytest.approx(max(0.0, found["corrected"] - found["apparent"]))
    error = 0.5 / np.sqrt(200)
    assert 0.5 - np.mean(apparent) == pytest.approx(1.5388 * error, rel=0.15)  # the mean of the best of ten
    assert abs(np.mean(corrected) - 0.5) < 0.25 * error


def test_a_clear_winner_keeps_its_score() -> None:
    """Chosen in every draw, it owes nothing to chance, and is better than what there was by what it is."""
    rows = np.stack([np.full(50, 0.9), np.full(50, 0.2), np.full(50, 0.5)])
    rows += np.linspace(0, 0.1, 50)
    found = best_of_rows(rows, np.arange(50), smaller=True, seed=0)
    assert found is not None
    assert found["corrected"] == pytest.approx(found["apparent"], abs=1e-3)
    assert found["gain"] == pytest.approx(0.7)
    assert found["gain_interval"] == pytest.approx([0.7, 0.7])


def test_larger_can_be_better() -> None:
    """Of accuracies the largest is taken, and its interval is in order."""
    random = np.random.default_rng(1)
    rows = (random.random((5, 300)) < np.array([[0.6], [0.7], [0.8], [0.85], [0.9]])).astype(np.float64)
    found = best_of_rows(rows, np.arange(300), smaller=False, seed=0)
    assert found is not None
    assert found["apparent"] == pytest.approx(rows.mean(axis=1).max())
    low, high = found["interval"]
    assert low < found["corrected"] < high
    assert found["gain"] == pytest.approx(0.3, abs=0.06)


def test_near_duplicates_are_drawn_together() -> None:
    """Rows that repeat each other ten times say no more than one of them: the interval is as wide."""
    random = np.random.default_rng(2)
    rows = random.exponential(0.5, size=(4, 60))
    alone = best_of_rows(rows, np.arange(60), smaller=True, seed=0)
    tenfold = best_of_rows(np.repeat(rows, 10, axis=1), np.repeat(np.arange(60), 10), smaller=True, seed=0)
    assert alone is not None
    assert tenfold is not None
    assert tenfold["interval"] == pytest.approx(alone["interval"])
    assert best_of_rows(rows, np.zeros(60, dtype=np.int64), smaller=True, seed=0) is None
