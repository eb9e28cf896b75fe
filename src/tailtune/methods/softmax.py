"""A softmax regression on what scikit-learn's does not take: shared targets, and scores that are there already.

Class scores are W x + b + a z, with z the scores given: the penalty pulls W to 0 and a to 1, so that few rows leave z
as it is. For a linear z = V x it is a penalty on W - V instead of W, with one number for how far V is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats
from tailtune.methods.tasks import ONE_THREAD_WORK, STEPS, TOLERANCE

Doubles = NDArray[np.float64]


def regress_on_shares(
    vectors: Floats, targets: Doubles, *, penalty: float, of_rows: Doubles | None, given: Floats | None = None
) -> tuple[Floats, Floats, float]:
    """Return weight [C, F], bias [C] and the strength of the scores given, which make the cross-entropy least.

    Where each row belongs to one class and no scores are given it is what ``OneLabel.regress`` gives. A class that no
    row has a share of scores -30 nats.

    Args:
        vectors: [rows, F], standardised.
        targets: [rows, C] shares, each row summing to 1.
        penalty: C, the inverse strength of the L2 penalty; of two classes that of a regression with one weight vector.
        of_rows: [rows] how much each weighs; None for alike.
        given: [rows, C] class scores that are added to; None for none, whose strength is 1.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax
    from threadpoolctl import threadpool_limits

    present = np.flatnonzero(targets.sum(axis=0) > 0)
    rows, width, count = len(vectors), vectors.shape[1], len(present)
    wanted = targets[:, present]
    z = np.zeros(1) if given is None else (given - given.mean(axis=1, keepdims=True))[:, present].astype(np.float64)
    share = (np.full(rows, 1 / rows) if of_rows is None else of_rows / rows)[:, None]
    shrink = (2 if count == 2 else 1) / (penalty * rows)

    def objective(flat: Doubles) -> tuple[float, Doubles]:
        both, strength = flat[:-1].reshape(count, width + 1), flat[-1]
        scores = (vectors @ both[:, :width].astype(np.float32).T).astype(np.float64) + both[:, width] + strength * z
        loss = -float((share * wanted * log_softmax(scores, axis=1)).sum())
        loss += 0.5 * shrink * (float((both[:, :width] ** 2).sum()) + (strength - 1) ** 2)
        away = share * (softmax(scores, axis=1) * wanted.sum(axis=1, keepdims=True) - wanted)
        inner = (away.T.astype(np.float32) @ vectors).astype(np.float64) + shrink * both[:, :width]
        of_both = np.column_stack([inner, away.sum(axis=0)]).ravel()
        return loss, np.append(of_both, (away * z).sum() + shrink * (strength - 1))

    start = np.append(np.zeros(count * (width + 1)), 1.0)
    settings = {"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 0.0}
    small = vectors.size * count < ONE_THREAD_WORK
    with threadpool_limits(1 if small else None):
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=settings).x
    both = found[:-1].reshape(count, width + 1)
    weight, bias = np.zeros((targets.shape[1], width), np.float32), np.full(targets.shape[1], -30.0, np.float32)
    weight[present], bias[present] = both[:, :width], both[:, width]
    return weight, bias, float(found[-1])
