"""A threshold for each of the labels of which a row can have several, chosen on held-out rows.

Knows nothing about models or files.
"""

from __future__ import annotations

import numpy as np

from tailtune.evaluate.decisions import Aim, choose_threshold
from tailtune.evaluate.label_metrics import Bools
from tailtune.evaluate.metrics import FloatArray, IdArray
from tailtune.label_rules import HALF, sigmoid, two_columns

# With so many held-out rows that have it, a label's own threshold counts as much as the one of all labels together.
HALFWAY = 10
_SMALLEST = 1e-12


def f1_thresholds(truth: IdArray, probabilities: FloatArray) -> tuple[float, ...]:
    """Return [L] the threshold of best F1 of each label, drawn towards one for all where few rows have the label.

    The mean, on the log odds, of the label's own threshold of best F1 and that of best micro F1 over all labels with
    one threshold, weighed k to HALFWAY where k rows have the label. So a label that no row has gets the common one,
    and without any row, or any label on them, all get one half.

    Args:
        truth: 0/1 [n, L], n may be 0.
        probabilities: float [n, L].
    """
    count = int(truth.shape[1])
    if not truth.any():
        return (HALF,) * count
    common = _log_odds(best_f1_threshold((truth == 1).ravel(), probabilities.ravel()))
    found = []
    for label in range(count):
        there = truth[:, label] == 1
        rows = int(there.sum())
        own = _log_odds(best_f1_threshold(there, probabilities[:, label])) if rows else 0.0
        drawn = (rows * own + HALFWAY * common) / (rows + HALFWAY)
        found.append(float(sigmoid(np.array(drawn))))
    return tuple(found)


def aimed_thresholds(
    truth: IdArray, probabilities: FloatArray, *, max_false_positives: float | None, min_precision: float | None
) -> tuple[float, ...]:
    """Return [L] the lowest threshold of each label at which it meets the aims; see ``choose_threshold``.

    Args:
        truth: 0/1 [n, L], n >= 1.
        probabilities: float [n, L].
        max_false_positives: Largest share of the rows without a label that may be given it.
        min_precision: Least share of the rows given a label that have it.
    """
    aim = Aim(positive=1, max_false_positives=max_false_positives, min_precision=min_precision)
    columns = ((truth[:, label], two_columns(probabilities[:, label])) for label in range(truth.shape[1]))
    return tuple(choose_threshold(rows, there, aim).threshold for there, rows in columns)


def best_f1_threshold(there: Bools, probabilities: FloatArray) -> float:
    """Return the threshold of best F1, half-way (on the log odds) to the next probability below; of equals the highest.

    Args:
        there: bool [n], at least one True.
        probabilities: float [n].
    """
    order = np.argsort(-probabilities, kind="stable")
    column = probabilities[order]
    ends = np.flatnonzero(np.append(column[1:] < column[:-1], True))
    hits = np.cumsum(there[order])[ends]
    best = int(np.argmax(2 * hits / (ends + 1 + there.sum())))
    least = column[ends[best]]
    below = column[ends[best + 1]] if best + 1 < len(ends) else least
    return float(sigmoid((_log_odds(least) + _log_odds(below)) / 2))


def _log_odds(probability: float) -> FloatArray:
    kept = np.clip(np.float64(probability), _SMALLEST, 1 - _SMALLEST)
    return np.asarray(np.log(kept / (1 - kept)))
