"""The weights of a blend, found on held-out rows: a convex problem in as many unknowns as there are classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailtune.features.store import Indices
from tailtune.methods.blend import Doubles, normalised
from tailtune.methods.scorers import probabilities
from tailtune.methods.tasks import Task

# Nats, over all rows together, that weights 1 apart from equal ones must be worth. Of rows that any of the classifiers
# tells apart without a fault the loss alone would have weights without end, and of two equal classifiers any share.
PULL = 1.0
_STEPS = 200


def fit_weights(scores: Sequence[NDArray[np.floating]], labels: Indices, task: Task) -> tuple[float, ...]:
    """Return one weight per classifier, none below 0, with the least held-out log loss of the weighted sum.

    A classifier that the others make superfluous gets exactly 0. The same rows give the same weights.

    Args:
        scores: [rows, C] of each classifier, of rows that none of them learnt from: at least one classifier and row.
        labels: [rows] class ids, or [rows, C] 0/1 where a text can have several.
        task: What the labels pose; see ``Rows.task``.
    """
    from scipy.optimize import minimize

    several = labels.ndim == 2
    stacked = np.stack([normalised(each, several=several) for each in scores])
    count, rows, classes = stacked.shape
    even = 1.0 / count
    truth = labels.astype(np.float64) if several else np.eye(classes)[labels]
    cells = rows * (classes if several else 1)  # the loss of a row is the mean over labels where it can have several

    def objective(weights: Doubles) -> tuple[float, Doubles]:
        mixed = np.tensordot(weights, stacked, axes=1)
        loss = float(task.judge(mixed, labels)[0].mean()) + PULL * float(((weights - even) ** 2).sum()) / rows
        away = probabilities(mixed, several=several) - truth
        gradient = np.tensordot(stacked, away, axes=2) / cells + 2 * PULL * (weights - even) / rows
        return loss, gradient

    settings = {"maxiter": _STEPS, "gtol": 1e-9, "ftol": 0.0}
    bounds = [(0.0, None)] * count
    found = minimize(objective, np.full(count, even), jac=True, method="L-BFGS-B", bounds=bounds, options=settings)
    return tuple(found.x.tolist())


def held_out_loss(
    weights: Sequence[float], scores: Sequence[NDArray[np.floating]], labels: Indices, task: Task
) -> float:
    """Return the mean log loss of the rows, in nats, under these weights; see ``fit_weights``."""
    several = labels.ndim == 2
    rows = [weight * normalised(each, several=several) for weight, each in zip(weights, scores, strict=True)]
    return float(task.judge(np.asarray(sum(rows)), labels)[0].mean())
