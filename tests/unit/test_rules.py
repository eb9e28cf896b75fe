"""From probabilities to answers: rows stay probabilities, rules do what they say, and come back from JSON the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.errors import BundleError
from tailtune.rules import Abstain, Costs, Curve, Curves, Doubles, Rules, Scaling, Threshold, softmax

NAMES = ("ham", "other", "spam")


def rows(seed: int, count: int = 20, classes: int = 3, sharpness: float = 0.3) -> Doubles:
    return np.random.default_rng(seed).dirichlet(np.full(classes, sharpness), size=count)


def scaling(*, scale: list[float], shift: list[float]) -> Scaling:
    return Scaling(scale=tuple(scale), shift=tuple(shift))


RISING = Curve(at=(0.0, 0.4, 1.0), value=(0.01, 0.2, 0.97))


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 20), st.floats(-30, 30))
def test_steps_give_probabilities(seed: int, scale: float, shift: float) -> None:
    """However sharp the rows and the steps: finite, not negative, each row sums to 1; certain rows too."""
    given_rows = np.concatenate([rows(seed), np.eye(3)])
    steps = (scaling(scale=[scale, 1.0, 1 / scale], shift=[shift, 0.0, -shift]), Curves(curves=(RISING,) * 3))
    fitted = Rules(steps=steps).apply(given_rows)
    assert np.isfinite(fitted).all()
    assert fitted.min() >= 0
    np.testing.assert_allclose(fitted.sum(axis=1), 1, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_a_temperature_keeps_the_order(seed: int, scale: float) -> None:
    """The likeliest class stays the likeliest, so accuracy is untouched; scale 1 changes nothing."""
    given_rows = rows(seed, sharpness=1.0)
    fitted = scaling(scale=[scale] * 3, shift=[0.0] * 3)(given_rows)
    assert (fitted.argmax(axis=1) == given_rows.argmax(axis=1)).all()
    np.testing.assert_allclose(scaling(scale=[1.0] * 3, shift=[0.0] * 3)(given_rows), given_rows, atol=1e-12)


def test_a_shift_is_bayes_rule() -> None:
    """ln(new / old) turns the posterior of one mixture into that of another: two normals, known exactly."""
    points = np.linspace(-3, 3, 13)
    likelihood = np.exp(-0.5 * (points[:, None] - np.array([-1.0, 1.0])) ** 2)
    old, new = np.array([0.5, 0.5]), np.array([0.866, 0.134])
    posterior = [likelihood * prior / (likelihood * prior).sum(axis=1, keepdims=True) for prior in (old, new)]
    moved = scaling(scale=[1.0, 1.0], shift=np.log(new / old).tolist())(posterior[0])
    np.testing.assert_allclose(moved, posterior[1], atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_a_threshold_calls_its_class_from_there(seed: int, threshold: float) -> None:
    """At or above it, and only there; the others get the likeliest of the other classes."""
    given_rows = rows(seed)
    given_rows[0] = [0.0, 1 - threshold, threshold]
    decided = Threshold(positive=2, threshold=threshold)(given_rows)
    assert ((decided == 2) == (given_rows[:, 2] >= threshold)).all()
    others = decided != 2
    assert (decided[others] == given_rows[others, :2].argmax(axis=1)).all()
    assert not (Threshold(positive=2, threshold=2.0)(np.eye(3)) == 2).any()


def test_costs_decide_by_expected_cost() -> None:
    """Equal costs give the likeliest class; a false alarm ten times as dear as a miss needs a probability of 10/11."""
    given_rows = rows(3, classes=2, sharpness=1.0)
    equal = Costs(costs=((0.0, 1.0), (1.0, 0.0)))
    assert (equal(given_rows) == given_rows.argmax(axis=1)).all()
    dear = Costs(costs=((0.0, 10.0), (1.0, 0.0)))
    edge = np.array([[1 - p, p] for p in (10 / 11 - 0.001, 10 / 11 + 0.001)])
    assert dear(edge).tolist() == [0, 1]


def test_sets_hold_every_label_from_the_bound_on() -> None:
    """Likeliest first, the likeliest always among them; without a promise there is no set."""
    rules = Rules(abstain=Abstain(error=0.1, above=0.5, labels_from=0.2))
    assert rules.label_set(np.array([0.25, 0.15, 0.6])) == [2, 0]
    assert rules.label_set(np.array([0.19, 0.62, 0.19])) == [1]
    assert Rules(abstain=Abstain(error=0.1, above=0.5, labels_from=0.9)).label_set(np.array([0.5, 0.2, 0.3])) == [0]
    assert Rules().label_set(np.array([0.5, 0.2, 0.3])) == []


FULL = Rules(
    steps=(scaling(scale=[0.7, 0.8, 0.9], shift=[0.1, -0.2, 1 / 3]), Curves(curves=(RISING,) * 3)),
    decision=Threshold(positive=2, threshold=0.93),
    abstain=Abstain(error=0.01, above=0.75, labels_from=0.04),
)


@pytest.mark.parametrize("rules", [Rules(), FULL, Rules(decision=Costs(costs=((0.0, 2.5, 1.0),) * 3))])
def test_rules_come_back_from_json(rules: Rules) -> None:
    """To the last bit; no rules are no JSON."""
    value = json.loads(json.dumps(rules.as_json()))
    assert Rules.from_json(value, 3) == rules
    assert (value == {}) == (rules == Rules())


@pytest.mark.parametrize(
    "damaged",
    [
        {"steps": [{"kind": "spline"}]},
        {"steps": [{"kind": "scaling", "scale": [1.0], "shift": [0.0]}]},
        {"steps": [{"kind": "curves", "curves": [{"at": [0.0], "value": [0.5]}]}]},
        {"decision": {"kind": "threshold", "positive": 3, "threshold": 0.5}},
        {"decision": {"kind": "costs", "costs": [[0.0, 1.0], [1.0, 0.0]]}},
        {"decision": {"kind": "coin"}},
    ],
)
def test_rules_that_do_not_fit_are_refused(damaged: dict[str, Any]) -> None:
    """An unknown kind or numbers for other classes: an error, never another answer."""
    with pytest.raises(BundleError, match="rule"):
        Rules.from_json(damaged, 3)


def test_softmax_is_the_reference_librarys() -> None:
    """Equal to torch's, extremes included."""
    import torch

    scores = np.random.default_rng(0).normal(scale=30, size=(50, 7))
    expected = torch.softmax(torch.from_numpy(scores), dim=1).numpy()
    np.testing.assert_allclose(softmax(scores), expected, atol=1e-14)


def test_rules_say_what_they_do() -> None:
    """In the words that predictions carry."""
    assert Threshold(positive=2, threshold=0.93).say(NAMES) == "spam at 0.93 or more"
    assert Threshold(positive=2, threshold=2.0).say(NAMES) == "never spam"
    assert Costs(costs=((0.0,),)).say(("ham",)) == "least expected cost"
