"""What is asked of the answers is checked before anything is computed, and met on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailtune.aims import Aims, aims_of, judge, positive_class, settle
from tailtune.class_values import class_weights, parse_prevalence, read_costs
from tailtune.config import TrainConfig
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.metrics import score
from tailtune.labels import LabelSet
from tailtune.rules import Costs, Doubles, Indices, Threshold, softmax

TWO = LabelSet(names=("ham", "spam"))
THREE = LabelSet(names=("ham", "news", "spam"))
COUNTS = {"ham": 800, "news": 150, "spam": 50}


def aims(
    *,
    labels: LabelSet = TWO,
    validation: int = 500,
    shares: tuple[float, ...] = (0.8, 0.2),
    rows: int = 1000,
    **more: Any,
) -> Aims:
    trained = np.repeat(np.arange(len(labels)), [round(rows * share) for share in shares])
    config = TrainConfig(data="memory", **more)
    weights = class_weights(config.weighting, labels, trained)
    return aims_of(config, labels, counts=COUNTS, trained=trained, validation=validation, weights=weights)


def drawn(rows: int, spam: float, seed: int = 0) -> tuple[Doubles, Indices]:
    """Return true posteriors of a world where ``spam`` of the texts are spam, and true classes."""
    random = np.random.default_rng(seed)
    truth = (random.random(rows) < spam).astype(np.int64)
    points = random.normal(size=rows) + 3 * truth
    scores = np.stack([np.full(rows, np.log(1 - spam)), 3 * points - 4.5 + np.log(spam)], axis=1)
    return softmax(scores), truth


def test_nothing_asked_is_calibration_alone() -> None:
    """No decision, no promise, no correction of shares; on true posteriors no calibration either."""
    probabilities, truth = drawn(500, 0.2)
    settled = settle(aims(), probabilities, truth, np.arange(500))
    assert (settled.rules.decision, settled.rules.abstain) == (None, None)
    assert list(settled.about) == ["calibration"]
    assert settled.notes[0].startswith("calibration: ")


def test_a_threshold_is_chosen_and_told() -> None:
    """On validation, for the rarer class, with the bound that so few rows show; judged on the test rows."""
    probabilities, truth = drawn(500, 0.2)
    settled = settle(aims(max_false_positives=0.002), probabilities, truth, np.arange(500))
    decision = settled.about["decision"]
    assert isinstance(settled.rules.decision, Threshold)
    assert decision["positive"] == "spam"
    assert decision["aims"] == {"max_false_positives": 0.002}
    assert decision["validation"]["false_positives"]["count"] == 0
    assert "which shows at most 0.7" in settled.notes[1]
    assert "takes 1,497 rows without one" in settled.notes[1]
    rows, judged = judge(settled, *drawn(2000, 0.2, seed=1), TWO.names, seed=0)
    assert rows.shape == (2000, 2)
    assert judged["decision"]["test"]["holds"] == {"max_false_positives": True}
    assert judged["decision"]["validation"] == decision["validation"]
    for part in (judged["test"], judged["test"]["raw"]):
        assert part["ece_interval"][0] <= part["ece"] <= part["ece_interval"][1]
        assert part["brier_interval"][0] <= part["brier"] <= part["brier_interval"][1]
        assert sum(one["rows"] for one in part["reliability"]) == 2000


def test_an_aim_out_of_reach_never_calls() -> None:
    """Probabilities turned round: no threshold has so much precision, and the note says so."""
    probabilities, truth = drawn(500, 0.2)
    settled = settle(aims(min_precision=0.99, calibration="none"), probabilities[:, ::-1], truth, np.arange(500))
    assert settled.about["decision"]["rule"] == "never spam"
    assert "so it is never called" in settled.notes[1]


def test_a_promise_is_told_and_measured() -> None:
    """Both the threshold and the sets, with the promise in words."""
    probabilities, truth = drawn(500, 0.2)
    settled = settle(aims(abstain=0.02), probabilities, truth, np.arange(500))
    assert settled.about["abstain"]["promise"].startswith(
        "of all texts like the validation rows, on average at most 2 %"
    )
    _, judged = judge(settled, *drawn(3000, 0.2, seed=1), TWO.names, seed=0)
    assert judged["abstain"]["test"]["wrong_of_all"]["interval"][0] <= 0.02
    assert judged["abstain"]["test"]["sets"]["coverage"]["interval"][1] >= 0.98


@pytest.mark.parametrize("validation_spam", [0.5, 0.2])
@pytest.mark.parametrize("calibration", ["none", "temperature", "vector"])
def test_shares_are_corrected_whatever_the_calibration(validation_spam: float, calibration: str) -> None:
    """Trained on balanced rows, validated on balanced or other ones: the probabilities are those of the world asked.

    Its posterior is known; the mean distance to it stays below a tenth of the uncorrected one's.
    """
    rows = 4000
    random = np.random.default_rng(3)
    truth = (random.random(rows) < validation_spam).astype(np.int64)
    points = random.normal(size=rows) + 3 * truth

    def posterior(spam: float) -> Doubles:
        return softmax(np.stack([np.full(rows, np.log(1 - spam)), 3 * points - 4.5 + np.log(spam)], axis=1))

    asked = aims(shares=(0.5, 0.5), balance="undersample", prevalence="spam=0.05", calibration=calibration)
    rules = settle(asked, posterior(0.5), truth, np.arange(rows)).rules
    away = np.abs(rules.apply(posterior(0.5)) - posterior(0.05)).mean()
    assert away < 0.1 * np.abs(posterior(0.5) - posterior(0.05)).mean() + 0.002


def test_without_validation_rows_shares_are_still_corrected() -> None:
    """From those of training straight to those asked for."""
    asked = aims(shares=(0.5, 0.5), validation=0, balance="undersample", prevalence="spam=0.1")
    nothing = np.empty(0, dtype=np.int64)
    rules = settle(asked, np.empty((0, 2)), nothing, nothing).rules
    np.testing.assert_allclose(rules.apply(np.array([[0.5, 0.5]])), [[0.9, 0.1]], atol=1e-6)


class Simulated:
    """Rows of five overlapping numbers each, one in twenty positive, and logistic regressions fitted on some."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.truth = (random.random(26_000) < 0.05).astype(np.int64)
        self.points = random.normal(size=(26_000, 5)) + 0.7 * self.truth[:, None]
        self.train, self.validation, self.test = np.split(np.arange(26_000), [4000, 6000])

    def fit(self, weights: Doubles | None) -> Doubles:
        """Return [26000, 2] probabilities of a fit on the training rows."""
        from sklearn.linear_model import LogisticRegression

        labels = self.truth[self.train]
        of_rows = None if weights is None else weights[labels]
        model = LogisticRegression(C=1.0).fit(self.points[self.train], labels, sample_weight=of_rows)
        return np.asarray(model.predict_proba(self.points))

    def given(self, **asked: Any) -> tuple[Doubles, dict[str, Any]]:
        """Return the test rows' probabilities as given out, and what is told about them."""
        labels = self.truth[self.train]
        shares = tuple((np.bincount(labels) / len(labels)).tolist())
        made = aims(shares=shares, rows=len(labels), validation=len(self.validation), **asked)
        probabilities = self.fit(None if made.weights is None else np.array(made.weights))
        held_out = self.validation
        settled = settle(made, probabilities[held_out], self.truth[held_out], held_out)
        return settled.rules.apply(probabilities[self.test]), settled.about


