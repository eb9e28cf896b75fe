"""One answer from several classifiers: a weighted sum of their log-probabilities, or of their scores label by label.

Where the language model and one that counts letters are wrong about different texts, the sum is right more often than
either (docs/log.md). Imported by prediction; how weights are found is ``tailtune.methods.blending``'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tailtune.progress import Progress, silent

Doubles = NDArray[np.float64]

# The least log-probability that a classifier can say, and the largest score of one label: one that counts words says of
# a class it never saw that it is impossible, and no other could ever outweigh an infinity.
FLOOR = -30.0


class Member(Protocol):
    """A classifier of texts beside the bundle's own scorer."""

    @property
    def name(self) -> str:
        """What people call it: "character n-grams", "minilm-l6 probe at depth 6"."""

    @property
    def method(self) -> str:
        """What it is: ngrams, probe or tail."""

    def on(self, device: str) -> Self:
        """Return the same where it computes on ``device``: "auto", "cpu", "cuda" or "mps"."""

    def scores(self, texts: Sequence[str], progress: Progress = silent) -> Doubles:
        """Return [N, C] class scores: log-probabilities of one label per text, logits where one can have several.

        Args:
            texts: N >= 1 of them; the same text gets the same scores in any company.
            progress: Told how far it is, where it takes long.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Blend:
    """Weights of the bundle's own scorer and of other classifiers.

    Attributes:
        weights: [1 + members], of the own scorer first; none below 0, one above. They need not sum to 1: their sum is
            the inverse of a temperature. At a weight of 0 the own scorer is not computed.
        members: The others.
        several: Whether a text can have several labels.
    """

    weights: tuple[float, ...]
    members: tuple[Member, ...]
    several: bool = False

    def __post_init__(self) -> None:
        sound = any(self.weights) and all(0 <= weight < np.inf for weight in self.weights)
        if len(self.weights) != 1 + len(self.members) or not sound:
            raise ValueError(f"weights {self.weights} of the own scorer and {len(self.members)} members")

    @property
    def own(self) -> bool:
        """Whether the bundle's own scorer has a part in the answer."""
        return self.weights[0] > 0

    @property
    def method(self) -> str:
        """What people asked for or get: the method of the only one that has a part, or "blend"."""
        parts = [member.method for weight, member in zip(self.weights[1:], self.members, strict=True) if weight > 0]
        return parts[0] if len(parts) == 1 and not self.own else "blend"

    def scores(self, own: NDArray[np.floating], texts: Sequence[str], progress: Progress = silent) -> Doubles:
        """Return ``mixed`` of the own scores and those of the members, computed here and now.

        Args:
            own: [N, C] scores of the own scorer.
            texts: N >= 1 of them.
            progress: Told how far it is, where it takes long.
        """
        shares = zip(self.weights[1:], self.members, strict=True)
        return self.mixed(own, [member.scores(texts, progress) if weight else None for weight, member in shares])

    def mixed(self, own: NDArray[np.floating] | None, others: Sequence[NDArray[np.floating] | None]) -> Doubles:
        """Return [N, C] class scores, whose softmax (sigmoid, where a text can have several labels) is the answer.

        Args:
            own: [N, C] scores of the own scorer; what has a weight of 0 is not looked at.
            others: [N, C] of each member.
        """
        rows = [
            weight * normalised(each, several=self.several)
            for weight, each in zip(self.weights, (own, *others), strict=True)
            if weight and each is not None
        ]
        assert len(rows) == np.count_nonzero(self.weights)
        return np.asarray(sum(rows[1:], start=rows[0]))

    def said(self, own: str) -> str:
        """Return the parts in words, such as "0.6 tail at depth 9 + 0.4 character n-grams"; a single one by its name.

        Args:
            own: What people call the own scorer.
        """
        names = [own, *(member.name for member in self.members)]
        parts = [(weight, name) for weight, name in zip(self.weights, names, strict=True) if weight]
        return parts[0][1] if len(parts) == 1 else " + ".join(f"{weight:.2g} {name}" for weight, name in parts)


def normalised(scores: NDArray[np.floating], *, several: bool) -> Doubles:
    """Return [N, C] what is summed: log-probabilities from FLOOR up, or scores no further from 0 than that.

    Args:
        scores: [N, C], in nats; infinite ones are fine.
        several: Whether each label has a probability by itself.
    """
    rows = scores.astype(np.float64)
    if several:
        return np.clip(rows, FLOOR, -FLOOR)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return np.maximum(rows, FLOOR)
