"""From a classifier's probabilities to its answers: calibrated probabilities, the label, abstaining, sets of labels.

All of it is a function of one row of probabilities, holds no state and is saved in the bundle. How its numbers are
found is ``tailtune.evaluate``'s business; prediction imports only this. Knows nothing about texts or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

# Probabilities are kept this far from 0 before the logarithm: far below any that a softmax of float32 scores gives.
_SMALLEST = 1e-300


def softmax(scores: Doubles) -> Doubles:
    """Return [N, C] probabilities of scores [N, C], in nats."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def log_probabilities(probabilities: Doubles) -> Doubles:
    """Return [N, C] natural logarithms, finite for a probability of 0 too."""
    return np.log(np.maximum(probabilities, _SMALLEST))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """softmax(scale * ln p + shift).

    One scale for all classes and no shift is temperature scaling (Guo et al. 2017); a scale and a shift per class is
    vector scaling, for two classes beta calibration (Kull et al. 2017); a shift of ln(new share / old share) alone
    moves the probabilities to other class shares (Saerens et al. 2002).

    Attributes:
        scale: [C], above 0.
        shift: [C], in nats.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def __call__(self, probabilities: Doubles) -> Doubles:
        """Return [N, C] probabilities."""
        return softmax(log_probabilities(probabilities) * np.array(self.scale) + np.array(self.shift))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {"kind": "scaling", "scale": list(self.scale), "shift": list(self.shift)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A rising function of one probability: straight lines between points.

    Attributes:
        at: [K] where, rising from 0 to 1.
        value: [K] what it is there, above 0.
    """

    at: tuple[float, ...]
    value: tuple[float, ...]

    def __call__(self, probabilities: Doubles) -> Doubles:
        """Return [N] values."""
        return np.asarray(np.interp(probabilities, self.at, self.value))


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """Isotonic regression: one curve per class, each row divided by its sum; of two classes the second's decides.

    Attributes:
        curves: C of them, or one where there are two classes.
    """

    curves: tuple[Curve, ...]

    def __call__(self, probabilities: Doubles) -> Doubles:
        """Return [N, C] probabilities."""
        if len(self.curves) == 1:
            second = self.curves[0](probabilities[:, 1])
            return np.stack([1 - second, second], axis=1)
        values = np.stack([curve(column) for curve, column in zip(self.curves, probabilities.T, strict=True)], axis=1)
        return np.asarray(values / values.sum(axis=1, keepdims=True))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {"kind": "curves", "curves": [{"at": list(c.at), "value": list(c.value)} for c in self.curves]}