@pytest.mark.parametrize("calibration", ["none", "auto"])
def test_weighted_training_and_correction_mean_what_they_say(calibration: str) -> None:
    """One positive in twenty, three draws: weighted and brought back, probabilities are as good as unweighted ones.

    Their mean is the share of positives to half a point, their calibration error and log loss those without weights to
    half a point; without correction mean and log loss are off by far, and the rare class is found more often. (The
    calibration error of the likeliest class need not show it: here confidence and accuracy fall alike.)
    """
    for seed in range(3):
        world = Simulated(seed)
        truth = world.truth[world.test]
        plain, _ = world.given(calibration=calibration)
        weighted, about = world.given(calibration=calibration, class_weights="auto")
        back, corrected = world.given(calibration=calibration, class_weights="auto", prevalence="spam=0.05")
        scores = [score(truth, rows, TWO.names) for rows in (plain, weighted, back)]
        assert back[:, 1].mean() == pytest.approx(truth.mean(), abs=0.005)
        assert scores[2].ece == pytest.approx(scores[0].ece, abs=0.005)
        assert scores[2].log_loss == pytest.approx(scores[0].log_loss, abs=0.005)
        assert weighted[:, 1].mean() > 0.2
        assert scores[1].log_loss > scores[0].log_loss + 0.2
        recalls = [rows.argmax(axis=1)[truth == 1].mean() for rows in (plain, weighted, back)]
        assert recalls[1] > recalls[0] + 0.4
        assert recalls[2] == pytest.approx(recalls[0], abs=0.05)
        assert about["class_weights"]["training"]["spam"] == pytest.approx(0.5, abs=1e-3)
        assert about["class_weights"]["shares"]["spam"] == pytest.approx(0.5, abs=0.1)
        assert (about["class_weights"]["corrected"], corrected["class_weights"]["corrected"]) == (False, True)


