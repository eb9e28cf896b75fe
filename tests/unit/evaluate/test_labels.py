"""Scores, intervals, thresholds and verdicts where a row can have any number of labels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from tailtune.evaluate.baselines import fit_baselines
from tailtune.evaluate.label_intervals import Draws, label_intervals, micro_f1_draws, scored_labels
from tailtune.evaluate.label_metrics import average_precisions, score_labels
from tailtune.evaluate.label_thresholds import HALFWAY, aimed_thresholds, best_f1_threshold, f1_thresholds
from tailtune.evaluate.verdict import judge_labels

Table = tuple[NDArray[np.int64], NDArray[np.float64]]


def drawn(rows: int, labels: int, *, seed: int = 0, sharpness: float = 2.0, share: float = 0.3) -> Table:
    """Return labels and calibrated-looking probabilities that know something of them."""
    random = np.random.default_rng(seed)
    truth = (random.random((rows, labels)) < share).astype(np.int64)
    scores = sharpness * (truth - 0.5) + random.standard_normal((rows, labels))
    return truth, 1 / (1 + np.exp(-scores))


def names(count: int) -> tuple[str, ...]:
    return tuple("abcdefghij"[:count])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(2, 6), st.integers(0, 3))
def test_scores_are_scikit_learns(seed: int, rows: int, count: int, digits: int) -> None:
    """On random matrices, with ties (rounded probabilities), empty rows and labels that nobody has."""
    random = np.random.default_rng(seed)
    truth = (random.random((rows, count)) < random.random(count)).astype(np.int64)
    shares = random.random((rows, count)).round(digits)
    called = shares >= 0.5
    ours = score_labels(truth, shares, called, names(count))
    expected = {
        "micro_f1": oracle.f1_score(truth, called, average="micro", zero_division=0),
        "macro_f1": oracle.f1_score(truth, called, average="macro", zero_division=0),
        "micro_precision": oracle.precision_score(truth, called, average="micro", zero_division=0),
        "micro_recall": oracle.recall_score(truth, called, average="micro", zero_division=0),
        "subset_accuracy": (truth == called).all(axis=1).mean(),
        "hamming_loss": oracle.hamming_loss(truth, called),
        "log_loss": np.mean(
            [oracle.log_loss(truth[:, at], shares[:, at], labels=[0, 1]) for at in range(count)],
        ),
    }
    assert {key: ours[key] for key in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12)
    f1 = oracle.f1_score(truth, called, average=None, zero_division=0)
    assert [each["f1"] for each in ours["per_label"].values()] == pytest.approx(f1.tolist())
    areas = average_precisions(truth, shares)
    for at in range(count):
        if 0 < truth[:, at].sum() < rows:
            assert areas[at] == pytest.approx(oracle.average_precision_score(truth[:, at], shares[:, at]))
        else:
            assert np.isnan(areas[at])


def test_what_is_no_score_is_refused() -> None:
    """Shapes that differ, no rows, probabilities outside 0..1."""
    truth, shares = drawn(4, 2)
    for wrong in ((truth[:0], shares[:0], shares[:0] > 0), (truth, shares[:, :1], shares > 0.5)):
        with pytest.raises(ValueError, match="want three arrays"):
            score_labels(*wrong, names(2))
    with pytest.raises(ValueError, match="want probabilities"):
        score_labels(truth, shares + 1, shares > 0.5, names(2))


def test_draws_without_weight_are_the_scores() -> None:
    """A draw in which each group comes once scores what the rows score: the weighted forms are the plain ones."""
    truth, shares = drawn(60, 3)
    shares = shares.round(1)
    called = shares >= 0.6
    once = Draws(weights=np.ones((1, 30)), groups=np.arange(60) // 2)
    scores = score_labels(truth, shares, called, names(3))
    bounds = label_intervals(truth, shares, called, names(3), once)
    for key in ("micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy", "hamming_loss", "log_loss"):
        assert bounds[key] == pytest.approx([scores[key]] * 2), key
    for name, each in bounds["per_label"].items():
        for key, interval in each.items():
            assert interval == pytest.approx([scores["per_label"][name][key]] * 2), (name, key)


def test_groups_are_drawn_whole() -> None:
    """Every row ten times says no more than every row once; drawn alone the copies would feign certainty."""
    truth, shares = drawn(80, 2)
    called = shares >= 0.5

    def width(copies: int, groups: NDArray[np.int64]) -> float:
        rows = np.repeat(np.arange(80), copies)
        draws = Draws.of(groups, seed=0)
        low, high = label_intervals(truth[rows], shares[rows], called[rows], names(2), draws)["micro_f1"]
        return float(high - low)

    alone = width(1, np.arange(80))
    assert width(10, np.repeat(np.arange(80), 10)) == pytest.approx(alone, rel=0.15)
    assert width(10, np.arange(800)) < 0.5 * alone


@pytest.mark.parametrize("key", ["micro_f1", "mean_average_precision", "log_loss", "subset_accuracy", "hamming_loss"])
def test_intervals_hold_the_truth(key: str) -> None:
    """Of 200 sets of 250 rows the 95 % interval holds the score of 100,000 rows in 90 % or more."""
    truth, shares = drawn(100_000, 3, seed=99)
    real = score_labels(truth, shares, shares >= 0.4, names(3))[key]
    held = 0
    for seed in range(200):
        truth, shares = drawn(250, 3, seed=seed)
        called = shares >= 0.4
        draws = Draws.of(np.arange(250), seed=seed, draws=300)
        low, high = label_intervals(truth, shares, called, names(3), draws)[key]
        held += low <= real <= high
    assert held >= 180


def test_intervals_of_rare_labels() -> None:
    """Of 100 sets of 400 rows, labels on 12 of them, the mean average precision's interval holds the truth in 85."""
    truth, shares = drawn(100_000, 3, seed=99, share=0.03)
    real = score_labels(truth, shares, shares >= 0.5, names(3))["mean_average_precision"]
    held = 0
    for seed in range(100):
        truth, shares = drawn(400, 3, seed=seed, share=0.03)
        draws = Draws.of(np.arange(400), seed=seed, draws=300)
        low, high = label_intervals(truth, shares, shares >= 0.5, names(3), draws)["mean_average_precision"]
        held += low <= real <= high
    assert held >= 85


