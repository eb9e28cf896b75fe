"""Which rows of a pool to label next, from the probabilities that a classifier gives them and from their vectors.

Pure functions of arrays. Knows nothing about texts, files or models.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError

By = Literal["uncertainty", "margin", "entropy", "diversity", "both"]
Measure = Literal["uncertainty", "margin", "entropy"]
Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# ``both`` looks at so many times the rows that are asked for, the most uncertain ones. Of 4, 5, 10 and 20 times ten was
# the best or near it on SMS and SNIPS (docs/log.md).
OVER = 10
# Clusters are found on at most so many rows each: their centres are means, which more rows hardly move.
_ROWS_PER_CLUSTER = 64
_STEPS = 30
# More clusters than this are not made for what is labelled already: they would take longer than they are worth.
_MOST_CLUSTERS = 512


def uncertainty(probabilities: Doubles, measure: Measure = "margin", *, several: bool = False) -> Doubles:
    """Return [rows] how uncertain the answer to each is: 0 for certain, higher is less certain, at most 1.

    Args:
        probabilities: [rows, C].
        measure: ``uncertainty``: 1 - the largest probability; ``margin``: 1 - what it is ahead of the second;
            ``entropy``: over the logarithm of C.
        several: Whether a text can have any number of labels: then the mean binary entropy, whatever the measure.
    """
    if several:
        return np.asarray(_surprise(np.stack((probabilities, 1 - probabilities))).sum(axis=0).mean(axis=1) / np.log(2))
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    if measure == "entropy":
        return np.asarray(_surprise(probabilities).sum(axis=1) / np.log(probabilities.shape[1]))
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return np.asarray(1 - first if measure == "uncertainty" else 1 - (first - second))


def _surprise(probabilities: Doubles) -> Doubles:
    return np.asarray(-probabilities * np.log(np.maximum(probabilities, 1e-300)))


def directions(vectors: Floats) -> Floats:
    """Return [rows, F], standardised over the rows and of length 1: near for texts that are alike."""
    spread = vectors.std(axis=0)
    placed = (vectors - vectors.mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)
    lengths = np.linalg.norm(placed, axis=1, keepdims=True)
    return np.asarray(placed / np.maximum(lengths, 1e-9), dtype=np.float32)


def choose(
    by: By, count: int, *, vectors: Floats, uncertain: Doubles | None, seed: int, known: Floats | None = None
) -> Indices:
    """Return at most ``count`` different rows, the first to label first.

    Args:
        by: ``diversity``: see ``middles``; ``both``: see ``spread_out``; the others take the most uncertain rows.
        count: At least 1.
        vectors: [rows, F], see ``directions``.
        uncertain: [rows] see ``uncertainty``; None where no classifier is there yet, for ``diversity`` alone.
        seed: Of the clusters.
        known: [n, F] vectors of what is labelled already, for ``diversity``; None for nothing.

    Raises:
        ConfigError: If ``by`` needs a classifier and there is none.
    """
    if by == "diversity":
        return middles(vectors, count, known=vectors[:0] if known is None else known, seed=seed)
    if uncertain is None:
        raise ConfigError(f"--by {by}: nothing knows any label yet", hint="give a run or bundle, or --by diversity")
    return spread_out(vectors, uncertain, count, seed=seed) if by == "both" else most(uncertain, count)


def most(uncertain: Doubles, count: int) -> Indices:
    """Return the ``count`` most uncertain rows, the most uncertain first; of equals the first."""
    return np.argsort(-uncertain, kind="stable")[:count]


def middles(vectors: Floats, count: int, *, known: Floats, seed: int) -> Indices:
    """Return the row nearest to the centre of each cluster that nothing labelled is in, the largest cluster first.

    There are ``count`` clusters more than labelled rows, so that about ``count`` are without one; where fewer are, the
    others follow. Texts in the middle of many others teach more than far-off ones: k-centre greedy, which takes the
    farthest, chose odd messages and lost to a random draw on SMS by 2.2 points (docs/log.md; for images arXiv
    2202.02794).

    Args:
        vectors: [rows, F].
        count: At least 1.
        known: [n, F] of what is labelled already, perhaps none.
        seed: Of the clusters.
    """
    clusters = min(count + len(known), max(count, _MOST_CLUSTERS))
    cluster, away = _clustered(np.concatenate((vectors, known)), clusters, seed=seed)
    covered, cluster, away = cluster[len(vectors) :], cluster[: len(vectors)], away[: len(vectors)]
    order = np.lexsort((away, cluster))
    found, first, sizes = np.unique(cluster[order], return_index=True, return_counts=True)
    return order[first][np.lexsort((found, -sizes, np.isin(found, covered)))][:count]


def spread_out(vectors: Floats, uncertain: Doubles, count: int, *, seed: int) -> Indices:
    """Return ``count`` uncertain rows that are unlike each other, the most uncertain first.

    The ``OVER`` x ``count`` most uncertain rows are clustered, each weighing as much as it is uncertain, and the most
    uncertain one of each cluster is taken. One batch of the most uncertain alone asks the same question many times.
    """
    doubtful = most(uncertain, OVER * count)
    cluster, _ = _clustered(vectors[doubtful], count, seed=seed, weights=uncertain[doubtful] + 1e-9)
    # ``doubtful`` is sorted: the first row of a cluster is its most uncertain one.
    _, first = np.unique(cluster, return_index=True)
    rest = np.setdiff1d(np.arange(len(doubtful)), first)[: max(0, count - len(first))]
    return doubtful[np.sort(np.concatenate((first, rest)))]


def _clustered(vectors: Floats, count: int, *, seed: int, weights: Doubles | None = None) -> tuple[Indices, Floats]:
    """[rows] the cluster of each row, and [rows] its distance from the centre of it."""
    from sklearn.cluster import KMeans

    if len(vectors) <= count:
        return np.arange(len(vectors)), np.zeros(len(vectors), dtype=np.float32)
    used = np.sort(np.random.default_rng(seed).permutation(len(vectors))[: _ROWS_PER_CLUSTER * count])
    # Different texts can look the same; fewer looks than clusters would be warned of.
    clusters = min(count, len(np.unique(vectors[used], axis=0)))
    means = KMeans(n_clusters=clusters, n_init=1, max_iter=_STEPS, random_state=seed)
    means.fit(vectors[used], sample_weight=None if weights is None else weights[used])
    distances: Floats = means.transform(vectors).astype(np.float32)
    cluster = distances.argmin(axis=1)
    return cluster, distances[np.arange(len(vectors)), cluster]
