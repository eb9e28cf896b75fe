"""Whether long texts fare worse: the test rows that were cut, or read in windows, beside those that were read whole.

Knows nothing about models or files; texts are not needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.curves import row_losses
from tailtune.evaluate.intervals import difference_interval
from tailtune.evaluate.metrics import FloatArray, IdArray
from tailtune.evaluate.slices import part_scores


def long_rows(true_ids: IdArray, probabilities: FloatArray, longer: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the scores of the longer rows and of the others, each None where there is none, and their difference.

    Args:
        true_ids: int [n], n >= 1.
        probabilities: float [n, C].
        longer: bool [n], whether the text was too long to be read at once.
    """
    correct, losses = probabilities.argmax(axis=1) == true_ids, row_losses(true_ids, probabilities)
    parts = {"longer": longer, "others": ~longer}
    found = {name: part_scores(correct[rows], losses[rows]) if rows.any() else None for name, rows in parts.items()}
    return {**found, "difference": _difference(correct[longer], correct[~longer])}


def _difference(longer: NDArray[np.bool_], others: NDArray[np.bool_]) -> dict[str, Any] | None:
    """Accuracy of the longer rows less that of the others, and whether its interval leaves out 0."""
    if not len(longer) or not len(others):
        return None
    low, high = difference_interval(int(longer.sum()), len(longer), int(others.sum()), len(others))
    kind = "worse" if high < 0 else "better" if low > 0 else "not distinguishable"
    return {"accuracy": float(longer.mean() - others.mean()), "interval": [low, high], "kind": kind}
