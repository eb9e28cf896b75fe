"""One label per text and any number of them: the same methods, another loss; the regressions are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from support.features import pooled_features
from tailtune.features.backbone import Floats
from tailtune.features.store import Indices
from tailtune.methods.learning import learning_curve, nested
from tailtune.methods.losses import Objective
from tailtune.methods.probe import Rows, choose_probe
from tailtune.methods.scan import scan_size
from tailtune.methods.scorers import probabilities, score_features
from tailtune.methods.tasks import OneLabel, SeveralLabels, task_of


def draws(rows: int, width: int, labels: int, *, seed: int = 0) -> tuple[Floats, Indices]:
    """Return standard normal vectors, and labels drawn by a logistic model of them; later labels are rarer."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, width)).astype(np.float32)
    scores = vectors @ random.standard_normal((width, labels)) - np.arange(labels)
    return vectors, (random.random((rows, labels)) < 1 / (1 + np.exp(-scores))).astype(np.int64)


def test_the_shape_says_which_task_it_is() -> None:
    """Ids per row are one label, a matrix any number."""
    assert isinstance(task_of(np.array([0, 1])), OneLabel)
    assert isinstance(task_of(np.array([[0], [1]])), SeveralLabels)


@pytest.mark.parametrize("penalty", [0.03, 0.3, 3.0])
def test_regressions_are_those_fitted_one_by_one(penalty: float) -> None:
    """Fitted together or apart: the same probabilities to a percent point, near the exact optimum."""
    vectors, labels = draws(400, 12, 5)
    weight, bias = SeveralLabels().regress(vectors, labels, penalty=penalty, classes=5, of_rows=None)
    ours = probabilities(vectors @ weight.T + bias, several=True)
    for label in range(5):
        exact = LogisticRegression(C=penalty, tol=1e-8, max_iter=5000).fit(vectors, labels[:, label])
        np.testing.assert_allclose(ours[:, label], exact.predict_proba(vectors)[:, 1], atol=3e-3)


def test_labels_do_not_touch_each_other() -> None:
    """Leaving a label out, or turning the columns round, changes no other label's probabilities noticeably."""
    vectors, labels = draws(300, 8, 4)
    whole = SeveralLabels().regress(vectors, labels, penalty=0.3, classes=4, of_rows=None)
    turned = SeveralLabels().regress(vectors, labels[:, ::-1], penalty=0.3, classes=4, of_rows=None)
    fewer = SeveralLabels().regress(vectors, labels[:, :3], penalty=0.3, classes=3, of_rows=None)
    rows = [probabilities(vectors @ weight.T + bias, several=True) for weight, bias in (whole, turned, fewer)]
    np.testing.assert_allclose(rows[0], rows[1][:, ::-1], atol=3e-3)
    np.testing.assert_allclose(rows[0][:, :3], rows[2], atol=3e-3)


def test_a_label_without_choice_gets_its_share() -> None:
    """No row has it, or every row: no weights, the log odds of half a row more."""
    vectors, labels = draws(50, 4, 3)
    labels[:, 0], labels[:, 2] = 0, 1
    weight, bias = SeveralLabels().regress(vectors, labels, penalty=1.0, classes=3, of_rows=None)
    assert not weight[[0, 2]].any()
    np.testing.assert_allclose(bias[[0, 2]], np.log([0.5 / 50.5, 50.5 / 0.5]), rtol=1e-6)
    weight, bias = SeveralLabels().regress(vectors, labels[:, [0]], penalty=1.0, classes=1, of_rows=None)
    assert weight.shape == (1, 4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 30), st.integers(1, 6))
def test_losses_are_scikit_learns(seed: int, rows: int, count: int) -> None:
    """The mean over labels of each row's binary log loss; a row is right where every label is on its side."""
    random = np.random.default_rng(seed)
    logits, labels = 4 * random.standard_normal((rows, count)), random.integers(0, 2, (rows, count))
    losses, right = SeveralLabels().judge(logits, labels)
    shares = 1 / (1 + np.exp(-logits))
    for row in range(rows):
        assert losses[row] == pytest.approx(log_loss(labels[row], shares[row], labels=[0, 1]), rel=1e-9)
        assert right[row] == ((shares[row] >= 0.5) == (labels[row] == 1)).all()
    batch = Objective()(torch.from_numpy(logits), torch.from_numpy(labels))
    assert batch.item() == pytest.approx(losses.mean(), rel=1e-9)


def test_extreme_scores_keep_finite_losses() -> None:
    """A score of a thousand nats costs a thousand nats, not infinity."""
    losses, _ = SeveralLabels().judge(np.array([[1000.0, -1000.0]]), np.array([[0, 1]]))
    assert losses[0] == pytest.approx(1000.0)


def test_strata_are_the_rarest_label() -> None:
    """Each row counts for the rarest of its labels; rows without one are a stratum of their own."""
    labels = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]])
    assert SeveralLabels().strata(labels).tolist() == [0, 1, 2, 3, 1]
    assert OneLabel().strata(np.array([2, 0])).tolist() == [2, 0]


def rows_with(labels: Indices) -> Rows:
    places = np.arange(len(labels))
    train = places[places % 4 > 0]
    return Rows(train=train, validation=places[places % 4 == 0], labels=labels, groups=places, classes=3)


def test_exactly_one_label_each_ranks_like_softmax() -> None:
    """Where every row happens to have one label, binary relevance finds the same likeliest one nearly everywhere."""
    ids = np.arange(240) % 3
    vectors = np.random.default_rng(0).standard_normal((240, 6)).astype(np.float32)
    vectors[np.arange(240), ids] += 3.0
    features = pooled_features({1: vectors})
    found = []
    for labels in (ids, np.eye(3, dtype=np.int64)[ids]):
        rows = rows_with(labels)
        scorer, chosen, _ = choose_probe(features, rows, depths=(1,), pooling="last")
        found.append(score_features(scorer, features, rows.validation).argmax(axis=1))
        assert chosen.loss < 0.7
    assert np.mean(found[0] == found[1]) >= 0.95


def test_a_learning_curve_of_several_labels() -> None:
    """Parts of the training rows hold each stratum in its share; whole sets and mean loss are told."""
    vectors, labels = draws(320, 12, 3, seed=3)
    features = pooled_features({1: vectors})
    rows = rows_with(labels)
    scorer, chosen, _ = choose_probe(features, rows, depths=(1,), pooling="last")
    curve = learning_curve(features, rows, scorer, penalty=chosen.penalty)
    assert curve is not None
    assert curve["points"][-1]["rows"] == 240
    assert curve["points"][-1]["log_loss"] < curve["points"][0]["log_loss"]
    half = nested(rows)[:120]
    np.testing.assert_allclose(labels[half].mean(axis=0), labels[rows.train].mean(axis=0), atol=0.05)
    assert scan_size(rows) >= 512
