"""The features of texts that begin alike, with that computed once and with every text computed whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Backbone, Wanted
from tailtune.text.tokenizer import Tokens

Arrays = dict[int, list[NDArray[np.float32]]]


def beginning_alike(shared: int, lengths: Sequence[int], *, vocabulary: int = 97, seed: int = 0) -> Tokens:
    """Return random texts that share their first ``shared`` tokens and go on for ``lengths``."""
    random = np.random.default_rng(seed)
    start = random.integers(2, vocabulary, shared)
    texts = [np.concatenate((start, random.integers(2, vocabulary, length))) for length in lengths]
    counts = np.array([len(text) for text in texts])
    offsets = np.concatenate(([0], np.cumsum(counts)))
    ids = np.concatenate(texts).astype(np.int32)
    return Tokens(ids=ids, offsets=offsets, full_lengths=counts, shared=shared)


def features_of(backbone: Backbone, tokens: Tokens, wanted: Wanted, *, token_budget: int = 40) -> Arrays:
    """Return text -> its pooled vectors and its token states, each wanted depth in turn."""
    found: Arrays = {}
    for piece in backbone.run(tokens, wanted, token_budget=token_budget):
        ends = np.cumsum(tokens.lengths[piece.batch.texts])
        for place, (text, end) in enumerate(zip(piece.batch.texts.tolist(), ends.tolist(), strict=True)):
            start = end - int(tokens.lengths[text])
            pooled = [piece.pooled[depth][place] for depth in wanted.pooled]
            found[text] = [*pooled, *(piece.states[depth][start:end] for depth in wanted.states)]
    return found


def largest_difference(backbone: Backbone, tokens: Tokens, wanted: Wanted) -> float:
    """Return how far apart both ways are, relative to the largest value."""
    once, whole = (features_of(backbone, each, wanted) for each in (tokens, replace(tokens, shared=0)))
    assert once.keys() == whole.keys()
    pairs = [pair for text in whole for pair in zip(once[text], whole[text], strict=True)]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