def test_perfect_answers_do_not_feign_certainty() -> None:
    """Forty rows without an error still leave room below 1; of means over labels no interval is told."""
    truth = np.tile(np.array([[1, 0], [0, 1]]), (20, 1))
    scores = scored_labels(truth, truth.astype(float), truth == 1, names(2), Draws.of(np.arange(40), seed=0))
    low, high = scores["micro_f1_interval"]
    assert scores["micro_f1"] == high == 1.0
    assert 0.9 < low < 0.97
    assert scores["mean_average_precision_interval"] is None
    assert scores["per_label"]["a"]["recall_interval"] == pytest.approx([20 / (20 + 1.96**2), 1.0], abs=1e-3)
    assert scores["hamming_loss_interval"][0] == 0.0 < scores["hamming_loss_interval"][1] < 0.1
    assert scores["subset_accuracy_interval"] == pytest.approx([40 / (40 + 1.96**2), 1.0], abs=1e-3)


def test_the_threshold_of_best_f1() -> None:
    """No other threshold does better on the rows it was chosen on; it lies between two probabilities."""
    for seed in range(20):
        truth, shares = drawn(50, 1, seed=seed)
        there, column = truth[:, 0] == 1, shares[:, 0]
        chosen = best_f1_threshold(there, column)
        scores = [oracle.f1_score(there, column >= at) for at in np.unique(column)]
        assert oracle.f1_score(there, column >= chosen) == pytest.approx(max(scores))
        assert not np.isin(chosen, column)


def test_few_rows_draw_a_threshold_to_the_common_one() -> None:
    """Half-way, on the log odds, at HALFWAY rows with the label; none: the common one; nothing at all: one half."""
    truth, shares = drawn(2000, 3, share=0.5)
    truth[:, 2] = 0
    rare = np.flatnonzero(truth[:, 1])
    truth[rare[HALFWAY:], 1] = 0
    found = np.array(f1_thresholds(truth, shares))
    own = np.array([best_f1_threshold(truth[:, at] == 1, shares[:, at]) for at in range(2)])
    common = best_f1_threshold((truth == 1).ravel(), shares.ravel())
    odds = {name: np.log(value / (1 - value)) for name, value in (("own", own), ("common", common), ("found", found))}
    assert odds["found"][1] == pytest.approx((odds["own"][1] + odds["common"]) / 2)
    assert odds["found"][0] == pytest.approx(odds["own"][0], abs=0.02)
    assert found[2] == pytest.approx(common)
    assert f1_thresholds(np.zeros((5, 2), np.int64), shares[:5, :2]) == (0.5, 0.5)
    assert f1_thresholds(truth[:0], shares[:0]) == (0.5,) * 3


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.permutations(range(4)))
def test_thresholds_do_not_depend_on_the_order_of_labels(seed: int, order: list[int]) -> None:
    """Turning the columns round turns the thresholds round, whichever rule chose them."""
    truth, shares = drawn(40, 4, seed=seed)
    for choose in (
        f1_thresholds,
        lambda there, rows: aimed_thresholds(there, rows, max_false_positives=0.1, min_precision=None),
    ):
        before, after = choose(truth, shares), choose(truth[:, order], shares[:, order])
        assert after == pytest.approx([before[at] for at in order])


