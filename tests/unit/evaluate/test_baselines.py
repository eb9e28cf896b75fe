"""The cheap baselines: what they learn, what they survive, and the published figures on the real messages."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.baselines import COUNTED, TITLES, brought_to_shares, fit_baselines, score_baselines
from tailtune.rules import Doubles, Indices, Scaling

TEXTS = ["free prize now", "win a free prize", "claim your prize now", "see you at lunch", "lunch at noon", "home soon"]
IDS = np.array([1, 1, 1, 0, 0, 0])


def test_all_three_learn_from_the_training_rows_only() -> None:
    """Probabilities are float64 [n, C] summing to 1; n-grams tell the classes apart, the majority cannot."""
    baselines = fit_baselines(TEXTS, IDS, classes=2)
    assert tuple(baselines) == COUNTED
    for name, baseline in baselines.items():
        probabilities = baseline.predict_proba(["a free prize", "lunch soon"])
        assert probabilities.dtype == np.float64
        assert probabilities.shape == (2, 2)
        assert probabilities.sum(axis=1) == pytest.approx(1)
        assert baseline.title == TITLES[name]
        if name != "majority":
            assert probabilities.argmax(axis=1).tolist() == [1, 0]
    assert baselines["majority"].predict_proba([""]).tolist() == [[0.5, 0.5]]


def test_results_do_not_depend_on_the_run() -> None:
    """Fitted twice, the probabilities are the same to the last bit."""
    first, second = (fit_baselines(TEXTS, IDS, classes=2, seed=3) for _ in range(2))
    for name in COUNTED:
        assert np.array_equal(first[name].predict_proba(TEXTS), second[name].predict_proba(TEXTS))


def test_a_class_without_training_rows_keeps_its_column() -> None:
    """Ids 0 and 2 of three classes: column 1 is 0 everywhere, the others are in their places."""
    ids = np.where(IDS == 1, 2, 0)
    for baseline in fit_baselines(TEXTS, ids, classes=3).values():
        probabilities = baseline.predict_proba(TEXTS)
        assert probabilities.shape == (6, 3)
        assert (probabilities[:, 1] == 0).all()
        assert probabilities.sum(axis=1) == pytest.approx(1)
        if baseline.name != "majority":
            assert probabilities.argmax(axis=1).tolist() == ids.tolist()


@pytest.mark.parametrize("texts", [["?!", "...", "!", "-"], ["a", "b", "c", "d"], ["\N{PILE OF POO}", "*", "7", "x"]])
def test_texts_without_a_single_word_are_no_error(texts: list[str]) -> None:
    """Where no text holds a word, the word baseline falls back on the classes' shares."""
    baselines = fit_baselines(texts, np.array([0, 1, 1, 1]), classes=2)
    np.testing.assert_allclose(baselines["word_tfidf_lr"].predict_proba(["anything"]), [[0.25, 0.75]], rtol=1e-6)
    assert np.isfinite(baselines["char_tfidf_lr"].predict_proba(["anything"])).all()


def test_one_class_in_the_training_rows_is_no_error() -> None:
    """With a single class there, every baseline predicts it for certain."""
    for baseline in fit_baselines(["a b", "c d"], np.array([1, 1]), classes=2).values():
        assert baseline.predict_proba(["a b"]).tolist() == [[0, 1]]


def test_balanced_weights_favour_the_rare_class() -> None:
    """On rows with one rare text, weighing classes equally raises the probability of the rare one."""
    texts = [*(f"lunch number {number}" for number in range(20)), "lunch prize"]
    ids = np.array([0] * 20 + [1])
    plain, weighed = (
        fit_baselines(texts, ids, classes=2, weights=weights) for weights in (None, np.array([0.5, 10.0]))
    )
    for name in ("word_tfidf_lr", "char_tfidf_lr"):
        assert weighed[name].predict_proba(["lunch"])[0, 1] > plain[name].predict_proba(["lunch"])[0, 1]


