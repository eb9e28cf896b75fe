"""The learning curve of a probe: nested parts, the whole fit at the end, and nothing where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from support.features import pooled_features, rows_of
from tailtune.features.store import Features
from tailtune.methods import learning
from tailtune.methods.learning import learning_curve, nested
from tailtune.methods.probe import Rows, choose_probe
from tailtune.methods.scorers import ProbeScorer, probabilities, score_features


def _task(train: int = 320, validation: int = 80) -> tuple[Features, Rows, ProbeScorer]:
    """Vectors whose first part tells the class through noise."""
    random = np.random.default_rng(0)
    labels = np.arange(train + validation) % 2
    vectors = random.normal(size=(train + validation, 12)).astype(np.float32)
    vectors[:, 0] += labels
    features = pooled_features({2: vectors})
    rows = rows_of(labels, train=train, validation=validation)
    scorer, _, _ = choose_probe(features, rows, depths=(2,), pooling="last", penalties=(0.1,))
    return features, rows, scorer


def test_the_curve_ends_with_the_classifier_itself() -> None:
    """Parts double up to all training rows; the last point is the chosen probe's own score on validation."""
    features, rows, scorer = _task()
    curve = learning_curve(features, rows, scorer, penalty=0.1)
    assert curve is not None
    assert [point["rows"] for point in curve["points"]] == [20, 40, 80, 160, 320]
    answers = probabilities(score_features(scorer, features, rows.validation))
    truth = rows.labels[rows.validation]
    assert curve["points"][-1]["accuracy"] == np.mean(answers.argmax(axis=1) == truth)
    assert curve["points"][0]["log_loss"] > curve["points"][-1]["log_loss"]
    low, high = curve["last_step"]["interval"]
    assert low < curve["last_step"]["gain"] < high
    assert curve == learning_curve(features, rows, scorer, penalty=0.1)


def test_every_beginning_holds_the_classes_in_their_shares() -> None:
    """One class in ten: of the first 40 rows four are of it, and all rows are there once."""
    labels = (np.arange(200) % 10 == 0).astype(np.int64)
    rows = rows_of(labels, train=200, validation=0)
    order = nested(rows)
    assert sorted(order.tolist()) == list(range(200))
    assert labels[order[:40]].sum() == 4


def test_no_curve_without_rows_to_judge_or_with_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """No validation part, too few training rows, or parts that would take too long."""
    features, rows, scorer = _task()
    none = rows_of(rows.labels, train=400, validation=0)
    assert learning_curve(features, none, scorer, penalty=0.1) is None
    few = rows_of(rows.labels, train=20, validation=80)
    assert learning_curve(features, few, scorer, penalty=0.1) is None
    monkeypatch.setattr(learning, "MOST_WORK", 1.0)
    monkeypatch.setattr(learning, "MOST_WORK_AT_CUT", 1.0)
    assert learning_curve(features, rows, scorer, penalty=0.1) is None


def test_many_classes_get_a_curve_at_the_cut_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no part of all depths is cheap enough: one depth, fewer rows, each part half of the next; it says so."""
    random = np.random.default_rng(4)
    labels = np.arange(800) % 20
    centres = random.normal(size=(20, 16))
    vectors = (centres[labels] + random.normal(size=(800, 16))).astype(np.float32)
    features = pooled_features({2: random.normal(size=(800, 16)).astype(np.float32), 4: vectors})
    rows = rows_of(labels, train=640, validation=160)
    scorer, _, _ = choose_probe(features, rows, depths=(2, 4), pooling="last", penalties=(0.1,))
    monkeypatch.setattr(learning, "MOST_WORK", 1.0)
    monkeypatch.setattr(learning, "MOST_WORK_AT_CUT", 2.0 * 400 * 16 * 20)
    curve = learning_curve(features, rows, scorer, penalty=0.1)
    assert curve is not None
    assert curve["depth"] == 4
    assert [point["rows"] for point in curve["points"]] == [50, 100, 200, 400]
    assert curve["points"][0]["accuracy"] < curve["points"][-1]["accuracy"]
    assert curve["last_step"]["gain"] > 0
    monkeypatch.setattr(learning, "MOST_WORK_AT_CUT", 1.0)
    assert learning_curve(features, rows, scorer, penalty=0.1) is None
