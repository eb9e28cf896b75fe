"""Ragged texts to packed batches: tokens of several texts end to end, grouped by equal length, no pad computed.

Knows lengths only; ids and models are somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Which texts are packed, in which order.

    Attributes:
        texts: [N] indices of the texts, in packed order; equal lengths stand together.
        groups: (count, length) of each run of equally long texts; their products sum to the packed tokens T.
    """

    texts: Indices
    groups: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """Packed tokens T."""
        return sum(count * length for count, length in self.groups)

    def shifted(self, by: int) -> Batch:
        """Return the same texts, each ``by`` tokens longer, or shorter where that is below zero."""
        return replace(self, groups=tuple((count, length + by) for count, length in self.groups))

    def positions(self) -> Indices:
        """Return [T] the position of every token inside its own text, from 0."""
        return np.concatenate([np.tile(np.arange(length), count) for count, length in self.groups])

    def last(self) -> Indices:
        """Return [N] the row of each text's last token inside the packed batch."""
        lengths = np.concatenate([np.full(count, length) for count, length in self.groups])
        return np.cumsum(lengths) - 1

    def first(self) -> Indices:
        """Return [N] the row of each text's first token inside the packed batch."""
        return np.concatenate(([0], self.last()[:-1] + 1))

    def read(self, *, causal: bool) -> Indices:
        """Return [N] the row of the token that a text is read at: the last, which has seen all before it, or the first.

        Args:
            causal: Tokens see those before them; else, in an encoder, the first token is made to be read ([CLS]).
        """
        return self.last() if causal else self.first()


def pack(texts: Indices, lengths: Indices) -> Batch:
    """Return one batch of the given texts, grouped by length; order inside a length is kept.

    Args:
        texts: [N] indices, at least one.
        lengths: [N] tokens of those texts, each at least 1.
    """
    order = np.argsort(lengths, kind="stable")
    values, counts = np.unique(lengths, return_counts=True)
    groups = tuple((int(count), int(length)) for count, length in zip(counts, values, strict=True))
    return Batch(texts=texts[order], groups=groups)


def batches(lengths: Indices, *, token_budget: int, longest_first: bool = False) -> Iterator[Batch]:
    """Yield batches that together hold every text once, sorted by length, each within the token budget.

    A text longer than the budget gets a batch of its own.

    Args:
        lengths: [N] tokens per text, each at least 1.
        token_budget: Most packed tokens in one batch.
        longest_first: Start with the longest texts, so that memory peaks at once.
    """
    order = np.argsort(lengths, kind="stable")
    if longest_first:
        order = order[::-1]
    start = 0
    while start < len(order):
        filled = np.cumsum(lengths[order[start : start + token_budget]])
        count = max(1, int(np.searchsorted(filled, token_budget, side="right")))
        chosen = order[start : start + count]
        yield pack(chosen, lengths[chosen])
        start += count
