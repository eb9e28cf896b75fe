"""Calibration and a threshold per label: what the bundle keeps of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tailtune.config import TrainConfig
from tailtune.errors import BundleError, ConfigError, DataError
from tailtune.evaluate.label_metrics import cell_losses
from tailtune.label_aims import LabelAims, label_aims_of
from tailtune.label_rules import LabelRules, read_rules, sigmoid
from tailtune.labels import LabelSet
from tailtune.rules import Curve, Curves, Rules, Scaling

RULES = LabelRules(
    steps=(None, Scaling(scale=(0.5, 0.5), shift=(0.0, 0.1)), Curves(curves=(Curve(at=(0.0, 1.0), value=(0.1, 0.9)),))),
    thresholds=(0.5, 0.25, 2.0),
)
LABELS = LabelSet(names=("anger", "joy", "love"), several=True)
ROWS = np.array([[0.5, 0.2, 1.0], [0.49, 0.1, 0.5]])


def test_each_label_is_calibrated_by_itself() -> None:
    """None leaves it; the others are functions of its own probability alone."""
    out = RULES.apply(ROWS)
    assert out[:, 0].tolist() == [0.5, 0.49]
    odds = 0.5 * np.log(ROWS[:, 1] / (1 - ROWS[:, 1])) + 0.1
    np.testing.assert_allclose(out[:, 1], 1 / (1 + np.exp(-odds)))
    np.testing.assert_allclose(out[:, 2], [0.9, 0.5])
    assert RULES.decide(out).tolist() == [[True, True, False], [False, True, False]]


def test_rules_come_back_through_json() -> None:
    """And are refused where they do not fit the labels; one label per text keeps its own."""
    value = json.loads(json.dumps(RULES.as_json()))
    assert read_rules(value, LABELS) == RULES
    with pytest.raises(BundleError, match="rules for 3 labels do not fit 2"):
        read_rules(value, LabelSet(names=("a", "b"), several=True))
    assert read_rules({}, LabelSet(names=("a", "b"))) == Rules()


def test_the_sigmoid_of_large_scores() -> None:
    """No overflow warning, exact ends, symmetric."""
    scores = np.array([-1e4, -2.0, 0.0, 2.0, 1e4])
    shares = sigmoid(scores)
    assert shares[[0, 2, 4]].tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(shares + sigmoid(-scores), 1.0)


def held_out(rows: int, *, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities of three labels, the last one rare, and labels drawn from them."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(rows, 3)) * 2 - [0, 1, 9]
    truth = (random.random((rows, 3)) < sigmoid(logits)).astype(np.int64)
    return sigmoid(factor * logits), truth


def settled(probabilities: np.ndarray, truth: np.ndarray, **settings: Any) -> dict[str, Any]:
    config = TrainConfig(data="memory", **settings)
    aims = LabelAims(config=config, labels=LABELS)
    found = aims.settle(probabilities, truth, np.arange(len(truth)))
    return {"rules": found.rules, "notes": found.notes, **found.about["label_rules"]}


def test_overconfident_labels_are_calibrated_and_rare_ones_left_alone() -> None:
    """Logits three times too large: the temperature comes back; with fewer than ten rows nothing is fitted."""
    probabilities, truth = held_out(800, factor=3.0)
    rare = int(truth[:, 2].sum())
    assert rare < 10
    found = settled(probabilities, truth)
    rules = found["rules"]
    assert isinstance(rules, LabelRules)
    assert rules.steps[2] is None
    given = rules.apply(probabilities)
    for label in (0, 1):
        before, after = (cell_losses(truth, rows)[:, label].mean() for rows in (probabilities, given))
        assert after < before - 0.05
    assert found["calibrated"]["none"] == 1
    assert settled(probabilities, truth, calibration="none")["calibrated"] == {"none": 3}


def test_without_held_out_rows() -> None:
    """One half for each label, nothing calibrated; a threshold for an aim needs rows."""
    found = settled(np.empty((0, 3)), np.empty((0, 3), np.int64))
    assert found["rules"] == LabelRules.plain(3)
    assert found["rule"] == "0.5 for each label: there are no validation rows"
    with pytest.raises(DataError, match="there are none"):
        label_aims_of(TrainConfig(data="x", min_precision=0.9), LABELS, validation=0)


def test_aims_hold_for_each_label() -> None:
    """The rule says what was asked for; a label that cannot reach it is never given."""
    probabilities, truth = held_out(400)
    found = settled(probabilities, truth, max_false_positives=0.05, min_precision=0.8)
    assert "false positives at most 5 % and precision at least 80 %" in str(found["rule"])
    rules = found["rules"]
    assert isinstance(rules, LabelRules)
    called = rules.decide(rules.apply(probabilities))
    for label in range(3):
        there = truth[:, label] == 1
        assert called[~there, label].mean() <= 0.05
        assert not called[:, label].any() or there[called[:, label]].mean() >= 0.8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"abstain": 0.1}, "--abstain 0.1"),
        ({"costs": "c.csv"}, "--costs c.csv"),
        ({"balance": "weights"}, "--balance weights"),
        ({"balance": "undersample"}, "--balance undersample"),
        ({"positive": "joy"}, "--positive joy"),
        ({"prevalence": "data"}, "--prevalence data"),
        ({"measure_unused": True}, "--measure-unused"),
    ],
)
def test_settings_for_one_label_are_refused(settings: dict[str, Any], said: str) -> None:
    """In one line that names the flag as it was given."""
    with pytest.raises(ConfigError) as caught:
        label_aims_of(TrainConfig(data="x", **settings), LABELS, validation=10)
    assert str(caught.value).startswith(f"{said}: these texts have lists of labels")