def test_calibration_does_not_undo_weights() -> None:
    """Vector scaling, fitted where one row in twenty is positive, leaves the weighted answers nearly what they were."""
    world = Simulated(0)
    truth = world.truth[world.test] == 1
    raw, _ = world.given(class_weights="auto", calibration="none")
    fitted, _ = world.given(class_weights="auto", calibration="vector")
    weights = class_weights("auto", TWO, world.truth[world.train])
    np.testing.assert_array_equal(raw, world.fit(weights)[world.test])
    assert np.abs(raw - fitted).mean() < 0.05
    found, after = (rows.argmax(axis=1)[truth].mean() for rows in (raw, fitted))
    assert found > 0.6
    assert after == pytest.approx(found, abs=0.05)


def test_weights_change_what_prevalence_corrects_from() -> None:
    """After weights w the odds are w times those of the data: the correction divides by them, undersampled or not."""
    nothing = np.empty(0, dtype=np.int64)
    for shares in ((0.8, 0.2), (0.5, 0.5)):
        asked = aims(shares=shares, rows=10**6, validation=0, class_weights="auto", prevalence="spam=0.1")
        assert asked.weights is not None
        rules = settle(asked, np.empty((0, 2)), nothing, nothing).rules
        np.testing.assert_allclose(rules.apply(np.array([[0.5, 0.5]])), [[0.9, 0.1]], atol=1e-5)


def test_baselines_are_brought_to_the_same_shares() -> None:
    """Where shares were asked for, the step for others that were trained on the same rows is handed on; else none."""
    nothing = np.empty(0, dtype=np.int64)
    moved = settle(aims(prevalence="spam=0.5"), np.empty((0, 2)), nothing, nothing).moved
    assert moved is not None
    step = moved(np.empty((0, 2)), nothing)
    np.testing.assert_allclose(step(np.array([[0.8, 0.2]])), [[0.5, 0.5]], atol=1e-3)
    assert settle(aims(class_weights="auto"), np.empty((0, 2)), nothing, nothing).moved is None


def test_the_notes_say_what_weights_did() -> None:
    """Weights by name, the shares that probabilities came out for, how to have those of the data."""
    nothing = np.empty(0, dtype=np.int64)
    plain, asked = (
        settle(aims(class_weights="auto", prevalence=prevalence), np.empty((0, 2)), nothing, nothing).notes[0]
        for prevalence in (None, "data")
    )
    assert plain == (
        "class weights: ham 0.625, spam 2.5; probabilities are as for class shares ham 50 %, spam 50 %; "
        "--prevalence data gives those of the data"
    )
    assert asked.endswith("came out as for class shares ham 50 %, spam 50 %, and were brought to those asked for")
    assert not [note for note in settle(aims(), np.empty((0, 2)), nothing, nothing).notes if "weights" in note]


def test_weights_that_moved_nothing_are_not_divided_out() -> None:
    """A classifier that tells its rows apart whatever their weights is for the shares of the data already."""
    probabilities, truth = drawn(4000, 0.05)
    asked = aims(shares=(0.95, 0.05), rows=10_000, class_weights="auto", prevalence="spam=0.05", calibration="none")
    settled = settle(asked, probabilities, truth, np.arange(4000))
    assert settled.about["class_weights"]["training"]["spam"] == pytest.approx(0.5, abs=1e-3)
    assert settled.about["class_weights"]["shares"]["spam"] == pytest.approx(0.05, abs=0.01)
    assert np.abs(settled.rules.apply(probabilities) - probabilities).mean() < 0.003


