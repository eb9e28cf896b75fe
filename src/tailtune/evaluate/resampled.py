"""What scores of several folds say together: means with honest intervals, and counts added up.

Knows nothing about how the folds were drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailtune.evaluate.decisions import counted
from tailtune.evaluate.intervals import binomial_upper


def corrected_interval(
    values: Sequence[float],
    ratio: float,
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
    level: float = 0.95,
) -> list[float] | None:
    """Return Nadeau and Bengio's corrected resampled t interval (2003) of the mean of ``values``.

    Folds share most of their training rows, so their scores vary together and their spread divided by their number is
    too small a variance; it is multiplied by 1/k + ratio instead of 1/k. In simulated sets it held the accuracy to be
    had with so many rows in 97 to 99 of 100 (docs/log.md): cautious, and the only one that covers the choice of the
    training rows.

    Args:
        values: float [k], k >= 2.
        ratio: Tested rows over training rows of a fold.
        within: What the measure can be.
        level: Coverage asked for, in (0, 1).

    Returns:
        Low and high; None where all values are equal, which says nothing about how they vary.
    """
    from scipy.special import stdtrit

    folds = len(values)
    t = float(stdtrit(folds - 1, (1 + level) / 2))
    half = t * float(np.std(values, ddof=1)) * math.sqrt(1 / folds + ratio)
    middle = float(np.mean(values))
    return [max(within[0], middle - half), min(within[1], middle + half)] if half > 0 else None


def summed(values: Sequence[Any], weights: Sequence[int]) -> Any:
    """Return measures of several parts as one: counts added up with their interval, other numbers averaged by rows.

    Args:
        values: What was measured on each part, mappings of one shape, numbers, or None where there was nothing.
        weights: Rows of each part.
    """
    first = values[0]
    if isinstance(first, Mapping) and "count" in first:
        count, of = (sum(value[name] for value in values) for name in ("count", "of"))
        bound = {"upper_bound": binomial_upper(count, of) if of else None} if "upper_bound" in first else {}
        return {**counted(count, of), **bound}
    if isinstance(first, Mapping):
        return {
            name: sum(weights) if name == "rows" else summed([value[name] for value in values], weights)
            for name in first
        }
    return None if None in values else float(np.average(values, weights=weights))
