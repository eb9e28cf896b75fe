"""Thresholds meet their aim on the rows they were chosen on, and promises hold on others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailtune.evaluate.decisions import (
    NEVER,
    Aim,
    abstain_above,
    choose_threshold,
    counted,
    labels_from,
    measure_abstaining,
    measure_decided,
    measure_positive,
    measure_sets,
    rows_needed,
)
from tailtune.evaluate.intervals import binomial_upper
from tailtune.rules import Doubles, softmax

Ids = NDArray[np.int64]


def two(column: list[float]) -> Doubles:
    return np.array([[1 - value, value] for value in column])


def drawn(rows: int, random: np.random.Generator, *, classes: int = 2) -> tuple[Doubles, Ids]:
    scores = random.normal(size=(rows, classes))
    truth = random.integers(0, classes, rows)
    scores[np.arange(rows), truth] += 2.0
    return softmax(1.5 * scores), truth


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.floats(0.001, 0.9), st.floats(0.1, 0.999))
def test_a_threshold_meets_its_aims_with_most_recall(seed: int, rows: int, most: float, least: float) -> None:
    """Both bounds hold, counted and expected; no lower probability of a row of the class meets them; ties count."""
    random = np.random.default_rng(seed)
    probabilities, truth = drawn(rows, random)
    column = np.round(probabilities[:, 1], 1)
    probabilities = np.stack([1 - column, column], axis=1)
    aim = Aim(positive=1, max_false_positives=most, min_precision=least)
    threshold = choose_threshold(probabilities, truth, aim).threshold

    def meets(cut: float) -> bool:
        called = column >= cut
        ways = ((truth == 1).astype(float), column)
        false = [(1 - way)[called].sum() <= most * (1 - way).sum() + 1e-9 for way in ways]
        return all(false) and all(way[called].sum() >= least * called.sum() - 1e-9 for way in ways)

    able = [cut for cut in column[truth == 1].tolist() if meets(cut)]
    assert threshold == (min(able) if able else NEVER)


def test_the_threshold_lies_on_the_cautious_side() -> None:
    """Between the last row that must stay out (0.6) and the next hit (0.9), it is the hit's."""
    probabilities = two([0.1, 0.6, 0.9, 0.95, 0.3])
    truth = np.array([0, 0, 1, 1, 1])
    assert choose_threshold(probabilities, truth, Aim(positive=1, max_false_positives=0.2)).threshold == 0.9
    # One false positive in two is allowed: 0.3 is the lowest hit, though any threshold above 0.1 does the same. By the
    # probabilities themselves 1.25 of 2.15 rows would be false positives there, so 0.5 would not do.
    assert choose_threshold(probabilities, truth, Aim(positive=1, max_false_positives=0.6)).threshold == 0.3
    assert choose_threshold(probabilities, truth, Aim(positive=1, max_false_positives=0.5)).threshold == 0.9


def test_weights_stand_for_other_class_shares() -> None:
    """Nine in ten texts to come are of the other class: precision counts its rows nine times as much."""
    probabilities, truth = two([0.2, 0.5, 0.7, 0.9]), np.array([0, 1, 0, 1])
    aim = Aim(positive=1, min_precision=0.6)
    assert choose_threshold(probabilities, truth, aim).threshold == 0.5
    weights = np.where(truth == 1, 0.2, 1.8)
    assert choose_threshold(probabilities, truth, aim, weights).threshold == 0.9


def test_measures_of_a_class_add_up() -> None:
    """Counts, shares and intervals of false positives, recall and precision; none where nothing was called."""
    decided, truth = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    measured = measure_positive(decided, truth, 1)
    assert (measured["false_positives"]["count"], measured["false_positives"]["of"]) == (1, 2)
    assert measured["false_positives"]["upper_bound"] == pytest.approx(0.9747, abs=1e-4)
    assert measured["recall"]["share"] == measured["precision"]["share"] == pytest.approx(2 / 3)
    nothing = measure_positive(np.zeros(5, dtype=np.int64), truth, 1)
    assert nothing["precision"] == counted(0, 0) == {"count": 0, "of": 0, "share": None, "interval": None}
    costs = measure_decided(decided, truth, ((0.0, 10.0), (1.0, 0.0)))
    assert costs["mean_cost"] == pytest.approx(11 / 5)
    assert costs["accuracy"]["count"] == 3


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (0, 482), (3, 482), (481, 482), (482, 482)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_upper_bound_is_scipys(count: int, rows: int, level: float) -> None:
    """One-sided Clopper-Pearson."""
    from scipy.stats import binomtest

    reference = binomtest(count, rows, alternative="less").proportion_ci(confidence_level=level, method="exact").high
    assert binomial_upper(count, rows, level) == pytest.approx(reference, abs=1e-12)


