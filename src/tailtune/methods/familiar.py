"""Fitting what a classifier remembers of its training texts: class means and the spread around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tailtune.errors import DataError
from tailtune.features.backbone import Floats
from tailtune.features.store import Features
from tailtune.methods.probe import Rows
from tailtune.methods.scope import Doubles, Scope, directions
from tailtune.methods.scorers import pool

# A place among fewer held-out texts says too little: of 19 none is among the strangest 5 %.
FEWEST = 20
# Held-out texts whose strangeness is kept; more would not be told apart.
_REFERENCE = 2000
# Share of the spread that is taken to be alike in every direction. Ledoit and Wolf's estimate for 7,500 vectors of 150
# classes was 0.10 to 0.12, and 0.04 on their whole: it matters little.
_SHRINKAGE = 0.1


def fit_scope(features: Features, rows: Rows, depth: int) -> Scope:
    """Return the scope of the training rows, strangeness placed among that of the validation rows.

    Args:
        features: Hold pooled vectors at ``depth``.
        rows: Training rows to remember, validation rows to compare with.
        depth: Of the cut.

    Raises:
        DataError: If there are fewer than FEWEST validation rows.
    """
    require_rows(len(rows.validation))
    pooled = features.pooled(depth)
    vectors, labels = pool(pooled[rows.train], "last+mean"), rows.labels[rows.train]
    known = np.unique(labels)
    means = np.stack([vectors[labels == label].mean(axis=0, dtype=np.float64) for label in known])
    middle = means.mean(axis=0)
    weight = _whitening(vectors, means[np.searchsorted(known, labels)].astype(np.float32))
    scope = Scope(
        depth=depth,
        middle=middle.astype(np.float32),
        weight=weight.astype(np.float32),
        centres=directions((means - middle) @ weight).astype(np.float32),
        reference=np.zeros(1, dtype=np.float32),
    )
    held_out = np.sort(scope.strangeness(pooled[rows.validation]))
    kept = np.linspace(0, len(held_out) - 1, min(_REFERENCE, len(held_out))).round().astype(int)
    return replace(scope, reference=held_out[kept].astype(np.float32))


def require_rows(validation: int) -> None:
    """Refuse to compare with too few held-out rows.

    Raises:
        DataError: If there are fewer than FEWEST.
    """
    if validation < FEWEST:
        message = f"--out-of-scope compares with validation rows and needs at least {FEWEST}, got {validation}"
        raise DataError(message, hint="add rows, or leave --out-of-scope away")


def _whitening(vectors: Floats, means: Floats) -> Doubles:
    """[F, F] after which the spread of ``vectors`` [N, F] around ``means`` [N, F] is about 1 in every direction."""
    # Where nothing varies a fit has nothing to go by: the middle of the scales keeps such a direction small.
    scale = np.maximum(vectors.std(axis=0, dtype=np.float64), 1e-6)
    apart = ((vectors - means) / scale.astype(np.float32)).astype(np.float32)
    spread = (apart.T @ apart).astype(np.float64) / len(apart)
    width = len(spread)
    even = max(float(np.trace(spread)) / width, 1e-6)
    shrunk = (1 - _SHRINKAGE) * spread + _SHRINKAGE * even * np.eye(width)
    return np.asarray(np.linalg.cholesky(np.linalg.inv(shrunk)) / scale[:, None])
