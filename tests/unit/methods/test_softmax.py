"""A regression that starts from scores: the plain one where they say nothing, the scores where rows say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.methods.softmax import regress_on_shares
from tailtune.methods.tasks import OneLabel

Floats = NDArray[np.float32]


def rows_of(classes: int, *, rows: int = 60, width: int = 5) -> tuple[Floats, NDArray[np.int64]]:
    random = np.random.default_rng(3)
    vectors = random.standard_normal((rows, width)).astype(np.float32)
    truth = random.standard_normal((width, classes))
    return vectors, (vectors @ truth + random.standard_normal((rows, classes))).argmax(axis=1)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_nothing_leave_the_plain_regression(classes: int, *, weighted: bool) -> None:
    """The same penalty means the same, with two classes and with more, with weighted rows and without."""
    vectors, labels = rows_of(classes)
    of_rows = np.linspace(0.5, 1.5, len(labels)) if weighted else None
    given = np.zeros((60, classes), np.float32)
    weight, bias, strength = regress_on_shares(
        vectors, np.eye(classes)[labels], penalty=0.3, of_rows=of_rows, given=given
    )
    plain_weight, plain_bias = OneLabel().regress(vectors, labels, penalty=0.3, classes=classes, of_rows=of_rows)
    assert strength == pytest.approx(1.0)
    got, expected = vectors @ weight.T + bias, vectors @ plain_weight.T + plain_bias
    got -= got.mean(axis=1, keepdims=True)
    expected -= expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(got, expected, atol=2e-2)


def test_a_strong_penalty_leaves_the_scores_as_they_are() -> None:
    """Weights go to nothing and the strength to one: what is left is a shift per class."""
    vectors, labels = rows_of(3)
    given = np.random.default_rng(4).standard_normal((60, 3)).astype(np.float32)
    weight, _, strength = regress_on_shares(vectors, np.eye(3)[labels], penalty=1e-7, of_rows=None, given=given)
    assert np.abs(weight).max() < 1e-3
    assert strength == pytest.approx(1.0, abs=1e-3)


def test_wrong_scores_are_believed_less_and_right_ones_more() -> None:
    """The strength follows the rows."""
    vectors, labels = rows_of(3)
    right = np.eye(3, dtype=np.float32)[labels]
    strengths = [
        regress_on_shares(0 * vectors, np.eye(3)[labels], penalty=1.0, of_rows=None, given=sign * right)[2]
        for sign in (np.float32(1), np.float32(-1))
    ]
    assert strengths[0] > 1.5
    assert strengths[1] < 0


def test_a_class_without_rows_scores_low() -> None:
    """As in the plain regression."""
    vectors, labels = rows_of(2)
    labels = np.where(labels == 1, 3, 0)
    given = np.zeros((60, 4), np.float32)
    weight, bias, _ = regress_on_shares(vectors, np.eye(4)[labels], penalty=0.3, of_rows=None, given=given)
    assert bias[[1, 2]].tolist() == [-30.0, -30.0]
    assert not weight[[1, 2]].any()
    assert weight[[0, 3]].any()
