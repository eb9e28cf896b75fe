"""How far scores of several labels per row can be trusted: the bootstrap over groups of rows.

Groups of near-duplicates are drawn whole, as many as there are, with replacement; the 95 % interval lies between the
percentiles of what the draws score. Means over labels, rare ones among them, are corrected for bias (BC, Efron 1981):
a row drawn twice flatters a label that few rows have. In 150 simulated sets of 1,000 rows, with labels on 5 to 300 of
them, the interval of the mean average precision held the truth in 90 % so and in 83 % without, that of macro F1 in 87
and 86 %.

Knows nothing about models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from tailtune.evaluate.intervals import wilson
from tailtune.evaluate.label_metrics import Bools, label_counts, ratio, row_scores, score_labels
from tailtune.evaluate.metrics import FloatArray, IdArray

DRAWS = 1000
# Draws x rows of one label that are held at once, and in all: a curve per draw takes rows times draws steps.
_AT_ONCE = 4_000_000
_CURVE_WORK = 20_000_000
_FEWEST_DRAWS = 200
_Z = 1.959963984540054
_ENDS = ([0.0, 0.0], [1.0, 1.0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """How often each group is in each draw: the same draws for every score, so that differences are paired.

    Attributes:
        weights: float [draws, groups].
        groups: int [n], the group of each row, from 0 without gaps.
    """

    weights: FloatArray
    groups: IdArray

    @classmethod
    def of(cls, groups: IdArray, *, seed: int, draws: int = DRAWS) -> Draws:
        """Return the draws for rows in these ``groups``, int [n] of any values, n >= 1."""
        names, numbers = np.unique(groups, return_inverse=True)
        random, count = np.random.default_rng(seed), len(names)
        weights = np.empty((draws, count))
        for draw in range(draws):
            weights[draw] = np.bincount(random.integers(0, count, count), minlength=count)
        return cls(weights=weights, groups=numbers)

    def sums(self, rows: FloatArray) -> FloatArray:
        """Return float [draws, ...], the sum over the rows of each draw of what ``rows`` [n, ...] hold."""
        of_group = np.zeros((self.weights.shape[1], *rows.shape[1:]))
        np.add.at(of_group, self.groups, rows)
        return np.asarray(self.weights @ of_group)


def scored_labels(
    truth: IdArray, probabilities: FloatArray, given: Bools, names: Sequence[str], draws: Draws
) -> dict[str, Any]:
    """Return ``score_labels``, each score with its interval beside it, as ``micro_f1_interval`` and so on."""
    scores = score_labels(truth, probabilities, given, names)
    intervals = label_intervals(truth, probabilities, given, names, draws)
    for name, bounds in intervals.pop("per_label").items():
        scores["per_label"][name] |= {f"{key}_interval": interval for key, interval in bounds.items()}
    return scores | {f"{key}_interval": interval for key, interval in intervals.items()}


def label_intervals(
    truth: IdArray, probabilities: FloatArray, given: Bools, names: Sequence[str], draws: Draws
) -> dict[str, Any]:
    """Return the 95 % interval of each score of ``score_labels``, by its name, and ``per_label`` those of each label.

    Those of rare labels are rough: a label that three rows have is missing in one draw of twenty. Draws of answers
    without an error hold none either: shares and F1 then get Wilson's interval, means over labels None.

    Args:
        truth: 0/1 [n, L], n >= 1.
        probabilities: float [n, L].
        given: bool [n, L].
        names: L names.
        draws: Of the rows.
    """
    hits, called, support = map(draws.sums, label_counts(truth, given))
    f1 = ratio(2 * hits, called + support)
    size = draws.sums(np.ones(len(truth)))
    whole, wrong, losses = (draws.sums(each) / size for each in row_scores(truth, probabilities, given))
    areas = _drawn_average_precisions(truth, probabilities, draws)
    either, others = called + support - hits, size[:, None] - support
    shares = {
        "precision": (hits, called),
        "recall": (hits, support),
        "false_positives": (called - hits, others),
    }
    own = score_labels(truth, probabilities, given, names)
    with np.errstate(invalid="ignore"):
        mean_area = np.nansum(areas, axis=1) / (~np.isnan(areas)).sum(axis=1)
    return {
        "micro_f1": _f1_bounds(hits.sum(axis=1), either.sum(axis=1)),
        "macro_f1": _corrected(f1.mean(axis=1), own["macro_f1"]),
        "mean_average_precision": _corrected(mean_area, own["mean_average_precision"]),
        "subset_accuracy": _or_wilson(whole, size),
        "hamming_loss": _or_wilson(wrong, size),
        "log_loss": _interval(losses),
        "per_label": {
            name: {
                **{key: _or_wilson(ratio(part[:, at], of[:, at]), of[:, at]) for key, (part, of) in shares.items()},
                "f1": _f1_bounds(hits[:, at], either[:, at]),
                "average_precision": _corrected(areas[:, at], own["per_label"][name]["average_precision"]),
            }
            for at, name in enumerate(names)
        },
    }


def micro_f1_draws(truth: IdArray, given: Bools, draws: Draws) -> FloatArray:
    """Return float [draws], the micro F1 of each draw."""
    return _micro_f1(*map(draws.sums, label_counts(truth, given)))


def _micro_f1(hits: FloatArray, called: FloatArray, support: FloatArray) -> FloatArray:
    return ratio(2 * hits.sum(axis=1), called.sum(axis=1) + support.sum(axis=1))


def _interval(values: FloatArray) -> list[float] | None:
    known = values[~np.isnan(values)]
    return [float(bound) for bound in np.percentile(known, [2.5, 97.5])] if len(known) else None


def _corrected(values: FloatArray, measured: float | None) -> list[float] | None:
    """The interval corrected for bias, None where every draw says 0, or every draw 1, or nothing was measured."""
    known = values[~np.isnan(values)]
    if measured is None or not len(known) or _interval(known) in _ENDS:
        return None
    below = (np.mean(known < measured) + np.mean(known <= measured)) / 2
    normal, least = NormalDist(), 1 / (2 * len(known))
    shift = 2 * normal.inv_cdf(min(1 - least, max(least, float(below))))
    shares = [100 * normal.cdf(shift + side * _Z) for side in (-1, 1)]
    return [float(bound) for bound in np.percentile(known, shares)]


def _or_wilson(shares: FloatArray, of: FloatArray) -> list[float] | None:
    """The interval of a share, Wilson's where every draw says 0, or every draw 1."""
    bounds = _interval(shares)
    if bounds is None or bounds not in _ENDS or (count := round(float(of.mean()))) < 1:
        return bounds
    return list(wilson(count if bounds[0] else 0, count))


