"""How probabilities of many classes rank the rows: each class against all others, all together, and their means.

Plain numpy, no models, no texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tailtune.evaluate.curves import between, binary_ranking, placements
from tailtune.evaluate.metrics import FloatArray, IdArray

# Rows x classes above which only the means are computed: 1,115 rows of 150 classes are 2e5.
MOST_CELLS = 3e6
# Draws of the bootstrap, and rows x classes x draws above which it is left out: these take about half a second.
_DRAWS = 60
_MOST_DRAWN = 2e7
_Z = 1.959963984540054


def ranking(true_ids: IdArray, probabilities: FloatArray) -> dict[str, Any]:
    """Return how well probabilities rank the rows: curves and areas for two classes, see ``rank_classes`` for more.

    Args:
        true_ids: int [n], values 0..C-1.
        probabilities: float [n, C].

    Returns:
        For two classes ``positive`` (the id of the rarer one), ``auroc`` and ``average_precision`` with their intervals
        and the points of both curves. Empty where a class has no row to be told from.
    """
    if probabilities.shape[1] != 2:
        return rank_classes(true_ids, probabilities)
    counts = np.bincount(true_ids, minlength=2)
    positive = int(np.argmin(counts)) if counts[0] != counts[1] else 1
    if counts.min() == 0:
        return {}
    return {"positive": positive, **binary_ranking(true_ids == positive, probabilities[:, positive])}


def rank_classes(true_ids: IdArray, probabilities: FloatArray) -> dict[str, Any]:
    """Return how well the probabilities rank, by class; empty where no class has both rows of it and others.

    Args:
        true_ids: int [n], values 0..C-1.
        probabilities: float [n, C], C > 2.

    Returns:
        ``auroc`` and ``average_precision``, unweighted means over the classes that have rows, with their intervals;
        ``classes``, how many these are; ``per_class``: each one's id, rows and areas with intervals; ``micro``: all
        pairs of row and class ranked together, and ``worst``: the class of the least average precision, both with
        their curves. The last three only up to MOST_CELLS.
    """
    counts = np.bincount(true_ids, minlength=probabilities.shape[1])
    kept = [label for label in np.flatnonzero(counts).tolist() if counts[label] < len(true_ids)]
    if not kept:
        return {}
    found = {label: binary_ranking(true_ids == label, probabilities[:, label]) for label in kept}
    macro = {name: float(np.mean([each[name] for each in found.values()])) for name in ("auroc", "average_precision")}
    macro["classes"] = len(kept)
    if probabilities.size > MOST_CELLS:
        return macro
    areas = ("auroc", "auroc_interval", "average_precision", "average_precision_interval")
    per_class = [
        {"class": label, "rows": int(counts[label]), **{name: each[name] for name in areas}}
        for label, each in found.items()
    ]
    worst = min(kept, key=lambda label: found[label]["average_precision"])
    cells = np.zeros(probabilities.shape, dtype=np.bool_)
    cells[np.arange(len(true_ids)), true_ids] = True
    return {
        **macro,
        "auroc_interval": _macro_auroc_interval(true_ids, probabilities, kept, macro["auroc"]),
        "average_precision_interval": _macro_precision_interval(
            true_ids, probabilities, kept, macro["average_precision"]
        ),
        "per_class": per_class,
        "micro": binary_ranking(cells.ravel(), probabilities.ravel()),
        "worst": {"class": worst, **found[worst]},
    }


def _macro_auroc_interval(
    true_ids: IdArray, probabilities: FloatArray, kept: list[int], area: float
) -> list[float] | None:
    """The 95 % interval of the mean area, on the logit scale; None where nothing varies.

    DeLong's variance for several areas of the same rows: what one row adds to each class's area is summed before it is
    squared, for the areas are not independent.
    """
    influence = np.zeros(len(true_ids))
    for label in kept:
        positive = true_ids == label
        below, above = placements(positive, probabilities[:, label])
        if min(len(below), len(above)) < 2:
            return None
        for rows, placed in ((np.flatnonzero(positive), below), (np.flatnonzero(~positive), above)):
            ascending = rows[np.argsort(probabilities[rows, label])]  # as placements has them
            influence[ascending] += (placed - placed.mean()) / len(placed) / len(kept)
    deviation = float(np.sqrt(np.square(influence).sum()))
    return between(area, _Z * deviation / (area * (1 - area))) if 0 < area < 1 and deviation else None


def _macro_precision_interval(
    true_ids: IdArray, probabilities: FloatArray, kept: list[int], mean: float
) -> list[float] | None:
    """The roughly 95 % interval of the mean average precision, from its spread over draws of as many rows.

    Drawn with replacement within classes, so that none is ever without a row; around the mean itself on the logit
    scale, for draws repeat rows and so rank too well: their percentiles held the truth in 87 to 93 of 100.
    """
    if len(true_ids) * len(kept) * _DRAWS > _MOST_DRAWN:
        return None
    random, weights = np.random.default_rng(0), np.zeros((_DRAWS, len(true_ids)))
    for label in np.unique(true_ids):
        rows = np.flatnonzero(true_ids == label)
        weights[:, rows] = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=_DRAWS)
    total = np.zeros(_DRAWS)
    for label in kept:
        order = np.argsort(-probabilities[:, label], kind="stable")
        ends = np.flatnonzero(np.append(np.diff(probabilities[order, label]) != 0, True))
        drawn = weights[:, order]
        above = np.cumsum(drawn, axis=1)[:, ends]
        hits = np.cumsum(drawn * (true_ids[order] == label), axis=1)[:, ends]
        precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
        total += (np.diff(hits, prepend=0.0, axis=1) * precision).sum(axis=1) / hits[:, -1]
    deviation = float((total / len(kept)).std(ddof=1))
    return between(mean, _Z * deviation / (mean * (1 - mean))) if 0 < mean < 1 and deviation else None
