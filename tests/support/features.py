"""Features for tests: made of given arrays, or computed by a tiny model into a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.texts import backbone, random_tokens
from tailtune.features.backbone import Floats, Wanted
from tailtune.features.segments import KEY, Segment
from tailtune.features.store import Features, FeatureStore, Places
from tailtune.methods.probe import Rows
from tailtune.text.tokenizer import Tokens

Indices = NDArray[np.int64]


def pooled_features(depths: Mapping[int, Floats]) -> Features:
    """Return features whose last states at each depth are the given [texts, D]; the mean states are their negatives."""
    texts = len(next(iter(depths.values())))
    # Big-endian numbers ascend as bytes, as distinct keys must.
    keys = np.frombuffer(b"".join(number.to_bytes(16, "big") for number in range(texts)), dtype=KEY)
    pooled = {depth: np.stack((last, -last), axis=1).astype(np.float32) for depth, last in depths.items()}
    starts = np.arange(texts + 1, dtype=np.int64)
    places = Places(keys, Wanted(pooled=tuple(depths)))
    places.add(Segment(folder=Path("none"), keys=keys, starts=starts, pooled=pooled, states={}))
    return Features(places, np.arange(texts), np.ones(texts, dtype=np.int64))


def model_features(model: Path, root: Path, tokens: Tokens, wanted: Wanted) -> Features:
    """Return what the model in the folder ``model`` gives for ``tokens``, through a store under ``root``."""
    return FeatureStore(root, {"weights": str(model)}).features(backbone(model), tokens, wanted)


def rows_of(
    labels: Sequence[int] | Indices, *, train: int, validation: int, weights: NDArray[np.float64] | None = None
) -> Rows:
    """Return the first ``train`` rows to learn from and the next ``validation`` to choose by, each its own group."""
    ids = np.asarray(labels, dtype=np.int64)
    return Rows(
        train=np.arange(train),
        validation=np.arange(train, train + validation),
        labels=ids,
        groups=np.arange(len(ids)),
        classes=int(ids.max()) + 1,
        weights=weights,
    )


def first_token_task(count: int) -> tuple[Tokens, Indices]:
    """Return texts of several lengths that all end in the same token, and their classes, told by the first token."""
    random = np.random.default_rng(11)
    lengths = random.integers(3, 9, count)
    tokens = random_tokens(lengths.tolist(), seed=5)
    labels = np.arange(count, dtype=np.int64) % 2
    tokens.ids[tokens.offsets[:-1]] = np.where(labels == 1, 7, 200)
    tokens.ids[tokens.offsets[1:] - 1] = 3
    return tokens, labels
