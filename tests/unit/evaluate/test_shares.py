"""How far probabilities were moved towards other class shares is found from rows whose classes are known."""

from __future__ import annotations

import numpy as np
import pytest

from tailtune.evaluate.shares import fitted_part
from tailtune.rules import Doubles, Indices, log_probabilities, softmax

SHIFT = np.array([0.0, 0.5, 2.5])


def posteriors(rows: int) -> tuple[Doubles, Indices]:
    """Return true posteriors [rows, 3] of overlapping classes of shares 80, 15 and 5 %, and classes drawn from them."""
    random = np.random.default_rng(1)
    probabilities = softmax(random.normal(size=(rows, 3)) + np.log([0.8, 0.15, 0.05]))
    draws = random.random((rows, 1))
    return probabilities, np.asarray((draws > probabilities.cumsum(axis=1)).sum(axis=1), dtype=np.int64)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 1.0])
def test_the_part_is_found(part: float) -> None:
    """Posteriors moved by so much of the shift: that much is taken back, to a tenth on 4,000 rows."""
    probabilities, truth = posteriors(4000)
    moved = softmax(log_probabilities(probabilities) + part * SHIFT)
    assert fitted_part(moved, truth, -SHIFT) == pytest.approx(part, abs=0.1)


@pytest.mark.parametrize(("part", "found"), [(-0.5, 0.0), (1.5, 1.0)])
def test_it_stays_between_nothing_and_all(part: float, found: float) -> None:
    """What lies beyond is not the weights' doing: the end itself comes back."""
    probabilities, truth = posteriors(4000)
    assert fitted_part(softmax(log_probabilities(probabilities) + part * SHIFT), truth, -SHIFT) == found


def test_one_row_and_no_shift_are_no_error() -> None:
    """The answer is then an end or anything, and a number."""
    assert 0 <= fitted_part(np.array([[0.5, 0.5]]), np.array([1]), np.array([0.0, -1.0])) <= 1
    assert 0 <= fitted_part(np.array([[1.0, 0.0]]), np.array([1]), np.zeros(2)) <= 1
