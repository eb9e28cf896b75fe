"""Whether the language model earned its cost, in words. Knows nothing about how either side classified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.baselines import TITLES
from tailtune.evaluate.intervals import mcnemar_p

Kind = Literal["better", "not distinguishable", "worse"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The model against the best cheap baseline.

    Attributes:
        text: One or two sentences for people.
        against: Name of the baseline.
        kind: What the test says at its level.
        p_value: Exact McNemar test, two-sided.
        difference: Accuracy of the model less that of the baseline, a fraction.
    """

    text: str
    against: str
    kind: Kind
    p_value: float
    difference: float

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain values, ready for json.dumps."""
        return asdict(self)


def judge(correct_model: NDArray[np.bool_], baselines: Mapping[str, NDArray[np.bool_]], level: float = 0.05) -> Verdict:
    """Return the verdict on the model against the baseline that was right most often (of equal ones the first).

    Taking the best of several on the same rows favours the baseline a little, which is the side to err on.

    Args:
        correct_model: bool [n], n >= 1, whether the model was right on each row.
        baselines: The same of each baseline, on the same rows in the same order; at least one.
        level: Differences with a p-value below it count as real.

    Raises:
        ValueError: If there is no row or no baseline, or lengths differ.
    """
    if len(correct_model) == 0 or not baselines:
        raise ValueError(f"want rows and baselines, got {len(correct_model)} rows and {len(baselines)} baselines")
    against = max(baselines, key=lambda name: int(np.count_nonzero(baselines[name])))
    correct_baseline = baselines[against]
    p_value = mcnemar_p(correct_model, correct_baseline)
    model, baseline = float(np.mean(correct_model)), float(np.mean(correct_baseline))
    kind = _kind(model - baseline, p_value, level)
    text = _sentence(kind, TITLES.get(against, against), model, baseline, p_value)
    return Verdict(text=text, against=against, kind=kind, p_value=p_value, difference=model - baseline)


def _kind(difference: float, p_value: float, level: float) -> Kind:
    if p_value >= level:
        return "not distinguishable"
    return "better" if difference > 0 else "worse"


def _sentence(kind: Kind, title: str, model: float, baseline: float, p_value: float) -> str:
    opening = {"better": "Better than", "not distinguishable": "Not distinguishable from", "worse": "Worse than"}[kind]
    advice = {"better": ".", "not distinguishable": "; the cheaper model would do.", "worse": "; use the baseline."}
    chance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return (
        f"{opening} the best cheap baseline ({title}): "
        f"{100 * model:.1f} % against {100 * baseline:.1f} %, McNemar {chance}{advice[kind]}"
    )
