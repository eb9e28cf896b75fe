"""Labels that are paths, such as ``banking/transfer``: the coarser levels above them and their probabilities.

Where labels form a tree the probability of a coarser label is the sum over the labels below it. Nothing is trained for
that: the classifier learns the finest labels alone. Knows nothing about texts or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError
from tailtune.labels import LabelSet, order_labels

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


def with_levels(labels: LabelSet, separator: str | None) -> LabelSet:
    """Return the labels as paths whose parts stand between separators; unchanged without one.

    Args:
        labels: The finest labels.
        separator: Between the parts of a name.

    Raises:
        ConfigError: If no name has it, or a part of a name is empty.
    """
    if separator is None:
        return labels
    if not any(separator in name for name in labels.names):
        raise ConfigError(
            f"--label-levels {separator!r}: no label has that in its name", hint="labels such as banking/transfer do"
        )
    for name in labels.names:
        if not all(part.strip() for part in name.split(separator)):
            raise ConfigError(f"--label-levels {separator!r}: label {name!r} has an empty part", hint="rename it")
    return replace(labels, separator=separator)


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level of the tree, counted from the coarsest.

    Attributes:
        number: From 1.
        names: G labels of this level: paths of up to ``number`` parts.
        places: int [C] which of them each of the finest labels belongs to.
    """

    number: int
    names: tuple[str, ...]
    places: Indices

    def summed(self, rows: Doubles) -> Doubles:
        """Return [n, G] the probabilities of this level's labels, from [n, C] those of the finest ones."""
        found = np.zeros((len(rows), len(self.names)))
        np.add.at(found.T, self.places, rows.T)
        return found


def levels_of(labels: LabelSet) -> tuple[Level, ...]:
    """Return the levels, the coarsest first, the labels themselves last; none where labels are no paths."""
    if not labels.separator:
        return ()
    paths = [name.split(labels.separator) for name in labels.names]
    return tuple(_level(number, paths, labels.separator) for number in range(1, max(map(len, paths)) + 1))


def _level(number: int, paths: Sequence[Sequence[str]], separator: str) -> Level:
    cut = [separator.join(path[:number]) for path in paths]
    names = order_labels(cut)
    place = {name: at for at, name in enumerate(names)}
    return Level(number=number, names=names, places=np.array([place[name] for name in cut]))