def test_thresholds_for_an_aim_meet_it() -> None:
    """For each label by itself, on the rows they were chosen on; a label nobody has is never given."""
    truth, shares = drawn(400, 3)
    truth[:, 2] = 0
    for most, least in ((0.05, None), (None, 0.9)):
        chosen = np.array(aimed_thresholds(truth, shares, max_false_positives=most, min_precision=least))
        called = shares >= chosen
        assert chosen[2] > 1
        for label in range(2):
            there = truth[:, label] == 1
            hits, wrong = (called[there, label].sum(), called[~there, label].sum())
            assert hits
            assert most is None or wrong / (~there).sum() <= most
            assert least is None or hits / (hits + wrong) >= least


def test_verdicts() -> None:
    """Clearly better, clearly worse, the same; against the best of several; both sides of a draw are possible."""
    truth, good = drawn(400, 3, sharpness=4.0)
    _, bad = drawn(400, 3, sharpness=1.0, seed=1)
    draws = Draws.of(np.arange(400), seed=0)

    def judged(shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        called = shares >= 0.5
        return score_labels(truth, shares, called, names(3))["micro_f1"], micro_f1_draws(truth, called, draws)

    others = {"majority": judged(np.full_like(bad, 0.2)), "word_tfidf_lr": judged(bad)}
    verdict = judge_labels(judged(good), others)
    assert (verdict.kind, verdict.against) == ("better", "word_tfidf_lr")
    assert verdict.text.startswith("Better than the best cheap baseline (word TF-IDF + logistic regression): ")
    assert 0 < verdict.p_value < 0.01
    assert judge_labels(judged(bad), {"char_tfidf_lr": judged(good)}).kind == "worse"
    same = judge_labels(judged(good), {"char_tfidf_lr": judged(good)})
    assert (same.kind, same.p_value, same.difference) == ("not distinguishable", 1.0, 0.0)
    with pytest.raises(ValueError, match="want baselines"):
        judge_labels(judged(good), {})


def test_a_verdict_is_rarely_wrong_by_chance() -> None:
    """Of 200 pairs of equally good classifiers at most 8 % are told apart (5 % are to be expected)."""
    told = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        truth, first = drawn(200, 2, seed=seed)
        second = 1 / (1 + np.exp(-(2 * (truth - 0.5) + random.standard_normal(truth.shape))))
        draws = Draws.of(np.arange(200), seed=seed, draws=300)
        scores = [
            (score_labels(truth, each, each >= 0.5, names(2))["micro_f1"], micro_f1_draws(truth, each >= 0.5, draws))
            for each in (first, second)
        ]
        told += judge_labels(scores[0], {"other": scores[1]}).kind != "not distinguishable"
    assert told <= 16


def test_baselines_of_several_labels() -> None:
    """One regression per label, the share where there is no choice; the commonest class becomes each label's share."""
    texts = [f"{word} place {at}" for at in range(20) for word in ("glad", "adore", "plain")]
    ids = np.array([[word == "glad", word == "adore", True] for _ in range(20) for word in ("glad", "adore", "plain")])
    fitted = fit_baselines(texts, ids.astype(np.int64), classes=3)
    assert fitted["majority"].title == "each label at its share"
    shares = fitted["majority"].predict_proba(["anything"])
    assert shares.tolist() == [[pytest.approx(1 / 3), pytest.approx(1 / 3), 1.0]]
    for name in ("word_tfidf_lr", "char_tfidf_lr"):
        rows = fitted[name].predict_proba(["glad here", "adore there", "something else"])
        assert (rows[:, :2] >= 0.5).tolist() == [[True, False], [False, True], [False, False]]
        assert rows[:, 2].tolist() == [1.0, 1.0, 1.0]
        assert fitted[name].predict_proba([]).shape == (0, 3)


def test_a_label_missing_in_a_draw_says_nothing_there() -> None:
    """Draws without a row of a rare label leave its average precision out, without a warning."""
    truth, shares = drawn(30, 2)
    truth[:, 1] = 0
    truth[0, 1] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bounds = label_intervals(truth, shares, shares > 0.5, names(2), Draws.of(np.arange(30), seed=0))
    assert bounds["per_label"]["b"]["average_precision"] is not None
