"""Choosing a threshold on held-out rows for a stated aim, and measuring what it does on others.

Knows nothing about models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.intervals import binomial_upper, wilson
from tailtune.evaluate.metrics import FloatArray, IdArray
from tailtune.rules import Costs, Rules, Threshold

# A threshold that no probability reaches.
NEVER = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """What a threshold is to achieve.

    Attributes:
        positive: Id of the class it is for.
        max_false_positives: Largest share of the rows of other classes that may be called this class.
        min_precision: Least share of the rows called this class that are of it.
    """

    positive: int
    max_false_positives: float | None = None
    min_precision: float | None = None


def choose_threshold(
    probabilities: FloatArray, true_ids: IdArray, aim: Aim, weights: FloatArray | None = None
) -> Threshold:
    """Return the lowest threshold, so the one of most recall, at which these rows meet ``aim``.

    Met twice: by counting, and as the probabilities themselves expect it. Counting alone sees nothing finer than one
    row: of 400 rows of other classes without a false positive the true share is 0.25 % on average. Thresholds are
    probabilities of rows of the class, so the room between a row that must stay out and the next hit
    above it belongs to the cautious side. Where none meets the aim, the class is never called.

    Args:
        probabilities: float [n, C], n >= 1.
        true_ids: int [n].
        aim: One or both of its bounds.
        weights: float [n] of the rows, where classes have other shares than in the texts to come; default 1.
    """
    weights = np.ones(len(true_ids)) if weights is None else weights
    order = np.argsort(-probabilities[:, aim.positive], kind="stable")
    column, positive, weights = probabilities[order, aim.positive], (true_ids == aim.positive)[order], weights[order]
    # A threshold calls all rows that share its probability.
    ends = np.flatnonzero(np.append(column[1:] < column[:-1], True))
    parts = (positive.astype(np.float64), (~positive).astype(np.float64), column, 1 - column)
    hits, wrong, likely_hits, likely_wrong = (np.cumsum(weights * part)[ends] for part in parts)
    column = column[ends]
    meets = np.diff(hits, prepend=0.0) > 0
    for right, false in ((hits, wrong), (likely_hits, likely_wrong)):
        if aim.max_false_positives is not None:
            meets &= false <= aim.max_false_positives * false[-1]
        if aim.min_precision is not None:
            meets &= right >= aim.min_precision * (right + false)
    chosen = float(column[np.flatnonzero(meets)[-1]]) if meets.any() else NEVER
    return Threshold(positive=aim.positive, threshold=chosen)


def measure_positive(decided: IdArray, true_ids: IdArray, positive: int) -> dict[str, Any]:
    """Return how one class is called: false positives, recall and precision, each with its 95 % interval.

    Args:
        decided: int [n] class ids, n >= 1.
        true_ids: int [n].
        positive: The class.
    """
    called, is_positive = decided == positive, true_ids == positive
    hits = int((called & is_positive).sum())
    wrong, others = int((called & ~is_positive).sum()), int((~is_positive).sum())
    return {
        "rows": len(true_ids),
        "false_positives": {
            **counted(wrong, others),
            # One-sided, Clopper-Pearson: with 95 % confidence the true share is not larger.
            "upper_bound": binomial_upper(wrong, others) if others else None,
        },
        "recall": counted(hits, int(is_positive.sum())),
        "precision": counted(hits, int(called.sum())),
    }


def measure_decided(decided: IdArray, true_ids: IdArray, costs: Sequence[Sequence[float]] | None) -> dict[str, Any]:
    """Return the accuracy of decided labels with its 95 % interval, and the mean cost of a row where costs are given.

    Args:
        decided: int [n] class ids, n >= 1.
        true_ids: int [n].
        costs: [C][C], true class, class it is called by.
    """
    right = int((decided == true_ids).sum())
    measured: dict[str, Any] = {"rows": len(true_ids), "accuracy": counted(right, len(true_ids))}
    if costs is not None:
        measured["mean_cost"] = float(np.array(costs)[true_ids, decided].mean())
    return measured


def counted(part: int, whole: int) -> dict[str, Any]:
    """Return counts, their share and its 95 % Wilson interval; None for both where there is nothing to count."""
    share = part / whole if whole else None
    return {"count": part, "of": whole, "share": share, "interval": list(wilson(part, whole)) if whole else None}


def rows_needed(share: float) -> int:
    """Return how many rows without a single false positive show, with 95 % confidence, a share of at most ``share``."""
    return int(np.ceil(np.log(0.05) / np.log1p(-share)))


def abstain_above(confidence: FloatArray, correct: NDArray[np.bool_], error: float) -> float:
    """Return the confidence above which to answer, for a share of wrong answers among all texts of at most ``error``.

    Conformal risk control (Angelopoulos et al. 2022), here split conformal prediction with the confidence of wrong rows
    as score: with n held-out rows and one new text in random order, the new text is answered wrongly with probability
    at most ``error``, on average over both. That is a promise about all texts together, not about each kind of text,
    and not about the answered ones alone.

    Args:
        confidence: float [n] probability of the label given.
        correct: bool [n] whether it is right.
        error: In (0, 1).
    """
    allowed = int(np.floor(error * (len(confidence) + 1) + 1e-9)) - 1
    wrong = np.sort(confidence[~correct])[::-1]
    if allowed < 0:
        return 1.0
    return float(wrong[allowed]) if allowed < len(wrong) else 0.0


def labels_from(of_truth: FloatArray, error: float) -> float:
    """Return the probability from which labels belong to a set that holds the true one with probability 1 - ``error``.

    The least ambiguous sets (LAC; Sadinle, Lei and Wasserman 2019): of all rules with this promise they are the
    smallest on average, and the rule is one number. APS adapts better to hard texts but its sets are larger.

    Args:
        of_truth: float [n] probability of the true label.
        error: In (0, 1).
    """
    below = int(np.floor(error * (len(of_truth) + 1) + 1e-9))
    return float(np.sort(of_truth)[below - 1]) if below else 0.0


def measure_abstaining(confidence: FloatArray, correct: NDArray[np.bool_], above: float) -> dict[str, Any]:
    """Return the shares of answered rows, of wrong answers among all rows, and of wrong ones among the answered.

    Args:
        confidence: float [n] probability of the label given, n >= 1.
        correct: bool [n] whether it is right.
        above: From ``abstain_above``.
    """
    answered = confidence > above
    wrong = int((answered & ~correct).sum())
    return {
        "rows": len(correct),
        "answered": counted(int(answered.sum()), len(correct)),
        "wrong_of_all": counted(wrong, len(correct)),
        "wrong_of_answered": counted(wrong, int(answered.sum())),
    }


def measure_sets(probabilities: FloatArray, true_ids: IdArray, bound: float) -> dict[str, Any]:
    """Return how often sets of labels hold the true one, and how large they are.

    Args:
        probabilities: float [n, C], n >= 1.
        true_ids: int [n].
        bound: From ``labels_from``.
    """
    inside = probabilities >= bound
    rows = np.arange(len(true_ids))
    inside[rows, probabilities.argmax(axis=1)] = True
    sizes = inside.sum(axis=1)
    return {
        "coverage": counted(int(inside[rows, true_ids].sum()), len(true_ids)),
        "mean_size": float(sizes.mean()),
        "single": counted(int((sizes == 1).sum()), len(true_ids)),
    }


def measure_rules(rules: Rules, probabilities: FloatArray, true_ids: IdArray) -> dict[str, dict[str, Any]]:
    """Return what deciding and abstaining come to on these rows, under ``decision`` and ``abstain`` where there is one.

    Args:
        rules: Of a classifier.
        probabilities: float [n, C], n >= 1, after the steps of ``rules``.
        true_ids: int [n].
    """
    measured: dict[str, dict[str, Any]] = {}
    decided = rules.decide(probabilities)
    if rules.decision is not None:
        costs = rules.decision.costs if isinstance(rules.decision, Costs) else None
        measured["decision"] = measure_decided(decided, true_ids, costs)
    if isinstance(rules.decision, Threshold):
        measured["decision"] |= measure_positive(decided, true_ids, rules.decision.positive)
    if rules.abstain is not None:
        confidence = probabilities[np.arange(len(true_ids)), decided]
        measured["abstain"] = measure_abstaining(confidence, decided == true_ids, rules.abstain.above)
        measured["abstain"]["sets"] = measure_sets(probabilities, true_ids, rules.abstain.labels_from)
    return measured
