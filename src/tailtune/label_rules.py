"""From the probabilities of labels of which a text can have several to its labels: calibration and a threshold each.

The counterpart of ``tailtune.rules`` for one label per text: a function of one row, saved in the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError
from tailtune.labels import LabelSet
from tailtune.rules import Doubles, Rules, Step, read_step

# Where nothing says otherwise: as likely as not.
HALF = 0.5


def sigmoid(scores: Doubles) -> Doubles:
    """Return [N, L] probabilities of scores [N, L], in nats, each label by itself."""
    # Of the two ways to write it, the one whose exponential stays small.
    small = np.exp(-np.abs(scores))
    shares: Doubles = np.where(scores >= 0, 1.0, small) / (1.0 + small)
    return shares


def two_columns(probabilities: Doubles) -> Doubles:
    """Return [N, 2] of one label's probabilities [N]: without it, with it."""
    return np.stack([1.0 - probabilities, probabilities], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRules:
    """What happens to the probabilities of labels before they are given out, and which labels are given.

    Attributes:
        steps: [L] calibration of each label, of the two probabilities without and with it; None for none.
        thresholds: [L] least probability with which a text is given each label; above 1 for never.
    """

    steps: tuple[Step | None, ...]
    thresholds: tuple[float, ...]

    @classmethod
    def plain(cls, count: int) -> Self:
        """Return the rules of ``count`` labels that leave probabilities as they are, with thresholds of one half."""
        return cls(steps=(None,) * count, thresholds=(HALF,) * count)

    def apply(self, probabilities: Doubles) -> Doubles:
        """Return [N, L] calibrated probabilities.

        Args:
            probabilities: [N, L] as the classifier gives them.
        """
        out = probabilities.copy()
        for label, step in enumerate(self.steps):
            if step is not None:
                out[:, label] = step(two_columns(out[:, label]))[:, 1]
        return out

    def decide(self, probabilities: Doubles) -> NDArray[np.bool_]:
        """Return bool [N, L], the labels that are given; probabilities are those of ``apply``."""
        return np.asarray(probabilities >= np.array(self.thresholds))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        steps = [None if step is None else step.as_json() for step in self.steps]
        return {"kind": "labels", "steps": steps, "thresholds": list(self.thresholds)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], count: int) -> Self:
        """Return the rules that ``as_json`` wrote for ``count`` labels.

        Raises:
            BundleError: If a kind is unknown or the numbers are not for so many labels.
            KeyError: If a key is missing.
        """
        steps = tuple(None if step is None else read_step(step, 2) for step in value["steps"])
        thresholds = tuple(map(float, value["thresholds"]))
        if not len(steps) == len(thresholds) == count:
            raise BundleError(f"rules for {len(thresholds)} labels do not fit {count}")
        return cls(steps=steps, thresholds=thresholds)


AnyRules = Rules | LabelRules


def read_rules(value: Mapping[str, Any], labels: LabelSet) -> AnyRules:
    """Return the rules that ``as_json`` wrote, for these labels; empty where one label per text needs none.

    Raises:
        BundleError: If they do not fit the labels.
        KeyError: If a key is missing.
    """
    return (LabelRules if labels.several else Rules).from_json(value, len(labels))
