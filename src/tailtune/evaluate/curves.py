"""How probabilities rank: ROC, precision and recall, with intervals.

Plain numpy: importing scikit-learn's metrics costs seconds; tests hold the two equal. Knows nothing about models.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.metrics import FloatArray, IdArray

# Points kept of a drawn curve: more cannot be told apart at 300 pixels.
_POINTS = 100
_Z = 1.959963984540054
_DRAWS = 1000


def auroc(positive: NDArray[np.bool_], scores: FloatArray) -> float:
    """Return the chance that a positive row scores above a negative one, ties counting half.

    Args:
        positive: bool [n], both values present.
        scores: float [n].
    """
    above, _ = placements(positive, scores)
    return float(above.mean())


def average_precision(positive: NDArray[np.bool_], scores: FloatArray) -> float:
    """Return the precision at each step of the recall, averaged over the steps, rows of equal score taken together.

    Args:
        positive: bool [n], at least one True.
        scores: float [n].
    """
    hits, false = _cumulative(positive, scores)
    steps = np.diff(hits, prepend=0)
    return float((steps * hits / (hits + false)).sum() / hits[-1])


def precision_recall(positive: NDArray[np.bool_], scores: FloatArray) -> dict[str, list[float]]:
    """Return the points of the curve of precision (y) by recall (x), thinned for drawing; arguments as above."""
    hits, false = _cumulative(positive, scores)
    return _thinned(hits / hits[-1], hits / (hits + false))


def binary_ranking(positive: NDArray[np.bool_], scores: FloatArray) -> dict[str, Any]:
    """Return both areas with their intervals, the share of positive rows, and the points of both curves.

    Args:
        positive: bool [n], both values present.
        scores: float [n].
    """
    hits, false = _cumulative(positive, scores)
    area, mean_precision = auroc(positive, scores), average_precision(positive, scores)
    return {
        "auroc": area,
        "auroc_interval": auroc_interval(positive, scores),
        "average_precision": mean_precision,
        "average_precision_interval": _logit_interval(mean_precision, int(hits[-1])),
        "share": float(positive.mean()),
        "roc": _thinned(np.r_[0, false / false[-1]], np.r_[0, hits / hits[-1]]),
        "precision_recall": precision_recall(positive, scores),
    }


def _cumulative(positive: NDArray[np.bool_], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positives and negatives at or above each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.cumsum(positive[order])[ends].astype(np.float64)
    return hits, ends + 1.0 - hits


def placements(positive: NDArray[np.bool_], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for each positive row the share of negative ones below it, for each negative that of positive ones above.

    Both by ascending score.

    Args:
        positive: bool [n], both values present.
        scores: float [n].
    """
    high, low = np.sort(scores[positive]), np.sort(scores[~positive])
    below = (np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")) / (2 * len(low))
    above = 1 - (np.searchsorted(high, low, "left") + np.searchsorted(high, low, "right")) / (2 * len(high))
    return below, above


def auroc_interval(positive: NDArray[np.bool_], scores: FloatArray) -> list[float] | None:
    """Return the 95 % interval of the area, DeLong's variance on the logit scale; None where nothing varies.

    Args:
        positive: bool [n], both values present.
        scores: float [n].
    """
    of_positive, of_negative = placements(positive, scores)
    if min(len(of_positive), len(of_negative)) < 2:
        return None
    area = float(of_positive.mean())
    variance = of_positive.var(ddof=1) / len(of_positive) + of_negative.var(ddof=1) / len(of_negative)
    if not 0 < area < 1 or variance == 0:
        return None
    half = _Z * math.sqrt(variance) / (area * (1 - area))
    return between(area, half)


def _logit_interval(share: float, positives: int) -> list[float] | None:
    """The 95 % interval of an average precision (Boyd, Eng and Page 2013), None at its ends."""
    if not 0 < share < 1:
        return None
    return between(share, _Z / math.sqrt(positives * share * (1 - share)))


def between(share: float, half: float) -> list[float]:
    """Return the interval (low, high) around a share in (0, 1), ``half`` to each side on the logit scale."""
    middle = math.log(share / (1 - share))
    # Beyond 700 the exponential has no number; so wide an interval says nothing anyway.
    return [1 / (1 + math.exp(-max(-700.0, min(700.0, middle + side * half)))) for side in (-1, 1)]


def _thinned(x: FloatArray, y: FloatArray) -> dict[str, list[float]]:
    """At most _POINTS points, evenly spaced along the curve, the first and the last among them."""
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    kept = np.unique(np.append(np.searchsorted(along, np.linspace(0, along[-1], _POINTS - 1)), len(x) - 1))
    return {"x": x[kept].round(5).tolist(), "y": y[kept].round(5).tolist()}


def mean_interval(values: FloatArray) -> list[float] | None:
    """Return the 95 % interval (low, high) of a mean over rows, None for fewer than two rows; low is at least 0.

    Args:
        values: float [n], at least 0 each: losses.
    """
    if len(values) < 2:
        return None
    middle, half = float(values.mean()), _Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return [max(0.0, middle - half), middle + half]


def macro_f1_interval(confusion: NDArray[np.int64], seed: int = 0) -> list[float]:
    """Return the 95 % interval of the macro F1: percentiles of 1,000 draws of as many rows, with replacement.

    Args:
        confusion: int [C, C], rows by true class (row) and predicted class (column).
        seed: Of the draws.
    """
    true, predicted = np.nonzero(confusion)
    cells, classes = confusion[true, predicted], len(confusion)
    draws = np.random.default_rng(seed).multinomial(cells.sum(), cells / cells.sum(), size=_DRAWS)
    hits, whole = np.zeros((_DRAWS, classes)), np.zeros((_DRAWS, classes))
    for cell, (i, j) in enumerate(zip(true.tolist(), predicted.tolist(), strict=True)):
        whole[:, i] += draws[:, cell]
        whole[:, j] += draws[:, cell]
        if i == j:
            hits[:, i] += draws[:, cell]
    f1 = np.divide(2 * hits, whole, out=np.zeros_like(hits), where=whole > 0).mean(axis=1)
    return [float(bound) for bound in np.percentile(f1, [2.5, 97.5])]


def row_losses(true_ids: IdArray, probabilities: FloatArray) -> FloatArray:
    """Return float [n]: the negative natural logarithm of each row's probability of its true class, kept from 0."""
    of_truth = probabilities[np.arange(len(true_ids)), true_ids]
    losses: FloatArray = -np.log(np.maximum(of_truth, np.finfo(np.float64).eps))
    return losses
