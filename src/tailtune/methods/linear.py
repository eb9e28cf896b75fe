"""One logistic regression on standardised vectors: what probes are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats
from tailtune.features.store import Indices
from tailtune.methods.softmax import regress_on_shares
from tailtune.methods.tasks import task_of

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """One fitted logistic regression on standardised vectors: mean [F], scale [F], weight [C, F], bias [C].

    ``strength`` is how much scores that were given beside the vectors count.
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats
    strength: float = 0.0

    def scores(self, vectors: Floats, given: Floats | None = None) -> Floats:
        """Return [rows, C] scores of vectors [rows, F], with scores given [rows, C] where it was fitted with some."""
        own = np.asarray(((vectors - self.mean) / self.scale) @ self.weight.T + self.bias, dtype=np.float32)
        return own if given is None else own + np.float32(self.strength) * given


def fit_linear(
    vectors: Floats,
    labels: Indices | Doubles,
    *,
    penalty: float,
    classes: int,
    weights: Doubles | None = None,
    shares: Doubles | None = None,
    given: Floats | None = None,
) -> Linear:
    """Return a logistic regression fitted on these rows.

    Args:
        vectors: [rows, F] pooled vectors.
        labels: [rows] class ids, or [rows, C] 0/1, see ``Task.regress``; or [rows, C] float64 shares of the classes.
        penalty: C, the inverse strength of the L2 penalty.
        classes: Number of all classes.
        weights: [C] weights of the classes, 1 on average over the rows so that the penalty keeps its meaning; None for
            equal ones.
        shares: [rows] how much each row counts beside its class, a window less than a whole text; None for alike.
        given: [rows, C] class scores that it adds to; None for none.
    """
    # Summed in fp64: the fp32 mean of 5,000 equal numbers is off by 4e-5 of them, which would pass for spread.
    mean = _mean(vectors, shares).astype(np.float32)
    centred: Floats = vectors - mean
    spread = np.sqrt(_mean(np.square(centred), shares))
    scale: Floats = np.where(spread > 1e-6 * (1.0 + np.abs(mean)), spread, 1.0).astype(np.float32)
    standard: Floats = centred / scale
    if np.issubdtype(labels.dtype, np.floating):
        targets, of_rows = labels.astype(np.float64), shares
    else:
        ids, of_rows = labels.astype(np.int64, copy=False), shares
        if weights is not None:
            of_rows = weights[ids] * (1.0 if shares is None else shares)
        if given is None:
            weight, bias = task_of(ids).regress(standard, ids, penalty=penalty, classes=classes, of_rows=of_rows)
            return Linear(mean=mean, scale=scale, weight=weight, bias=bias)
        targets = np.eye(classes)[ids]
    weight, bias, strength = regress_on_shares(standard, targets, penalty=penalty, of_rows=of_rows, given=given)
    return Linear(mean=mean, scale=scale, weight=weight, bias=bias, strength=strength)


def _mean(vectors: Floats, shares: Doubles | None) -> Doubles:
    if shares is None:
        return np.asarray(vectors.mean(axis=0, dtype=np.float64))
    return np.asarray(shares @ vectors / shares.sum())
