"""Scores of predicted probabilities against true classes, in plain numpy.

scikit-learn has most of these, but importing its metrics costs seconds; tests hold the two equal. Knows nothing about
models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.intervals import wilson

IdArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.float64]

ECE_BINS = 15
# Probabilities are kept this far from 0 before the logarithm: what scikit-learn does for float64.
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """How one class fared. A ratio without a denominator is 0: nothing was predicted, or no row has the class.

    Attributes:
        precision: Share of the rows predicted as this class that are of this class.
        recall: Share of the rows of this class that were predicted as it.
        f1: Harmonic mean of the two.
        support: Rows of this class.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """How one classifier fared on one set of rows; shares are fractions in 0..1.

    Attributes:
        rows: Number of rows.
        accuracy: Share of rows whose most probable class is the true one (of equal ones the first counts).
        accuracy_interval: 95 % Wilson interval (low, high) of the accuracy.
        macro_f1: Mean F1 over all classes; one without rows counts 0.
        per_class: Scores by class name, in label order.
        confusion: Rows of class i predicted as class j, ``confusion[i][j]``, in label order.
        log_loss: Mean negative natural logarithm of the true class's probability, kept at least 2.2e-16 from 0.
        ece: Expected calibration error of the most probable class: 15 bins of equal width, right-closed.
        brier: Half the mean squared distance to the one-hot truth: 0..1 for any number of classes, and for two
            classes the usual Brier score.
    """

    rows: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    log_loss: float
    ece: float
    brier: float

    def as_json(self) -> dict[str, Any]:
        """Return the scores as plain dicts, lists, floats and ints, ready for json.dumps."""
        return asdict(self) | {
            "accuracy_interval": list(self.accuracy_interval),
            "confusion": [list(row) for row in self.confusion],
        }


def score(true_ids: IdArray, probabilities: FloatArray, names: Sequence[str]) -> Scores:
    """Return every score of ``probabilities`` against ``true_ids``.

    Args:
        true_ids: int [n], n >= 1, values 0..C-1.
        probabilities: float [n, C], each row summing to 1 within 1e-6.
        names: C distinct class names, in id order.

    Raises:
        ValueError: If shapes, ids, names or probabilities are not as said.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    _require_valid(true_ids, probabilities, names)
    rows = len(true_ids)
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(true_ids, predicted, len(names))
    hits = int(np.trace(confusion))
    per_class = _class_scores(confusion, names)
    return Scores(
        rows=rows,
        accuracy=hits / rows,
        accuracy_interval=wilson(hits, rows),
        macro_f1=float(_f1(confusion).mean()),
        per_class=per_class,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        log_loss=_log_loss(true_ids, probabilities),
        ece=_expected_calibration_error(predicted == true_ids, probabilities.max(axis=1)),
        brier=float(brier_rows(true_ids, probabilities).mean()),
    )


def correct_rows(true_ids: IdArray, probabilities: FloatArray) -> NDArray[np.bool_]:
    """Return bool [n]: whether the most probable class of each row of ``probabilities`` [n, C] is the true one."""
    matches: NDArray[np.bool_] = probabilities.argmax(axis=1) == true_ids
    return matches


def confusion_matrix(true_ids: IdArray, predicted_ids: IdArray, classes: int) -> NDArray[np.int64]:
    """Return int [C, C]: how many rows of each true class (row) were predicted as each class (column)."""
    cells = np.bincount(true_ids.astype(np.int64) * classes + predicted_ids, minlength=classes * classes)
    return cells.reshape(classes, classes)


def macro_f1(true_ids: IdArray, predicted_ids: IdArray, classes: int) -> float:
    """Return the mean F1 over all ``classes``, a class that is neither present nor predicted counting 0."""
    return float(_f1(confusion_matrix(true_ids, predicted_ids, classes)).mean())


def _require_valid(true_ids: IdArray, probabilities: FloatArray, names: Sequence[str]) -> None:
    rows, classes = len(true_ids), len(names)
    if true_ids.ndim != 1 or rows == 0 or not np.issubdtype(true_ids.dtype, np.integer):
        raise ValueError(f"want true ids int [n], n >= 1, got {true_ids.dtype} {list(true_ids.shape)}")
    if probabilities.shape != (rows, classes):
        raise ValueError(f"want probabilities [{rows}, {classes}], got {list(probabilities.shape)}")
    if len(set(names)) != classes:
        raise ValueError(f"want distinct class names, got {list(names)}")
    if true_ids.min() < 0 or true_ids.max() >= classes:
        raise ValueError(f"want true ids in 0..{classes - 1}, got {true_ids.min()}..{true_ids.max()}")
    if not np.isfinite(probabilities).all() or probabilities.min() < 0:
        raise ValueError("want finite probabilities >= 0")
    worst = float(np.abs(probabilities.sum(axis=1) - 1).max())
    if worst > 1e-6:
        raise ValueError(f"want probabilities that sum to 1 in each row, got one {worst:.2g} off")


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> FloatArray:
    """Return part / whole, float [C], 0 where ``whole`` is 0."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _f1(confusion: NDArray[np.int64]) -> FloatArray:
    """Return F1 by class, float [C]: twice the hits over rows of the class plus rows predicted as it."""
    return _ratio(2 * np.diagonal(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def _class_scores(confusion: NDArray[np.int64], names: Sequence[str]) -> dict[str, ClassScores]:
    hits, predicted, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    columns = zip(
        names,
        _ratio(hits, predicted).tolist(),
        _ratio(hits, support).tolist(),
        _f1(confusion).tolist(),
        support.tolist(),
        strict=True,
    )
    return {
        name: ClassScores(precision=precision, recall=recall, f1=f1, support=rows)
        for name, precision, recall, f1, rows in columns
    }


def _log_loss(true_ids: IdArray, probabilities: FloatArray) -> float:
    of_truth = probabilities[np.arange(len(true_ids)), true_ids]
    return float(-np.log(np.clip(of_truth, _SMALLEST, 1 - _SMALLEST)).mean())


def brier_rows(true_ids: IdArray, probabilities: FloatArray) -> FloatArray:
    """Return float [n], half the squared distance of each row of ``probabilities`` [n, C] to the one-hot truth."""
    distance = probabilities.copy()
    distance[np.arange(len(true_ids)), true_ids] -= 1
    return np.asarray((distance**2).sum(axis=1) / 2)


def confidence_bins(confidence: FloatArray) -> NDArray[np.int64]:
    """Return int [n], the one of ECE_BINS bins of equal width, right-closed, that each confidence falls in."""
    return np.searchsorted(np.linspace(0, 1, ECE_BINS + 1)[1:-1], confidence, side="left")


def _expected_calibration_error(correct: NDArray[np.bool_], confidence: FloatArray) -> float:
    """Return the mean over rows of |accuracy - mean confidence| of the bin that the row's confidence falls in."""
    gaps = np.bincount(confidence_bins(confidence), weights=correct - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
