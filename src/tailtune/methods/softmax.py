"""A softmax regression on what scikit-learn's does not take: targets that share a row among classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats
from tailtune.methods.tasks import ONE_THREAD_WORK, STEPS, TOLERANCE, Regression

Doubles = NDArray[np.float64]


def regress_on_shares(vectors: Floats, targets: Doubles, *, penalty: float, of_rows: Doubles | None) -> Regression:
    """Return weight [C, F] and bias [C] that make the cross-entropy with ``targets`` least.

    Where each row belongs to one class it is what ``OneLabel.regress`` gives. A class that no row has a share of
    scores -30 nats.

    Args:
        vectors: [rows, F], standardised.
        targets: [rows, C] shares, each row summing to 1.
        penalty: C, the inverse strength of the L2 penalty; of two classes that of a regression with one weight vector.
        of_rows: [rows] how much each weighs; None for alike.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax
    from threadpoolctl import threadpool_limits

    present = np.flatnonzero(targets.sum(axis=0) > 0)
    rows, width, count = len(vectors), vectors.shape[1], len(present)
    wanted = targets[:, present]
    share = (np.full(rows, 1 / rows) if of_rows is None else of_rows / rows)[:, None]
    shrink = (2 if count == 2 else 1) / (penalty * rows)

    def objective(flat: Doubles) -> tuple[float, Doubles]:
        both = flat.reshape(count, width + 1)
        scores = (vectors @ both[:, :width].astype(np.float32).T).astype(np.float64) + both[:, width]
        loss = -float((share * wanted * log_softmax(scores, axis=1)).sum())
        loss += 0.5 * shrink * float((both[:, :width] ** 2).sum())
        away = share * (softmax(scores, axis=1) * wanted.sum(axis=1, keepdims=True) - wanted)
        inner = (away.T.astype(np.float32) @ vectors).astype(np.float64) + shrink * both[:, :width]
        return loss, np.column_stack([inner, away.sum(axis=0)]).ravel()

    settings = {"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 0.0}
    small = vectors.size * count < ONE_THREAD_WORK
    with threadpool_limits(1 if small else None):
        found = minimize(objective, np.zeros(count * (width + 1)), jac=True, method="L-BFGS-B", options=settings).x
    both = found.reshape(count, width + 1)
    weight, bias = np.zeros((targets.shape[1], width), np.float32), np.full(targets.shape[1], -30.0, np.float32)
    weight[present], bias[present] = both[:, :width], both[:, width]
    return weight, bias