def test_prevalence_is_shared_out() -> None:
    """Classes not named share the rest in proportion to their rows; "data" is the rows before balancing."""
    assert parse_prevalence("spam=0.05", THREE, COUNTS) == pytest.approx((0.8, 0.15, 0.05))
    assert parse_prevalence("spam=0.5, news=0.3", THREE, COUNTS) == pytest.approx((0.2, 0.3, 0.5))
    assert parse_prevalence("spam=0.5,news=0.3,ham=0.2", THREE, COUNTS) == pytest.approx((0.2, 0.3, 0.5))
    assert parse_prevalence("data", THREE, COUNTS) == pytest.approx((0.8, 0.15, 0.05), abs=1e-3)


@pytest.mark.parametrize(
    "text", ["", "spam", "spam=x", "eggs=0.1", "spam=0", "spam=1", "spam=0.6,news=0.5", "spam=nan"]
)
def test_a_prevalence_that_cannot_be_is_refused(text: str) -> None:
    """One line that names the flag."""
    with pytest.raises(ConfigError, match="--prevalence"):
        parse_prevalence(text, THREE, COUNTS)


def test_the_class_to_find_is_the_rarer_one_or_named() -> None:
    """Of two by rows; of three it must be named."""
    assert positive_class(None, TWO, {"ham": 5, "spam": 90}) == 0
    assert positive_class("spam", THREE, COUNTS) == 2
    with pytest.raises(ConfigError, match="which of the 3 classes"):
        positive_class(None, THREE, COUNTS)
    with pytest.raises(ConfigError, match="--positive: 'eggs' is no class"):
        positive_class("eggs", THREE, COUNTS)


def test_costs_come_from_either_form(tmp_path: Path) -> None:
    """TOML tables or CSV rows; pairs not named cost 0 when right and 1 when wrong."""
    toml, table = tmp_path / "costs.toml", tmp_path / "costs.csv"
    toml.write_text("[ham]\nspam = 10\n[spam]\nham = 2.5\n", encoding="utf-8")
    table.write_text("true,predicted,cost\nham,spam,10\nspam,ham,2.5\n", encoding="utf-8")
    expected = ((0.0, 1.0, 10.0), (1.0, 0.0, 1.0), (2.5, 1.0, 0.0))
    assert read_costs(toml, THREE) == read_costs(table, THREE) == expected
    asked = aims(costs=str(toml))
    assert isinstance(settle(asked, *drawn(300, 0.2), np.arange(300)).rules.decision, Costs)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.csv", None),
        ("broken.toml", "[ham\n"),
        ("flat.toml", "ham = 3\n"),
        ("odd.csv", "a,b\n1,2\n"),
        ("word.csv", "true,predicted,cost\nham,spam,dear\n"),
        ("short.csv", "true,predicted,cost\nham,spam\n"),
        ("endless.toml", "[ham]\nspam = inf\n"),
        ("eggs.toml", "[eggs]\nspam = 1\n"),
        ("bytes.csv", "\udcff"),
    ],
)
def test_costs_that_cannot_be_read_are_refused(tmp_path: Path, name: str, content: str | None) -> None:
    """One line that names the file."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=name):
        read_costs(path, TWO)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_false_positives": 0.1, "costs": "x.toml"}, "a threshold and --costs contradict"),
        ({"abstain": 0.1, "prevalence": "data"}, "--abstain and --prevalence contradict"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], said: str) -> None:
    """Before anything is computed."""
    with pytest.raises(ConfigError, match=said):
        aims(**settings)


def test_too_few_validation_rows_are_refused() -> None:
    """A promise of 1 % needs 99 rows, a threshold one."""
    assert aims(abstain=0.01, validation=99).config.abstain == 0.01
    with pytest.raises(DataError, match="needs at least 99 validation rows to promise that, got 98"):
        aims(abstain=0.01, validation=98)
    with pytest.raises(DataError, match="there are none"):
        aims(min_precision=0.9, validation=0)
