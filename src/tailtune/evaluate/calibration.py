"""Fitting calibrated probabilities on held-out rows, and choosing how flexible the fit may be.

Candidates, simplest first: none, temperature, vector scaling, isotonic regression. Each is fitted in grouped
cross-validation and judged by the log loss of rows it did not see; the simplest one within one standard error of the
best is taken, and fitted on all rows. Knows nothing about models or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tailtune.evaluate.metrics import FloatArray, IdArray
from tailtune.rules import Curve, Curves, Scaling, Step, log_probabilities, softmax

Method = Literal["none", "temperature", "vector", "isotonic"]

FOLDS = 5
# A fit on fewer rows does not take part. In simulations the rule itself kept the harm small, except for isotonic curves
# on 50 rows, where one choice in 40 cost 0.28 nats (docs/log.md, 2026-11-24).
FEWEST_ROWS: Mapping[str, int] = {"none": 0, "temperature": 50, "vector": 200, "isotonic": 500}
# Spread (in nats) that vector scaling's scales and shifts are expected to have around the temperature's.
_SPREAD = 1.0
# Isotonic curves are flat in pieces. This share of the identity keeps the order of texts, which thresholds need.
_SLOPE = 1e-3
_LARGEST_LOG = 4.0
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One way to calibrate, judged on rows it was not fitted on.

    Attributes:
        method: Its name.
        loss: Mean log loss, in nats.
        gain: Mean log loss of uncalibrated probabilities less ``loss``.
        standard_error: Of the gain, over groups of rows.
    """

    method: Method
    loss: float
    gain: float
    standard_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was chosen and why.

    Attributes:
        method: Of ``step``.
        step: Fitted on all rows; None for none.
        rows: It was fitted and judged on.
        reason: In words.
        candidates: Those that were compared.
    """

    method: Method
    step: Step | None
    rows: int
    reason: str
    candidates: tuple[Candidate, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        judged = [
            {"method": c.method, "loss": c.loss, "gain": c.gain, "standard_error": c.standard_error}
            for c in self.candidates
        ]
        return {
            "method": self.method,
            "rows": self.rows,
            "reason": self.reason,
            "parameters": self.step.as_json() if self.step else None,
            "candidates": judged,
        }


def calibrate(
    probabilities: FloatArray,
    true_ids: IdArray,
    groups: IdArray,
    *,
    method: Method | Literal["auto"] = "auto",
    seed: int = 0,
) -> Calibration:
    """Return the calibration that these held-out rows support.

    Args:
        probabilities: float [n, C], of rows that the classifier was not fitted on; n may be 0.
        true_ids: int [n], values 0..C-1.
        groups: int [n], the same number for near-duplicates: they are never in two folds.
        method: One by name, or "auto" to have it chosen.
        seed: Of the folds.
    """
    rows = len(true_ids)
    if method == "none" or (method != "auto" and not rows):
        return Calibration(method="none", step=None, rows=rows, reason="as asked for" if rows else "no validation rows")
    if method != "auto":
        step = _FITS[method](probabilities, true_ids)
        return Calibration(method=method, step=step, rows=rows, reason="as asked for")
    if rows < (fewest := FEWEST_ROWS["temperature"]) or len(np.unique(groups)) < FOLDS:
        return Calibration(method="none", step=None, rows=rows, reason=f"fewer than {fewest} validation rows")
    losses = _held_out_losses(probabilities, true_ids, _folds(groups, seed))
    chosen = _choose(losses, groups)
    reason = f"the simplest within one standard error of the best log loss in {FOLDS}-fold cross-validation"
    return Calibration(
        method=chosen,
        step=None if chosen == "none" else _FITS[chosen](probabilities, true_ids),
        rows=rows,
        reason=reason,
        candidates=tuple(_candidate(name, losses, groups) for name in losses),
    )


def fit_temperature(probabilities: FloatArray, true_ids: IdArray) -> Scaling:
    """Return ln p divided by the temperature of least log loss on these rows.

    Args:
        probabilities: float [n, C], n >= 1.
        true_ids: int [n].
    """
    return _fit_scaling(probabilities, true_ids, per_class=False)


def fit_vector(probabilities: FloatArray, true_ids: IdArray) -> Scaling:
    """Return a scale and a shift per class, drawn towards one temperature where a class has few rows.

    Args:
        probabilities: float [n, C], n >= 1.
        true_ids: int [n].
    """
    return _fit_scaling(probabilities, true_ids, per_class=True)


def fit_isotonic(probabilities: FloatArray, true_ids: IdArray) -> Curves:
    """Return a rising curve per class, by least squares (pool adjacent violators, scikit-learn's).

    Args:
        probabilities: float [n, C], n >= 1.
        true_ids: int [n].
    """
    classes = probabilities.shape[1]
    columns = [1] if classes == 2 else list(range(classes))
    return Curves(curves=tuple(_curve(probabilities[:, column], true_ids == column) for column in columns))


_FITS: Mapping[Method, Callable[[FloatArray, IdArray], Step]] = {
    "temperature": fit_temperature,
    "vector": fit_vector,
    "isotonic": fit_isotonic,
}


def _fit_scaling(probabilities: FloatArray, true_ids: IdArray, *, per_class: bool) -> Scaling:
    from scipy.optimize import minimize

    logs, targets = log_probabilities(probabilities), _targets(probabilities, true_ids)
    classes = logs.shape[1]

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        """Summed loss of the rows and of leaving one temperature, with its gradient."""
        scale = np.exp(theta[0] + theta[1 : 1 + classes]) if per_class else np.full(classes, np.exp(theta[0]))
        scores = logs * scale + (theta[1 + classes :] if per_class else 0.0)
        fitted = softmax(scores)
        away = fitted - targets
        by_class = (away * logs).sum(axis=0) * scale
        total = -float((targets * log_probabilities(fitted)).sum())
        if not per_class:
            return total, np.array([by_class.sum()])
        total += 0.5 * float((theta[1:] ** 2).sum()) / _SPREAD**2
        inner = np.concatenate([by_class, away.sum(axis=0)]) + theta[1:] / _SPREAD**2
        return total, np.concatenate([[by_class.sum()], inner])

    start = np.zeros(1 + 2 * classes if per_class else 1)
    bounds = [(-_LARGEST_LOG, _LARGEST_LOG), *[(-3 * _SPREAD, 3 * _SPREAD)] * (len(start) - 1)]
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    scale = np.exp(theta[0] + theta[1 : 1 + classes]) if per_class else np.full(classes, np.exp(theta[0]))
    shift = theta[1 + classes :] if per_class else np.zeros(classes)
    return Scaling(scale=tuple(scale.tolist()), shift=tuple(shift.tolist()))


def _targets(probabilities: FloatArray, true_ids: IdArray) -> FloatArray:
    """Return [n, C] targets: the true class, less 1 / (n + 2) for the likeliest other one.

    n rows that are all right do not show that the next one will be: without this the temperature would fall to 0. It
    is Laplace's rule, as in Platt (1999).
    """
    rows = len(true_ids)
    every, doubt = np.arange(rows), 1 / (rows + 2)
    others = probabilities.copy()
    others[every, true_ids] = -1.0
    targets = np.zeros_like(probabilities)
    targets[every, true_ids] = 1 - doubt
    targets[every, others.argmax(axis=1)] = doubt
    return targets


def _curve(column: FloatArray, is_class: np.ndarray[Any, np.dtype[np.bool_]]) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    # Platt's targets again: no piece of the curve may say 0 or 1 after seeing a finite number of rows.
    yes, no = int(is_class.sum()), int((~is_class).sum())
    wanted = np.where(is_class, (yes + 1) / (yes + 2), 1 / (no + 2))
    fitted = IsotonicRegression(out_of_bounds="clip").fit(column, wanted)
    at = np.concatenate([[0.0], np.clip(fitted.X_thresholds_, 0, 1), [1.0]])
    value = np.concatenate([fitted.y_thresholds_[:1], fitted.y_thresholds_, fitted.y_thresholds_[-1:]])
    inner = np.concatenate([[True], (at[1:-1] > 0) & (at[1:-1] < 1), [True]])
    at, value = at[inner], value[inner]
    return Curve(at=tuple(at.tolist()), value=tuple(((1 - _SLOPE) * value + _SLOPE * at).tolist()))


def _folds(groups: IdArray, seed: int) -> IdArray:
    """Return [n] the fold of each row: whole groups, shuffled, in turn."""
    names, numbers = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(names))[numbers] % FOLDS


def _held_out_losses(probabilities: FloatArray, true_ids: IdArray, folds: IdArray) -> dict[Method, FloatArray]:
    """Return method -> [n] log loss of each row by a fit on the other folds."""
    losses: dict[Method, FloatArray] = {"none": _row_losses(probabilities, true_ids)}
    for method, fit in _FITS.items():
        if len(true_ids) < FEWEST_ROWS[method]:
            continue
        losses[method] = np.empty(len(true_ids))
        for fold in range(FOLDS):
            out = folds == fold
            fitted = fit(probabilities[~out], true_ids[~out])
            losses[method][out] = _row_losses(fitted(probabilities[out]), true_ids[out])
    return losses


def _row_losses(probabilities: FloatArray, true_ids: IdArray) -> FloatArray:
    of_truth = probabilities[np.arange(len(true_ids)), true_ids]
    return np.asarray(-np.log(np.clip(of_truth, _SMALLEST, 1.0)))


def _choose(losses: Mapping[Method, FloatArray], groups: IdArray) -> Method:
    """Return the simplest method whose loss is within one standard error of the least."""
    best = min(losses, key=lambda name: float(losses[name].mean()))
    for name, of_rows in losses.items():
        behind = of_rows - losses[best]
        if behind.mean() <= _standard_error(behind, groups):
            return name
    return best


def _candidate(name: Method, losses: Mapping[Method, FloatArray], groups: IdArray) -> Candidate:
    gains = losses["none"] - losses[name]
    error = _standard_error(gains, groups)
    return Candidate(method=name, loss=float(losses[name].mean()), gain=float(gains.mean()), standard_error=error)


def _standard_error(values: FloatArray, groups: IdArray) -> float:
    """Return the standard error of the mean of values that differ by group, alike within one."""
    numbers = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(numbers, weights=values - values.mean())
    count = len(sums)
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values)) if count > 1 else 0.0
