"""How unlike the training texts a text is, as a bundle answers it. Imported by prediction; knows nothing of training.

A pooled vector is seen from the middle of the class means, in a space where texts of one class vary alike in every
direction; what counts is the angle to the nearest class mean. Of what was measured (docs/log.md) the only score good
with 2, 5 and 150 classes. Given out is its place among held-out texts: 0.99 is stranger than 99 % of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats, Wanted
from tailtune.methods.scorers import pool

Doubles = NDArray[np.float64]

# Below this length a vector has no direction.
_SHORTEST = 1e-6


def directions(vectors: Doubles) -> Doubles:
    """Return [N, F] vectors of length 1, those without a direction as they are."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What a classifier remembers of its training texts to tell when one is unlike them.

    Attributes:
        depth: Of the pooled vectors that are read, both.
        middle: [F] of the class means, subtracted.
        weight: [F, F] after which texts of one class vary by about 1 in every direction.
        centres: [M, F] class means after that, of length 1.
        reference: [n] ascending strangeness of held-out texts like those to come, n >= 1.
    """

    depth: int
    middle: Floats
    weight: Floats
    centres: Floats
    reference: Floats

    @property
    def wanted(self) -> Wanted:
        """The features it reads."""
        return Wanted(pooled=(self.depth,))

    def strangeness(self, pooled: Floats) -> Doubles:
        """Return [N] in 0..2: one less the cosine to the class mean that is nearest in direction.

        Args:
            pooled: [N, 2, D], the read and the mean state of each text at ``depth``.
        """
        placed = (pool(pooled, "last+mean") - self.middle) @ self.weight
        cosines = directions(placed.astype(np.float64)) @ self.centres.T.astype(np.float64)
        return np.asarray(1 - cosines.max(axis=1))

    def unlike(self, strangeness: Doubles) -> Doubles:
        """Return [N] in 0..1, rising with the strangeness: the share of held-out texts that are less strange.

        Of new texts like the held-out ones on average at most a share of a reaches 1 - a (split conformal): the place
        is counted among n + 1, and between two held-out texts the line between theirs keeps below that count.

        Args:
            strangeness: [N] of ``strangeness``.
        """
        count, last = len(self.reference), float(self.reference[-1])
        # Beyond the strangest held-out text the line goes on as far as that one is from the middle one.
        beyond = last + max(last - float(np.median(self.reference)), 1e-6)
        at, below = np.unique(self.reference.astype(np.float64), return_index=True)
        return np.asarray(np.interp(strangeness, np.append(at, beyond), np.append(below, count) / (count + 1)))

    def arrays(self) -> dict[str, Floats]:
        """Return what goes into the bundle's file besides the depth."""
        return {name: getattr(self, name) for name in ("middle", "weight", "centres", "reference")}

    @classmethod
    def of(cls, depth: int, arrays: Mapping[str, Floats]) -> Self:
        """Return the scope that ``arrays`` of a bundle describe.

        Raises:
            KeyError: If one is missing.
            ValueError: If their shapes do not fit together.
        """
        middle, weight, centres, reference = (arrays[name] for name in ("middle", "weight", "centres", "reference"))
        if weight.shape != (len(middle), len(middle)) or centres.shape[1:] != middle.shape or not len(reference):
            shapes = [list(array.shape) for array in (middle, weight, centres, reference)]
            raise ValueError(f"scope arrays of shapes {shapes} do not fit together")
        return cls(depth=depth, middle=middle, weight=weight, centres=centres, reference=reference)
