"""How far stated confidence and the share of right answers lie apart, with intervals. Knows nothing about models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.intervals import wilson
from tailtune.evaluate.metrics import FloatArray, IdArray, brier_rows, confidence_bins

BINS = 10
_DRAWS = 500
# Multiples of the measured gaps that are tried as the true ones.
_MULTIPLES = np.concatenate([np.linspace(0, 2, 21), np.linspace(2.4, 4, 5)])
# Errors measured outside these quantiles are a surprise. The lower one is far below 0.025 because true gaps do not lie
# on the line of the measured ones, which costs coverage at the upper end: found by simulation, kept by a test.
_QUANTILES = (0.006, 0.975)


def reliability(true_ids: IdArray, probabilities: FloatArray) -> list[dict[str, Any]]:
    """Return ten bins of equally many rows by confidence: rows, mean confidence, share right with its 95 % interval.

    Args:
        true_ids: int [n], n >= 1.
        probabilities: float [n, C].
    """
    confidence, correct = _judged(true_ids, probabilities)
    bins = []
    for rows in np.array_split(np.argsort(confidence, kind="stable"), BINS):
        if len(rows):
            right = int(correct[rows].sum())
            bins.append(
                {
                    "rows": len(rows),
                    "confidence": float(confidence[rows].mean()),
                    "accuracy": right / len(rows),
                    "interval": list(wilson(right, len(rows))),
                }
            )
    return bins


def calibration_intervals(true_ids: IdArray, probabilities: FloatArray, *, seed: int = 0) -> dict[str, list[float]]:
    """Return the 95 % intervals of the Brier score and of the calibration error, as ``brier_interval`` ...

    Args:
        true_ids: int [n], n >= 1.
        probabilities: float [n, C].
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    return {
        "ece_interval": list(ece_interval(*_judged(true_ids, probabilities), random=random)),
        "brier_interval": list(_mean_interval(brier_rows(true_ids, probabilities), random)),
    }


def ece_interval(
    confidence: FloatArray, correct: NDArray[np.bool_], *, random: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval (low, high) of the calibration error, by a parametric bootstrap turned round.

    Resampling rows does not do: chance alone makes gaps in every bin, resampling adds the same again, and of 300 draws
    from a calibrated classifier no percentile interval held 0. So true gaps of so many times the measured ones are
    tried, from none at all; right answers are drawn from each; those stay under which the measured
    error is no surprise (Neyman's construction along one line).

    Args:
        confidence: float [n], n >= 1.
        correct: bool [n].
        random: Of the draws.
    """
    numbers = confidence_bins(confidence)
    rows = np.bincount(numbers)
    used = rows > 0
    stated = np.bincount(numbers, weights=confidence)[used] / rows[used]
    right = np.bincount(numbers, weights=correct)[used] / rows[used]
    rows = rows[used]
    shares = np.clip(stated + _MULTIPLES[:, None] * (right - stated), 0, 1)
    errors = (rows * np.abs(shares - stated)).sum(axis=1) / len(confidence)
    measured = float((rows * np.abs(right - stated)).sum() / len(confidence))
    drawn = random.binomial(rows, shares[:, None, :], size=(len(shares), _DRAWS, len(rows)))
    likely = np.quantile(np.abs(drawn - rows * stated).sum(axis=2) / len(confidence), _QUANTILES, axis=1)
    return _ends(errors, likely[0], likely[1], measured)


def _ends(errors: FloatArray, low: FloatArray, high: FloatArray, measured: float) -> tuple[float, float]:
    """Return the least and greatest true error whose range low..high holds the measured one, between steps too.

    Args:
        errors: float [K] true errors tried, rising.
        low: float [K], the least measured error expected of each.
        high: float [K], the greatest.
        measured: The one to hold.
    """
    inside = np.flatnonzero((low <= measured) & (measured <= high))
    if not len(inside):
        return 0.0, measured
    first, last = int(inside[0]), int(inside[-1])
    least, most = errors[first], errors[last]
    if first:
        least = np.interp(measured, high[first - 1 : first + 1], errors[first - 1 : first + 1])
    if last < len(errors) - 1:
        most = np.interp(measured, low[last : last + 2], errors[last : last + 2])
    return float(least), float(most)


def _judged(true_ids: IdArray, probabilities: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == true_ids


def _mean_interval(values: FloatArray, random: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean, a hundred resamples at a time."""
    means = [
        values[random.integers(0, len(values), size=(100, len(values)))].mean(axis=1) for _ in range(_DRAWS // 100)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
