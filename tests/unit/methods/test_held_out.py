"""Answers of classifiers that did not learn from the rows: near-duplicates never leak, every row has one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from support.features import pooled_features, rows_of
from tailtune.features.store import Indices
from tailtune.methods import held_out
from tailtune.methods.held_out import dealt, held_out_answers, probe_without
from tailtune.methods.linear import Doubles
from tailtune.methods.probe import FOLDS, choose_probe
from tailtune.methods.scorers import score_features


def even(texts: Indices) -> Doubles:
    return np.full((len(texts), 2), 0.5)


def test_groups_stay_whole_and_classes_are_spread() -> None:
    """No group lies in two folds; a class of two groups lies in two; folds are of about one size."""
    random = np.random.default_rng(0)
    groups = random.integers(0, 300, 1000)
    labels = (groups % 7 == 0).astype(np.int64)
    labels[groups >= 298] = 2
    fold = dealt(labels, groups)
    assert all(len(np.unique(fold[groups == group])) == 1 for group in np.unique(groups))
    assert len(np.unique(fold[labels == 2])) == 2
    sizes = np.bincount(fold, minlength=FOLDS)
    assert sizes.min() > 150 < sizes.max() < 260


def test_copies_of_a_row_tell_nothing_about_it() -> None:
    """Labels by chance, each vector four times: a probe that had seen a copy would know; these guess."""
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(150), 4)
    vectors = random.normal(size=(150, 200))[groups].astype(np.float32)
    labels = random.integers(0, 2, 150)[groups]
    rows = replace(rows_of(labels, train=480, validation=120), groups=groups)
    features = pooled_features({3: vectors})
    scorer, _, _ = choose_probe(features, rows, depths=(3,), pooling="last", penalties=(1.0,))
    answers = held_out_answers(features, rows, scorer, "last", answer=even)
    assert sorted(answers.rows.tolist()) == list(range(600))
    right = np.mean(answers.probabilities.argmax(axis=1) == labels[answers.rows])
    assert 0.35 < right < 0.65
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1)


def test_too_much_work_leaves_the_validation_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound the classifier judges what it did not learn from, and says so; nothing is fitted."""
    random = np.random.default_rng(2)
    labels = np.arange(100) % 2
    features = pooled_features({3: (random.normal(size=(100, 4)) + labels[:, None]).astype(np.float32)})
    rows = rows_of(labels, train=80, validation=20)
    scorer, _, _ = choose_probe(features, rows, depths=(3,), pooling="last", penalties=(1.0,))
    monkeypatch.setattr(held_out, "MOST_WORK", 1.0)
    answers = held_out_answers(features, rows, scorer, "last", answer=even)
    assert answers.rows.tolist() == list(range(80, 100))
    assert "validation rows alone" in answers.how
    assert (answers.probabilities == 0.5).all(), "what the classifier says as a whole, not what its scorer does"
    none = held_out_answers(
        features, replace(rows, validation=np.empty(0, dtype=np.int64)), scorer, "last", answer=even
    )
    assert len(none.rows) == len(none.probabilities) == 0


def test_a_class_of_one_group_is_not_judged() -> None:
    """Nothing could have learnt it without the row itself, so there is no answer rather than a wrong one."""
    labels = np.array([0, 1] * 30 + [2])
    random = np.random.default_rng(3)
    features = pooled_features({1: random.normal(size=(61, 5)).astype(np.float32)})
    rows = rows_of(labels, train=61, validation=0)
    scorer, _, _ = choose_probe(features, rows, depths=(1,), pooling="last", penalties=(1.0,))
    answers = held_out_answers(features, rows, scorer, "last", answer=even)
    assert sorted(answers.rows.tolist()) == list(range(60))


def test_a_probe_without_rows_owes_them_nothing() -> None:
    """Turning around the labels of rows left out, and of their near-duplicates, changes not one weight."""
    random = np.random.default_rng(4)
    labels = np.arange(200) % 2
    features = pooled_features({3: (random.normal(size=(200, 6)) + labels[:, None]).astype(np.float32)})
    groups = np.arange(200) // 4
    rows = replace(rows_of(labels, train=160, validation=40), groups=groups)
    scorer, _, _ = choose_probe(features, rows, depths=(3,), pooling="last", penalties=(1.0,))
    left_out = np.array([0, 17, 199])
    turned = labels.copy()
    turned[np.isin(groups, groups[left_out])] ^= 1
    probe = probe_without(features, rows, scorer, "last", left_out)
    again = probe_without(features, replace(rows, labels=turned), scorer, "last", left_out)
    assert probe is not None
    assert again is not None
    np.testing.assert_array_equal(probe.weight, again.weight)
    np.testing.assert_array_equal(probe.bias, again.bias)
    assert np.mean(score_features(probe, features, np.arange(200)).argmax(axis=1) == labels) > 0.8
    assert probe_without(features, rows, scorer, "last", np.arange(200)) is None
