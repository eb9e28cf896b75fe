"""Whether the language model earned its cost, in words. Knows nothing about how either side classified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.baselines import HOW, TITLES
from tailtune.evaluate.intervals import mcnemar_p
from tailtune.evaluate.metrics import FloatArray

Kind = Literal["better", "not distinguishable", "worse"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The model against the best cheap baseline.

    Attributes:
        text: One or two sentences for people.
        against: Name of the baseline.
        kind: What the test says at its level.
        p_value: Exact McNemar test, two-sided; of several labels per text that of the paired bootstrap.
        difference: Accuracy of the model less that of the baseline, a fraction; of several labels per text micro F1.
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
    chance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    text = _sentence(kind, against, (model, baseline), f"McNemar {chance}")
    return Verdict(text=text, against=against, kind=kind, p_value=p_value, difference=model - baseline)


def judge_labels(
    model: tuple[float, FloatArray], baselines: Mapping[str, tuple[float, FloatArray]], level: float = 0.05
) -> Verdict:
    """Return the verdict on the model by micro F1 against the best baseline, from paired bootstrap draws.

    Args:
        model: Its micro F1, and float [draws] that of each draw of the test rows.
        baselines: The same of each baseline, of the same draws; at least one.
        level: Differences with a p-value below it count as real.

    Raises:
        ValueError: If there is no baseline.
    """
    if not baselines:
        raise ValueError("want baselines, got none")
    against = max(baselines, key=lambda name: baselines[name][0])
    (score, drawn), (other, other_drawn) = model, baselines[against]
    gaps = drawn - other_drawn
    # One draw more on each side: no finite number of draws shows that the other side is impossible.
    below, above = (int(np.count_nonzero(side)) + 1 for side in (gaps <= 0, gaps >= 0))
    p_value = min(1.0, 2 * min(below, above) / (len(gaps) + 1))
    kind = _kind(score - other, p_value, level)
    low, high = np.percentile(100 * gaps, [2.5, 97.5])
    chance = f"difference {low:+.1f} to {high:+.1f} points in 95 % of the draws"
    text = _sentence(kind, against, (score, other), f"micro F1, {chance}")
    return Verdict(text=text, against=against, kind=kind, p_value=p_value, difference=score - other)


def with_decided(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return test results whose verdict also says what the labels given come to, where a rule gives other ones.

    The verdict compares likeliest classes, since the baselines know no threshold and no costs; alone it would promise
    an accuracy that the labels given do not have.

    Args:
        metrics: With ``verdict`` and ``decision``, or without.
    """
    decided = metrics.get("decision", {}).get("test", {}).get("accuracy")
    if "verdict" not in metrics or not decided:
        return dict(metrics)
    rule = metrics["decision"].get("rule", "decided in each fold")
    told = f" That is by the likeliest class; of the labels given ({rule}) {100 * decided['share']:.1f} % are right."
    return {**metrics, "verdict": {**metrics["verdict"], "text": metrics["verdict"]["text"] + told}}


def _kind(difference: float, p_value: float, level: float) -> Kind:
    if p_value >= level:
        return "not distinguishable"
    return "better" if difference > 0 else "worse"


def _sentence(kind: Kind, against: str, scores: tuple[float, float], test: str) -> str:
    opening = {"better": "Better than", "not distinguishable": "Not distinguishable from", "worse": "Worse than"}[kind]
    how = f" ({HOW[against]})" if against in HOW else ""
    advice = {
        "better": ".",
        "not distinguishable": f"; the cheaper model would do{how}.",
        "worse": f"; use the baseline{how}.",
    }
    model, baseline = scores
    return (
        f"{opening} the best cheap baseline ({TITLES.get(against, against)}): "
        f"{100 * model:.1f} % against {100 * baseline:.1f} %, {test}{advice[kind]}"
    )