Step = Scaling | Curves


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """One class is called where its probability reaches a threshold, else the likeliest of the others.

    Attributes:
        positive: Id of that class.
        threshold: Least probability; above 1 for never.
    """

    positive: int
    threshold: float

    def __call__(self, probabilities: Doubles) -> Indices:
        """Return [N] class ids."""
        others = probabilities.copy()
        others[:, self.positive] = -1.0
        called = probabilities[:, self.positive] >= self.threshold
        return np.where(called, self.positive, others.argmax(axis=1)).astype(np.int64)

    def say(self, names: Sequence[str]) -> str:
        """Return the rule in words."""
        name = names[self.positive]
        return f"never {name}" if self.threshold > 1 else f"{name} at {self.threshold:.6g} or more"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {"kind": "threshold", "positive": self.positive, "threshold": self.threshold}


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """The label of least expected cost.

    Attributes:
        costs: [C][C], what it costs to call a text of the first class by the second.
    """

    costs: tuple[tuple[float, ...], ...]

    def __call__(self, probabilities: Doubles) -> Indices:
        """Return [N] class ids."""
        return np.asarray((probabilities @ np.array(self.costs)).argmin(axis=1), dtype=np.int64)

    def say(self, names: Sequence[str]) -> str:
        """Return the rule in words."""
        return "least expected cost"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {"kind": "costs", "costs": [list(row) for row in self.costs]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Abstain:
    """When not to answer, and which labels to give instead of one.

    Attributes:
        error: The promised share of texts answered wrongly, and of label sets without the true label.
        above: Only labels of a larger probability are answers; 1 for none.
        labels_from: Labels of at least this probability belong to the set.
    """

    error: float
    above: float
    labels_from: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {"error": self.error, "above": self.above, "labels_from": self.labels_from}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """All that happens to probabilities between the classifier and the reader of its answers.

    Attributes:
        steps: Applied to the probabilities one after the other.
        decision: How the label is chosen; None for the likeliest.
        abstain: When not to answer; None for always.
    """

    steps: tuple[Step, ...] = ()
    decision: Threshold | Costs | None = None
    abstain: Abstain | None = None

    def apply(self, probabilities: Doubles) -> Doubles:
        """Return [N, C] probabilities after every step.

        Args:
            probabilities: [N, C] as the classifier gives them.
        """
        for step in self.steps:
            probabilities = step(probabilities)
        return probabilities

    def decide(self, probabilities: Doubles) -> Indices:
        """Return [N] class ids; probabilities are those of ``apply``."""
        if self.decision is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        return self.decision(probabilities)

    def label_set(self, row: Doubles) -> list[int]:
        """Return the class ids that together are promised to hold the true one, likeliest first; none if none is.

        Args:
            row: [C] of ``apply``. Its likeliest class always belongs to the set.
        """
        if self.abstain is None:
            return []
        order = np.argsort(-row, kind="stable")
        return [int(order[0]), *(int(number) for number in order[1:] if row[number] >= self.abstain.labels_from)]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps; empty where there is no rule."""
        value: dict[str, Any] = {"steps": [step.as_json() for step in self.steps]} if self.steps else {}
        if self.decision is not None:
            value["decision"] = self.decision.as_json()
        if self.abstain is not None:
            value["abstain"] = self.abstain.as_json()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], classes: int) -> Self:
        """Return the rules that ``as_json`` wrote.

        Args:
            value: From a bundle's manifest.
            classes: C.

        Raises:
            BundleError: If a kind is unknown or the numbers are not for C classes.
            KeyError: If a key is missing.
        """
        abstain = value.get("abstain")
        return cls(
            steps=tuple(read_step(step, classes) for step in value.get("steps", ())),
            decision=_decision(value["decision"], classes) if "decision" in value else None,
            abstain=None if abstain is None else Abstain(**_floats(abstain)),
        )


def _floats(value: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(number) for name, number in value.items()}


def read_step(value: Mapping[str, Any], classes: int) -> Step:
    """Return the step that its ``as_json`` wrote, for C ``classes``.

    Raises:
        BundleError: If its kind is unknown or its numbers are not for C classes.
        KeyError: If a key is missing.
    """
    if value["kind"] == "scaling":
        scaling = Scaling(scale=tuple(map(float, value["scale"])), shift=tuple(map(float, value["shift"])))
        _require(len(scaling.scale) == len(scaling.shift) == classes, value)
        return scaling
    if value["kind"] == "curves":
        curves = tuple(
            Curve(at=tuple(map(float, one["at"])), value=tuple(map(float, one["value"]))) for one in value["curves"]
        )
        _require(len(curves) == (1 if classes == 2 else classes), value)
        _require(all(len(curve.at) == len(curve.value) > 0 for curve in curves), value)
        return Curves(curves=curves)
    raise BundleError(f"rule {value['kind']!r} is not known", hint="install a newer tailtune")


def _decision(value: Mapping[str, Any], classes: int) -> Threshold | Costs:
    if value["kind"] == "threshold":
        _require(value["positive"] in range(classes), value)
        return Threshold(positive=cast("int", value["positive"]), threshold=float(value["threshold"]))
    if value["kind"] == "costs":
        costs = tuple(tuple(map(float, row)) for row in value["costs"])
        _require([len(row) for row in costs] == [classes] * classes, value)
        return Costs(costs=costs)
    raise BundleError(f"rule {value['kind']!r} is not known", hint="install a newer tailtune")


def _require(fits: bool, value: Mapping[str, Any]) -> None:
    if not fits:
        raise BundleError(f"rule {value['kind']!r} does not fit the classes")
