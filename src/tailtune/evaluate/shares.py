"""How far class weights moved probabilities towards other class shares: measured on held-out rows, not assumed.

In theory weights w multiply the odds by w. That holds where classes overlap and the fit has few parameters; where it
can tell the training rows apart anyway, weights move it little (Byrd and Lipton 2019): dividing by w would overdo it.
"""

from __future__ import annotations

import numpy as np

from tailtune.evaluate.metrics import FloatArray
from tailtune.rules import Indices, log_probabilities, softmax


def fitted_part(probabilities: FloatArray, true_ids: Indices, shift: FloatArray) -> float:
    """Return which part of ``shift``, from 0 to 1, gives these rows the least log loss when added to ln p.

    Args:
        probabilities: float [n, C], of rows that the classifier was not fitted on, n >= 1.
        true_ids: int [n].
        shift: float [C], in nats.
    """
    from scipy.optimize import minimize_scalar

    logs, rows = log_probabilities(probabilities), np.arange(len(true_ids))

    def loss(part: float) -> float:
        return -float(log_probabilities(softmax(logs + part * shift))[rows, true_ids].mean())

    # Convex in the part. An end is taken where nothing between is better, so that no shift stays none.
    inside = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded")
    return min((0.0, 1.0, float(inside.x)), key=loss)
