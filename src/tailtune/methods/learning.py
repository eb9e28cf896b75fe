"""The learning curve of a probe: what it would score with fewer labelled rows, so whether more would help.

The chosen probe is fitted again on nested parts of the training rows, from features that are stored already, and judged
on the validation part. The test part is not touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.curves import mean_interval
from tailtune.evaluate.intervals import wilson
from tailtune.features.backbone import Floats
from tailtune.features.store import Features, Indices
from tailtune.methods.linear import Doubles, fit_linear
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import ProbeScorer, pool, score_features

# Shares of the training rows, descending: each part holds the next one.
SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
# Rows x features x classes of a part, all depths together. Parts with more are left out rather than waited for: half of
# 3,902 messages at seven depths are 1.6e7 and take 0.33 s, all four parts 0.85 s. Of many classes none may be left;
# then the probe at the cut alone is fitted, on parts that take at most so much together, each half of the next.
MOST_WORK = 4e7
MOST_WORK_AT_CUT = 8e7
# Fewer rows than this, or than two per class, say nothing.
FEWEST = 16
_Z = 1.96


def learning_curve(features: Features, rows: Rows, scorer: ProbeScorer, *, penalty: float) -> dict[str, Any] | None:
    """Return the curve for metrics.json, fewest rows first and all training rows last; None where there is none.

    Args:
        features: Hold the depths that ``scorer`` reads.
        rows: Training and validation rows.
        scorer: The chosen probe, fitted on all training rows.
        penalty: Its inverse penalty.
    """
    if not len(rows.validation):
        return None
    order = nested(rows)
    width = scorer.weight.shape[2] * len(scorer.depths) * (1 if rows.classes == 2 else rows.classes)
    sizes = sorted({round(share * len(order)) for share in SHARES})
    sizes = [size for size in sizes if max(FEWEST, 2 * rows.classes) <= size and size * width <= MOST_WORK]
    sizes = [size for size in sizes if len(np.unique(rows.labels[order[:size]], axis=0)) > 1]
    if not sizes:
        return _at_cut(features, rows, scorer, order, penalty=penalty)
    scores = [_refit(features, rows, scorer, order[:size], penalty=penalty) for size in sizes]
    scores.append(score_features(scorer, features, rows.validation))
    return _curve(rows, [*sizes, len(order)], scores)


def _curve(rows: Rows, sizes: Sequence[int], scores: Sequence[Floats]) -> dict[str, Any]:
    """Points and last step of the scores [validation rows, C] that were reached with so many training rows."""
    truth = rows.labels[rows.validation]
    judged = [rows.task.judge(each.astype(np.float64), truth) for each in scores]
    points = [_point(size, *each) for size, each in zip(sizes, judged, strict=True)]
    return {"points": points, "last_step": _step(judged[-2][0], judged[-1][0])}


def _at_cut(
    features: Features, rows: Rows, scorer: ProbeScorer, order: Indices, *, penalty: float
) -> dict[str, Any] | None:
    """The curve of one depth alone, up to as many rows as are worth waiting for; None for less than two parts."""
    width = scorer.weight.shape[2] * (1 if rows.classes == 2 else rows.classes)
    largest = min(len(order), int(MOST_WORK_AT_CUT / 2 / width))
    sizes = [round(largest * share) for share in (1 / 8, 1 / 4, 1 / 2, 1)]
    sizes = [size for size in sizes if max(FEWEST, 2 * rows.classes) <= size]
    if len(sizes) < 2:
        return None
    single = dataclasses.replace(scorer, depths=scorer.depths[-1:])
    scores = [_refit(features, rows, single, order[:size], penalty=penalty) for size in sizes]
    return {**_curve(rows, sizes, scores), "depth": scorer.depths[-1]}


def nested(rows: Rows) -> Indices:
    """Return the training rows in an order whose every beginning holds the classes in about their shares."""
    random = np.random.default_rng(0)
    shuffled = random.permutation(rows.train)
    labels = rows.task.strata(rows.labels[shuffled])
    places = np.empty(len(shuffled))
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        places[of_label] = (np.arange(len(of_label)) + 0.5) / len(of_label)
    ordered: Indices = shuffled[np.argsort(places, kind="stable")]
    return ordered


def _refit(features: Features, rows: Rows, scorer: ProbeScorer, learn: Indices, *, penalty: float) -> Floats:
    """Scores [validation, C] of the same probe fitted on ``learn`` alone."""
    scores = []
    for depth in scorer.depths:
        vectors = pool(features.pooled(depth), scorer.pooling)
        windows, labels, shares = rows.lessons(features.windows, learn)
        linear = fit_linear(
            vectors[windows], labels, penalty=penalty, classes=rows.classes, weights=rows.weights, shares=shares
        )
        scores.append(linear.scores(vectors[features.windows.of(rows.validation)]))
    return features.windows.merged(np.mean(scores, axis=0, dtype=np.float32), rows.validation)


def _point(size: int, losses: Doubles, correct: NDArray[np.bool_]) -> dict[str, Any]:
    hits = int(np.count_nonzero(correct))
    return {
        "rows": size,
        "accuracy": hits / len(losses),
        "interval": list(wilson(hits, len(losses))),
        "log_loss": float(losses.mean()),
        "log_loss_interval": mean_interval(losses),
    }


def _step(before: Doubles, after: Doubles) -> dict[str, Any] | None:
    """What the last enlargement gained in log loss, row by row, with its 95 % interval."""
    gains = before - after
    if len(gains) < 2:
        return None
    half = _Z * float(gains.std(ddof=1)) / np.sqrt(len(gains))
    return {"gain": float(gains.mean()), "interval": [float(gains.mean() - half), float(gains.mean() + half)]}
