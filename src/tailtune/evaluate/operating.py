"""What every threshold would have done to rows whose labels are known, as counts: any share can be made of them.

Plain numpy, no models, no texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.metrics import FloatArray, IdArray

# Points of one class, and of all classes together but at least so many of each: 77 classes take 150 KB.
MOST_POINTS, _ALL_POINTS, _FEWEST = 200, 3000, 24


def operating_curves(there: NDArray[np.bool_], probabilities: FloatArray) -> dict[str, Any]:
    """Return for each class, told from all others, how many rows each threshold would have called right and wrong.

    Args:
        there: bool [n, C], which rows are of which class.
        probabilities: float [n, C].

    Returns:
        ``rows``: n; ``classes``: one mapping for each class that some rows have and some do not: ``class`` (its id),
        ``positives``, and the points, highest threshold first: ``threshold``, with ``true`` and ``false``, the rows of
        the class and of others whose probability is at least so high. Empty for no row.
    """
    rows, classes = there.shape
    if not rows:
        return {}
    most = max(_FEWEST, min(MOST_POINTS, _ALL_POINTS // classes))
    counts = there.sum(axis=0)
    kept = np.flatnonzero((counts > 0) & (counts < rows)).tolist()
    return {
        "rows": rows,
        "classes": [
            {"class": at, "positives": int(counts[at]), **_points(there[:, at], probabilities[:, at], most)}
            for at in kept
        ],
    }


def one_of(true_ids: IdArray, classes: int) -> NDArray[np.bool_]:
    """Return bool [n, C], which rows are of which class, of one class each.

    Args:
        true_ids: int [n], values 0..C-1.
        classes: C.
    """
    return np.asarray(true_ids[:, None] == np.arange(classes))


def _points(positive: NDArray[np.bool_], scores: FloatArray, most: int) -> dict[str, list[Any]]:
    """At most ``most`` thresholds, evenly spaced along what they change, the first and the last among them.

    Of the false ones the square root counts: the first few are what a threshold is chosen by.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    true = np.cumsum(positive[order])[ends]
    false = ends + 1 - true
    shares = true / true[-1], np.sqrt(false / false[-1])
    along = np.append(0.0, np.cumsum(sum(np.diff(share) for share in shares)))
    kept = np.unique(np.append(np.searchsorted(along, np.linspace(0, along[-1], most - 1)), len(ends) - 1))
    return {
        "threshold": scores[order][ends][kept].tolist(),
        "true": true[kept].tolist(),
        "false": false[kept].tolist(),
    }
