"""A logistic regression that starts from scores which are there already: what it need not learn is not penalised.

Class scores are W x + b + a z, with z the scores given: the penalty pulls W to 0 and a to 1, so that few rows leave z
as it is. For a linear z = V x it is a penalty on W - V instead of W, with one number for how far V is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats
from tailtune.features.store import Indices
from tailtune.methods.tasks import ONE_THREAD_WORK, STEPS, TOLERANCE

Doubles = NDArray[np.float64]


def regress_on(
    given: Floats, vectors: Floats, labels: Indices, *, penalty: float, classes: int, of_rows: Doubles | None
) -> tuple[Floats, Floats, float]:
    """Return weight [C, F], bias [C] and the strength a of the scores given; a class that does not occur scores -30.

    Args:
        given: [rows, C] class scores z.
        vectors: [rows, F], standardised.
        labels: [rows] class ids.
        penalty: C, the inverse strength of the L2 penalty; of two classes that of a regression with one weight vector.
        classes: C.
        of_rows: [rows] how much each weighs; None for alike.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax
    from threadpoolctl import threadpool_limits

    present, targets = np.unique(labels, return_inverse=True)
    rows, width = vectors.shape
    count = len(present)
    z = (given - given.mean(axis=1, keepdims=True))[:, present].astype(np.float64)
    share = np.full(rows, 1 / rows) if of_rows is None else of_rows / rows
    shrink = (2 if count == 2 else 1) / (penalty * rows)
    at = np.arange(rows)

    def objective(flat: Doubles) -> tuple[float, Doubles]:
        both, strength = flat[:-1].reshape(count, width + 1), flat[-1]
        weight = both[:, :width].astype(np.float32)
        scores = (vectors @ weight.T).astype(np.float64) + both[:, width] + strength * z
        away = softmax(scores, axis=1)
        away[at, targets] -= 1
        away *= share[:, None]
        loss = -(share * log_softmax(scores, axis=1)[at, targets]).sum()
        loss += 0.5 * shrink * (float((both[:, :width] ** 2).sum()) + (strength - 1) ** 2)
        inner = (away.T.astype(np.float32) @ vectors).astype(np.float64) + shrink * both[:, :width]
        of_both = np.column_stack([inner, away.sum(axis=0)]).ravel()
        return loss, np.append(of_both, (away * z).sum() + shrink * (strength - 1))

    start = np.append(np.zeros(count * (width + 1)), 1.0)
    settings = {"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 0.0}
    small = vectors.size * count < ONE_THREAD_WORK
    with threadpool_limits(1 if small else None):
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=settings).x
    both = found[:-1].reshape(count, width + 1)
    weight, bias = np.zeros((classes, width), np.float32), np.full(classes, -30.0, np.float32)
    weight[present], bias[present] = both[:, :width], both[:, width]
    return weight, bias, float(found[-1])
