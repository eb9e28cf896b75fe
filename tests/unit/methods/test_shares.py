"""Learning shares of classes: where each row is of one class it is what learning labels is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tailtune.methods.losses import Objective
from tailtune.methods.softmax import regress_on_shares
from tailtune.methods.tasks import OneLabel


def _rows(classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 120)
    vectors = random.standard_normal((120, 6)) + 0.7 * np.eye(classes, 6)[labels]
    return vectors.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_whole_shares_are_labels(classes: int) -> None:
    """Probabilities equal those of scikit-learn's regression on the labels."""
    vectors, labels = _rows(classes)
    expected = OneLabel().regress(vectors, labels, classes=classes, penalty=0.3, of_rows=None)
    got = regress_on_shares(vectors, np.eye(classes)[labels], penalty=0.3, of_rows=None)

    def probabilities(found: tuple[np.ndarray, ...]) -> np.ndarray:
        scores = vectors @ found[0].T + found[1]
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    assert probabilities(got[:2]) == pytest.approx(probabilities(expected), abs=3e-3)


def test_a_shared_row_is_two_weighed_rows() -> None:
    """A row shared 0.3 to 0.7 counts as two rows of one class each, with these weights."""
    vectors, labels = _rows(3)
    shares = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    got = regress_on_shares(vectors, shares, penalty=0.3, of_rows=None)
    tripled, classes = np.repeat(vectors, 3, axis=0), np.tile(np.arange(3), len(labels))
    # Thrice the rows with a third of the weight each: the penalty is per row.
    expected = OneLabel().regress(tripled, classes, penalty=0.3, classes=3, of_rows=shares.ravel())
    gaps = [one - one.mean(axis=0) - (two - two.mean(axis=0)) for one, two in zip(got[:2], expected, strict=True)]
    assert max(float(np.abs(gap).max()) for gap in gaps) < 5e-3


def test_a_class_without_any_share_scores_low() -> None:
    """Its weights are 0 and its bias is -30 nats."""
    vectors, labels = _rows(2)
    weight, bias, _ = regress_on_shares(vectors, np.eye(3)[labels], penalty=0.3, of_rows=None)
    assert (bias[2], np.abs(weight[2]).max()) == (-30.0, 0.0)


def test_the_loss_of_whole_shares_is_that_of_labels() -> None:
    """Cross-entropy with shares of one class each equals it with class ids, with rows weighed too."""
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels, rows = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0.5, 1.5, 1.0, 1.0, 1.0])
    shares = torch.nn.functional.one_hot(labels, 3).float()
    objective = Objective()
    assert torch.allclose(objective(scores, shares), objective(scores, labels))
    assert torch.allclose(objective(scores, shares, None, rows), objective(scores, labels, None, rows))