def test_rows_needed_is_where_the_bound_falls_below() -> None:
    """1,497 rows without a false positive show 0.2 %; one row fewer does not."""
    assert rows_needed(0.002) == 1497
    assert binomial_upper(0, 1497) <= 0.002 < binomial_upper(0, 1496)


@pytest.mark.parametrize(("rows", "error"), [(30, 0.05), (99, 0.05), (500, 0.01)])
def test_the_promised_error_rate_holds(rows: int, error: float) -> None:
    """4,000 draws of held-out rows and ten new texts: wrong answers among all new texts at most as promised.

    Not far below either where it can be met exactly: the promise is not bought by answering nothing.
    """
    random, wrong = np.random.default_rng(8), 0
    for _ in range(4000):
        probabilities, truth = drawn(rows + 10, random)
        confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
        above = abstain_above(confidence[:rows], correct[:rows], error)
        wrong += int(((confidence > above) & ~correct)[rows:].sum())
    share = wrong / 40_000
    assert share <= error + 3 * np.sqrt(error / 40_000)
    assert share >= 0.5 * error


@pytest.mark.parametrize(("rows", "error", "classes"), [(99, 0.05, 2), (99, 0.1, 6), (400, 0.05, 6)])
def test_label_sets_cover_as_promised(rows: int, error: float, classes: int) -> None:
    """4,000 draws: sets hold the true label of new texts at least as often as promised, and little more often."""
    random, held, total = np.random.default_rng(9), 0, 0
    for _ in range(4000):
        probabilities, truth = drawn(rows + 10, random, classes=classes)
        of_truth = probabilities[np.arange(rows), truth[:rows]]
        measured = measure_sets(probabilities[rows:], truth[rows:], labels_from(of_truth, error))
        held, total = held + measured["coverage"]["count"], total + 10
    assert held / total >= 1 - error - 3 * np.sqrt(error / total)
    # Sets that would be empty hold the likeliest label here, so they cover a little more than the plain rule.
    assert held / total <= 1 - error + 0.04


def test_label_sets_are_mapies() -> None:
    """The bound is that of a kept library."""
    from mapie.classification import SplitConformalClassifier
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(2)
    vectors = random.normal(size=(600, 4))
    truth = (vectors[:, :3] + random.normal(size=(600, 3))).argmax(axis=1)
    regression = LogisticRegression().fit(vectors[:200], truth[:200])
    other = SplitConformalClassifier(estimator=regression, confidence_level=0.9, conformity_score="lac", prefit=True)
    other.conformalize(vectors[200:400], truth[200:400])
    _, sets = other.predict_set(vectors[400:])
    held_out = regression.predict_proba(vectors[200:400])
    bound = labels_from(held_out[np.arange(200), truth[200:400]], 0.1)
    assert (sets[:, :, 0] == (regression.predict_proba(vectors[400:]) >= bound)).all()


@given(st.integers(1, 200), st.floats(0.005, 0.5), st.integers(0, 2**32 - 1))
def test_the_rows_themselves_keep_the_promise(rows: int, error: float, seed: int) -> None:
    """Wrong answers among the held-out rows, and one more, are at most the promised share of all and one more."""
    random = np.random.default_rng(seed)
    confidence, correct = random.random(rows), random.random(rows) < 0.8
    measured = measure_abstaining(confidence, correct, abstain_above(confidence, correct, error))
    wrong = measured["wrong_of_all"]["count"]
    assert wrong == 0 or wrong + 1 <= error * (rows + 1) + 1e-9
    assert measured["answered"]["count"] >= wrong


def test_without_errors_everything_is_answered() -> None:
    """100 right rows allow a promise of 1 %; 98 do not."""
    confidence, right = np.full(100, 0.6), np.ones(100, dtype=bool)
    assert abstain_above(confidence, right, 0.01) == 0.0
    assert abstain_above(confidence[:98], right[:98], 0.01) == 1.0