def _f1_bounds(right: FloatArray, either: FloatArray) -> list[float] | None:
    """The interval of F1 = 2 j / (1 + j), where j is the share of right ones among those given or there."""
    bounds = _or_wilson(ratio(right, either), either)
    return bounds and [2 * bound / (1 + bound) for bound in bounds]


def _drawn_average_precisions(truth: IdArray, probabilities: FloatArray, draws: Draws) -> FloatArray:
    """Float [draws, L], of fewer draws where there are many rows; NaN where a draw has no row with the label."""
    rows, count = truth.shape
    used = int(np.clip(_CURVE_WORK // rows, _FEWEST_DRAWS, len(draws.weights)))
    found = np.full((used, count), np.nan)
    at_once = max(1, _AT_ONCE // rows)
    for start in range(0, used, at_once):
        weights = draws.weights[start : min(used, start + at_once)][:, draws.groups]
        for at in range(count):
            found[start : start + len(weights), at] = _weighted(truth[:, at] == 1, probabilities[:, at], weights)
    return found


def _weighted(there: Bools, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Float [draws], the average precision of rows that count ``weights`` [draws, n] times."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    weights = weights[:, order]
    hits = np.cumsum(np.where(there[order], weights, 0.0), axis=1)[:, ends]
    ranked = np.cumsum(weights, axis=1)[:, ends]
    total = hits[:, -1]
    steps = np.diff(hits, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray((steps * ratio(hits, ranked)).sum(axis=1) / np.where(total > 0, total, np.nan))
