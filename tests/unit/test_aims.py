"""What is asked of the answers is checked before anything is computed, and met on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailtune.aims import Aims, aims_of, judge, positive_class, settle
from tailtune.class_values import parse_prevalence, read_costs
from tailtune.config import TrainConfig
from tailtune.errors import ConfigError, DataError
from tailtune.labels import LabelSet
from tailtune.rules import Costs, Doubles, Indices, Threshold, softmax

TWO = LabelSet(names=("ham", "spam"))
THREE = LabelSet(names=("ham", "news", "spam"))
COUNTS = {"ham": 800, "news": 150, "spam": 50}


def aims(*, labels: LabelSet = TWO, validation: int = 500, shares: tuple[float, ...] = (0.8, 0.2), **more: Any) -> Aims:
    trained = np.repeat(np.arange(len(labels)), [round(1000 * share) for share in shares])
    config = TrainConfig(data="memory", **more)
    return aims_of(config, labels, counts=COUNTS, trained=trained, validation=validation)


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
