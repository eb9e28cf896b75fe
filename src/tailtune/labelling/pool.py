"""Which texts of a pool are worth a question: not blank, not labelled yet, and one of each group of near duplicates.

Knows nothing about classifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, is_blank
from tailtune.data.groups import group_rows
from tailtune.data.marks import row_marks
from tailtune.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """What may be asked.

    Attributes:
        places: int64[n] positions in the texts, ascending: the first of each group that nothing labelled is in.
        sizes: int64[n] how many texts each stands for, itself included.
        blank: Texts that show nothing.
        labelled: Texts that are labelled already, or near duplicates of those.
        repeated: Near duplicates of texts in ``places``.
    """

    places: NDArray[np.int64]
    sizes: NDArray[np.int64]
    blank: int
    labelled: int
    repeated: int

    def note(self) -> str:
        """Return one line on what was left out; empty where nothing was.

        Raises:
            DataError: If nothing is left to choose from.
        """
        counts = {
            "blank": self.blank,
            "labelled already, or near duplicates of those": self.labelled,
            "near duplicates of others": self.repeated,
        }
        told = "; ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        if not len(self.places):
            raise DataError("no text is left to label" + (f": {told}" if told else ""), hint="bring other texts")
        return f"texts to choose from: {len(self.places):,}; left out: {told}" if told else ""


def pool_of(texts: Sequence[str], *, labelled: Sequence[str] = (), seen: AbstractSet[str] = frozenset()) -> Pool:
    """Return which of ``texts`` may be asked.

    Args:
        texts: In the order of their source.
        labelled: Texts with a label.
        seen: Marks of texts with a label that are not at hand, as ``row_marks`` makes them.
    """
    shown = np.array([not is_blank(text) for text in texts], dtype=np.bool_)
    whole = (*texts, *(text for text in labelled if not is_blank(text)))
    known = np.zeros(len(whole), dtype=np.bool_)
    known[len(texts) :] = True
    if seen:
        known[: len(texts)] = [mark in seen for mark in row_marks(texts)]
    groups = _groups(whole)
    taken = np.isin(groups[: len(texts)], groups[known])
    free = np.flatnonzero(shown & ~taken)
    _, first, sizes = np.unique(groups[free], return_index=True, return_counts=True)
    order = np.argsort(first)
    return Pool(
        places=free[first[order]],
        sizes=sizes[order],
        blank=int((~shown).sum()),
        labelled=int((shown & taken).sum()),
        repeated=len(free) - len(first),
    )


def _groups(texts: tuple[str, ...]) -> NDArray[np.int64]:
    """[texts] the same number for near duplicates; variants of one form, which can be half of a pool, stay apart."""
    rows = tuple(range(1, len(texts) + 1))
    return group_rows(Dataset(texts=texts, labels=("",) * len(texts), rows=rows, source="", sha256="")).ids
