"""Curves, areas and intervals, held against scikit-learn and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from tailtune.evaluate.classes import ranking
from tailtune.evaluate.curves import (
    auroc,
    average_precision,
    macro_f1_interval,
    mean_interval,
    row_losses,
)
from tailtune.evaluate.metrics import FloatArray, IdArray, confusion_matrix
from tailtune.evaluate.slices import slices, worst_rows


def _drawn(rows: int, classes: int, seed: int, *, ties: bool = False) -> tuple[IdArray, FloatArray]:
    """Truth and probabilities of a middling classifier."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, rows)
    scores = random.normal(size=(rows, classes))
    scores[np.arange(rows), truth] += 1.0
    if ties:
        scores = scores.round()
    answers = np.exp(scores)
    return truth, answers / answers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("ties", [False, True])
def test_areas_equal_the_reference(ties: bool) -> None:
    """Ties among the scores included."""
    truth, answers = _drawn(400, 2, 3, ties=ties)
    positive, scores = truth == 1, answers[:, 1]
    assert auroc(positive, scores) == pytest.approx(reference.roc_auc_score(positive, scores))
    assert average_precision(positive, scores) == pytest.approx(reference.average_precision_score(positive, scores))


def test_macro_areas_equal_the_reference() -> None:
    """More than two classes: each against all others, a class without rows left out."""
    truth, answers = _drawn(300, 5, 4)
    found = ranking(truth, answers)
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(truth, answers, multi_class="ovr"))
    assert found["classes"] == 5
    lacking = ranking(np.where(truth == 4, 0, truth), answers)
    assert lacking["classes"] == 4


def test_two_classes_give_curves_from_corner_to_corner() -> None:
    """The rarer class is the positive one; the points ascend; one class alone cannot be ranked."""
    truth, answers = _drawn(500, 2, 5)
    truth[:200] = 0
    found = ranking(truth, answers)
    assert found["positive"] == 1
    assert (found["roc"]["x"][0], found["roc"]["y"][0]) == (0, 0)
    assert (found["roc"]["x"][-1], found["roc"]["y"][-1]) == (1, 1)
    assert np.all(np.diff(found["roc"]["x"]) >= 0)
    assert len(found["roc"]["x"]) <= 100
    low, high = found["auroc_interval"]
    assert low < found["auroc"] < high
    assert ranking(np.zeros(9, dtype=np.int64), np.full((9, 2), 0.5)) == {}


def test_a_perfect_ranking_claims_no_interval() -> None:
    """Where nothing varies nothing can be said of the spread."""
    found = ranking(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]]))
    assert (found["auroc"], found["auroc_interval"], found["average_precision_interval"]) == (1.0, None, None)


def test_the_interval_of_an_area_covers() -> None:
    """Of 300 draws of 200 rows, the 95 % interval holds the area of 200,000 rows in 91 to 99 %."""
    whole = ranking(*_drawn(200_000, 2, 0))["auroc"]
    bounds = [ranking(*_drawn(200, 2, seed))["auroc_interval"] for seed in range(1, 301)]
    assert 0.91 <= np.mean([low <= whole <= high for low, high in bounds]) <= 0.99


def test_intervals_of_means() -> None:
    """Around the value, narrower with more rows; one row has none."""
    truth, answers = _drawn(400, 4, 7)
    low, high = macro_f1_interval(confusion_matrix(truth, answers.argmax(axis=1), 4))
    assert low < reference.f1_score(truth, answers.argmax(axis=1), average="macro") < high
    assert (low, high) == tuple(macro_f1_interval(confusion_matrix(truth, answers.argmax(axis=1), 4)))
    few, many = mean_interval(row_losses(truth[:50], answers[:50])), mean_interval(row_losses(truth, answers))
    assert few is not None
    assert many is not None
    assert few[1] - few[0] > many[1] - many[0]
    assert mean_interval(np.ones(1)) is None


def test_slices_hold_every_row_once() -> None:
    """Quartiles of the length do not part texts of one length; classes without rows are left out."""
    truth, answers = _drawn(200, 3, 8)
    lengths = np.random.default_rng(1).integers(1, 12, 200)
    found = slices(truth, answers, lengths, ["a", "b", "c"])
    assert sum(each["rows"] for each in found["length"]) == 200
    assert len(found["length"]) <= 4
    assert [each["name"] for each in found["class"]] == ["a", "b", "c"]
    one = slices(np.zeros(5, dtype=np.int64), answers[:5], np.full(5, 7), ["a", "b", "c"])
    assert [each["name"] for each in one["length"]] == ["7 tokens"]
    assert [each["name"] for each in one["class"]] == ["a"]


def test_worst_rows_are_those_with_the_highest_loss() -> None:
    """The highest first; no more than there are."""
    truth, answers = _drawn(30, 3, 9)
    losses = row_losses(truth, answers)
    assert losses[worst_rows(truth, answers, 4)].tolist() == sorted(losses.tolist(), reverse=True)[:4]
    assert sorted(worst_rows(truth[:3], answers[:3])) == [0, 1, 2]
