"""Scores of labels of which a row can have any number, in plain numpy; tests hold them equal to scikit-learn's.

Knows nothing about models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.curves import average_precision
from tailtune.evaluate.metrics import FloatArray, IdArray

Bools = NDArray[np.bool_]

# Probabilities are kept this far from 0 and 1 before the logarithm.
_SMALLEST = float(np.finfo(np.float64).eps)


def score_labels(truth: IdArray, probabilities: FloatArray, given: Bools, names: Sequence[str]) -> dict[str, Any]:
    """Return every score, ready for json.dumps; shares are fractions in 0..1.

    ``micro`` counts all labels of all rows together, ``macro_f1`` is the mean of the labels' own F1, where one that is
    neither there nor given counts 0. ``mean_average_precision`` is the mean over the labels that some row has and some
    row lacks. ``subset_accuracy`` is the share of rows whose whole set is right, ``hamming_loss`` that of wrong cells,
    ``log_loss`` the mean over rows and labels of the binary one, in nats. ``false_positives`` of a label is the share
    of the rows without it that were given it.

    Args:
        truth: 0/1 [n, L], n >= 1.
        probabilities: float [n, L].
        given: bool [n, L], the labels that were given.
        names: L distinct names, in the order of the columns.

    Raises:
        ValueError: If shapes differ, there is no row or a probability lies outside 0..1.
    """
    _require_valid(truth, probabilities, given, names)
    hits, called, support = (counts.sum(axis=0) for counts in label_counts(truth, given))
    f1 = ratio(2 * hits, called + support)
    precision, recall = ratio(hits, called), ratio(hits, support)
    wrongly = ratio(called - hits, len(truth) - support)
    areas = average_precisions(truth, probabilities)
    whole, wrong, losses = row_scores(truth, probabilities, given)
    return {
        "rows": len(truth),
        "labels_per_row": float(truth.sum(axis=1).mean()),
        "given_per_row": float(given.sum(axis=1).mean()),
        "micro_precision": float(ratio(hits.sum(), called.sum())),
        "micro_recall": float(ratio(hits.sum(), support.sum())),
        "micro_f1": float(ratio(2 * hits.sum(), called.sum() + support.sum())),
        "macro_f1": float(f1.mean()),
        "mean_average_precision": _mean(areas),
        "subset_accuracy": float(whole.mean()),
        "hamming_loss": float(wrong.mean()),
        "log_loss": float(losses.mean()),
        "per_label": {
            name: {
                "support": int(support[at]),
                "given": int(called[at]),
                "precision": float(precision[at]),
                "recall": float(recall[at]),
                "f1": float(f1[at]),
                "false_positives": float(wrongly[at]),
                "average_precision": None if np.isnan(areas[at]) else float(areas[at]),
            }
            for at, name in enumerate(names)
        },
    }


def _require_valid(truth: IdArray, probabilities: FloatArray, given: Bools, names: Sequence[str]) -> None:
    shape = (len(truth), len(names))
    if not len(truth) or any(each.shape != shape for each in (truth, probabilities, given)):
        raise ValueError(f"want three arrays [n >= 1, {len(names)}], got {[each.shape for each in (truth, given)]}")
    if not np.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError("want probabilities in 0..1")


def label_counts(truth: IdArray, given: Bools) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return float [n, L] hits, labels given and labels there, of each row: 0 or 1."""
    there = truth == 1
    return (there & given).astype(np.float64), given.astype(np.float64), there.astype(np.float64)


def row_scores(truth: IdArray, probabilities: FloatArray, given: Bools) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return float [n]: whether the whole set is right, the share of wrong labels, the mean binary log loss."""
    there = truth == 1
    wrong = there != given
    return (~wrong.any(axis=1)).astype(np.float64), wrong.mean(axis=1), cell_losses(truth, probabilities).mean(axis=1)


def cell_losses(truth: IdArray, probabilities: FloatArray) -> FloatArray:
    """Return float [n, L], the binary log loss of each label of each row, in nats."""
    of_truth = np.where(truth == 1, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.clip(of_truth, _SMALLEST, 1.0)))


def average_precisions(truth: IdArray, probabilities: FloatArray) -> FloatArray:
    """Return float [L], NaN for a label that no row has, or every row."""
    there = truth == 1
    share = there.mean(axis=0)
    return np.array(
        [
            average_precision(there[:, at], probabilities[:, at]) if 0 < share[at] < 1 else np.nan
            for at in range(truth.shape[1])
        ]
    )


def ratio(part: Any, whole: Any) -> FloatArray:
    """Return part / whole, 0 where ``whole`` is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    shares: FloatArray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return shares


def _mean(areas: FloatArray) -> float | None:
    known = areas[~np.isnan(areas)]
    return float(known.mean()) if len(known) else None
