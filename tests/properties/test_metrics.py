"""Scores on random rows: equal to scikit-learn's, and indifferent to what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailtune.evaluate.metrics import score

Rows = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def scored_rows(draw: st.DrawFn) -> Rows:
    """Return true ids [n] and probabilities [n, C]; sharp, flat and exactly certain rows, classes without any row."""
    rows, classes = draw(st.integers(1, 60)), draw(st.integers(2, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = draw(st.integers(1, classes))
    probabilities = generator.dirichlet(np.full(classes, draw(st.sampled_from([0.05, 1.0, 20.0]))), size=rows)
    if draw(st.booleans()):
        probabilities[0] = np.eye(classes)[generator.integers(classes)]
    return generator.integers(present, size=rows), probabilities


def _names(classes: int) -> list[str]:
    return [f"class {number}" for number in range(classes)]


@settings(deadline=None, max_examples=60)
@given(scored_rows())
def test_scores_equal_scikit_learn(rows: Rows) -> None:
    """Accuracy, precision, recall, F1, confusion, log loss and Brier score are scikit-learn's to 1e-12."""
    from sklearn import metrics

    true_ids, probabilities = rows
    predicted, every = probabilities.argmax(axis=1), list(range(probabilities.shape[1]))
    scores = score(true_ids, probabilities, _names(len(every)))
    wanted: Any = metrics.precision_recall_fscore_support(true_ids, predicted, labels=every, zero_division=0)
    for number, of_class in enumerate(scores.per_class.values()):
        got = (of_class.precision, of_class.recall, of_class.f1, of_class.support)
        assert got == pytest.approx([column[number] for column in wanted], abs=1e-12)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(true_ids, predicted), abs=1e-12)
    assert scores.confusion == tuple(map(tuple, metrics.confusion_matrix(true_ids, predicted, labels=every)))
    macro = metrics.f1_score(true_ids, predicted, labels=every, average="macro", zero_division=0)
    assert scores.macro_f1 == pytest.approx(macro, abs=1e-12)
    assert scores.log_loss == pytest.approx(metrics.log_loss(true_ids, probabilities, labels=every), abs=1e-12)
    brier = ((probabilities - np.eye(len(every))[true_ids]) ** 2).sum(axis=1).mean() / 2
    assert scores.brier == pytest.approx(brier, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(scored_rows())
def test_the_brier_score_of_two_classes_is_the_usual_one(rows: Rows) -> None:
    """Folded to two classes, the score equals scikit-learn's for the second of them."""
    from sklearn import metrics

    true_ids, probabilities = np.minimum(rows[0], 1), np.clip(rows[1][:, :1], 0, 1)
    both = np.hstack([probabilities, 1 - probabilities])
    usual = metrics.brier_score_loss(true_ids == 1, both[:, 1], pos_label=True)
    assert score(true_ids, both, ["no", "yes"]).brier == pytest.approx(usual, abs=1e-12)


@settings(deadline=None)
@given(scored_rows(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: Rows, random: Any) -> None:
    """Shuffled rows score the same."""
    true_ids, probabilities = rows
    order = random.sample(range(len(true_ids)), len(true_ids))
    names = _names(probabilities.shape[1])
    straight = score(true_ids, probabilities, names).as_json()
    shuffled = score(true_ids[order], probabilities[order], names).as_json()
    for key in ("log_loss", "ece", "brier"):
        assert shuffled.pop(key) == pytest.approx(straight.pop(key), abs=1e-12)
    assert shuffled == straight


@settings(deadline=None)
@given(scored_rows())
def test_scores_stay_within_their_bounds(rows: Rows) -> None:
    """Every share lies in 0..1, the interval holds the accuracy, and the confusion matrix holds each row once."""
    true_ids, probabilities = rows
    scores = score(true_ids, probabilities, _names(probabilities.shape[1]))
    low, high = scores.accuracy_interval
    assert 0 <= low <= scores.accuracy <= high <= 1
    assert all(0 <= share <= 1 for share in (scores.macro_f1, scores.ece, scores.brier))
    assert 0 <= scores.log_loss < 37
    assert sum(map(sum, scores.confusion)) == scores.rows == sum(each.support for each in scores.per_class.values())


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_certain_and_right_is_perfect(truth: list[int]) -> None:
    """One-hot truth as prediction scores 1 wherever a class has rows, and 0 loss, calibration error and distance."""
    true_ids = np.array(truth)
    scores = score(true_ids, np.eye(5)[true_ids], _names(5))
    assert scores.accuracy == 1
    assert (scores.ece, scores.brier) == (0, 0)
    assert scores.log_loss == pytest.approx(0, abs=1e-12)
    assert all(each.f1 == (1 if each.support else 0) for each in scores.per_class.values())
