"""Marks of rows: short hashes by which two sets of rows are compared without keeping a text.

A mark says nothing to a reader, but who guesses a text can confirm the guess: marks are for this machine and the run
folder, not for what is passed on. Knows nothing about files or splits.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tailtune.data.fold import fold_text

# 48 bits: of 10^5 rows held against 10^6 others, 0.0004 marks agree by chance.
DIGITS = 12
# Sets of more rows are known by their lowest marks: a share is then off by at most 1.6 points, one standard error.
KEPT = 1000
_BEYOND = "g"  # sorts after every hexadecimal digit


def row_marks(texts: Iterable[str], labels: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return one mark per row, in order: equal for texts that fold to the same (and have the same label).

    Args:
        texts: Of the rows.
        labels: One per row; None for marks of the texts alone.
    """
    named: Iterable[str | None] = itertools.repeat(None) if labels is None else labels
    return tuple(_mark(text, label) for text, label in zip(texts, named, strict=labels is not None))


def _mark(text: str, label: str | None) -> str:
    told = fold_text(text) if label is None else f"{label}\x00{fold_text(text)}"
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sketch:
    """A set of rows by its lowest marks (bottom-k sketch, Cohen and Kaplan 2007).

    Attributes:
        marks: Ascending, at most KEPT, each once.
        distinct: Marks of the whole set.
    """

    marks: tuple[str, ...]
    distinct: int

    @classmethod
    def of(cls, marks: Iterable[str]) -> Self:
        """Return the sketch of a set of marks; copies count once."""
        ordered = sorted(set(marks))
        return cls(marks=tuple(ordered[:KEPT]), distinct=len(ordered))

    @property
    def limit(self) -> str:
        """Up to here every mark of the set is known."""
        return self.marks[-1] if self.marks and self.distinct > len(self.marks) else _BEYOND

    def share_in(self, other: Self) -> float:
        """Return the share of this set that ``other`` holds too: exact up to KEPT rows each, else estimated.

        A few rows of a set many times as large may go unseen, and count as 0.
        """
        limit = min(self.limit, other.limit)
        seen = [mark for mark in self.marks if mark <= limit]
        known = set(other.marks)
        return sum(mark in known for mark in seen) / len(seen) if seen else 0.0


def marks_by_part(texts: Sequence[str], parts: Mapping[str, Iterable[int]]) -> dict[str, list[str]]:
    """Return the marks of the texts of each part, sorted, so that they tell no order.

    Args:
        texts: Of all rows.
        parts: Name -> places in ``texts``.
    """
    marks = row_marks(texts)
    return {name: sorted({marks[at] for at in places}) for name, places in parts.items()}


def part_hash(marks: Sequence[str]) -> str:
    """Return a SHA-256 of rows by their marks, copies counted: equal for the same rows in any order."""
    return hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()