def test_regressions_are_brought_to_other_shares_and_the_majority_stays() -> None:
    """Each by the step made from its own probabilities of the held-out rows; the commonest class is no regression."""
    baselines = fit_baselines(TEXTS, IDS, classes=2)
    seen: list[float] = []

    def moved(probabilities: Doubles, truth: Indices) -> Scaling:
        assert truth.tolist() == [1, 0]
        seen.append(probabilities[0, 1])
        return Scaling(scale=(1.0, 1.0), shift=(0.0, -1.0))

    after = brought_to_shares(baselines, moved, ["free prize", "lunch"], np.array([1, 0]))
    assert seen == [baselines[name].predict_proba(["free prize"])[0, 1] for name in COUNTED[1:]]
    for name, baseline in baselines.items():
        before, rows = (np.log(one.predict_proba(["free lunch"])) for one in (baseline, after[name]))
        fallen = (before[:, 1] - before[:, 0]) - (rows[:, 1] - rows[:, 0])
        assert fallen == pytest.approx(0.0 if name == "majority" else 1.0)


def test_results_hold_scores_time_and_plain_values() -> None:
    """Each result scores the given rows; its JSON has the keys that metrics.json promises."""
    told: list[tuple[str, int, int, str]] = []
    baselines = fit_baselines(TEXTS, IDS, classes=2, progress=lambda *report: told.append(report))
    results = score_baselines(baselines, ["free prize", "lunch"], np.array([1, 0]), ["ham", "spam"])
    assert told == [("baselines", done, 3, "baselines") for done in range(4)]
    assert results["char_tfidf_lr"].scores.accuracy == 1
    assert results["majority"].scores.accuracy == 0.5
    written = results["word_tfidf_lr"].as_json()
    assert json.loads(json.dumps(written)) == written
    assert written["seconds"] > 0
    assert set(written) == {
        "title", "accuracy", "accuracy_interval", "macro_f1", "log_loss", "seconds", "converged",
    }  # fmt: skip


def test_no_texts_to_classify_give_no_rows() -> None:
    """An empty list has an empty answer of the right width."""
    for baseline in fit_baselines(TEXTS, IDS, classes=2).values():
        assert baseline.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(("texts", "ids"), [([], []), (["a"], [0, 1]), (["a", "b"], [0, 2]), (["a", "b"], [-1, 0])])
def test_what_cannot_be_fitted_is_refused(texts: list[str], ids: list[int]) -> None:
    """No rows, unequal lengths and ids outside the classes are a ValueError."""
    with pytest.raises(ValueError, match="want"):
        fit_baselines(texts, np.array(ids, dtype=np.int64), classes=2)


@pytest.fixture
def sms_rows() -> list[list[str]]:
    """Return the 5,572 rows of the SMS Spam Collection as a quoting reader sees them; skip where it is absent."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    file = Path(os.environ.get("TAILTUNE_DATA", beside)) / "sms_spam" / "SMSSpamCollection"
    if not file.exists():
        pytest.skip(f"no SMS Spam Collection at {file}; set TAILTUNE_DATA")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, delimiter="\t"))


def _chapter_split(rows: list[list[str]]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the 1,494 balanced texts and ids (spam 1) in the order whose first 1,045 train and last 300 test."""
    spam_ids = np.array([row[0] == "spam" for row in rows])
    ham, spam = np.flatnonzero(~spam_ids), np.flatnonzero(spam_ids)
    # The legacy generator, because the published split was drawn with it.
    drawn = ham[np.random.RandomState(123).choice(len(ham), len(spam), replace=False)]
    both = np.concatenate([drawn, spam])
    order = both[np.random.RandomState(123).choice(len(both), len(both), replace=False)]
    return [rows[row][1] for row in order], spam_ids[order].astype(np.int64)


def test_published_figures_on_the_chapter_split(sms_rows: list[list[str]]) -> None:
    """1,045 training rows: characters get 148 of 149 and 293 of 300 right, words 146 and 290, to one row."""
    assert len(sms_rows) == 5572
    texts, ids = _chapter_split(sms_rows)
    baselines = fit_baselines(texts[:1045], ids[:1045], classes=2)
    names = ["ham", "spam"]
    right = {}
    for part, rows in {"validation": slice(1045, 1194), "test": slice(1194, None)}.items():
        for name, result in score_baselines(baselines, texts[rows], ids[rows], names).items():
            assert result.converged
            right[name, part] = result.scores.accuracy * result.scores.rows
    assert right["char_tfidf_lr", "validation"] == pytest.approx(148, abs=1)
    assert right["char_tfidf_lr", "test"] == pytest.approx(293, abs=1)
    assert right["word_tfidf_lr", "validation"] == pytest.approx(146, abs=1)
    assert right["word_tfidf_lr", "test"] == pytest.approx(290, abs=1)
    assert right["majority", "test"] == pytest.approx(149)
