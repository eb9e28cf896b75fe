"""The labelled texts of one source, in reading order. Knows nothing about files, splits or models."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import DataError
from tailtune.labels import LabelSet, order_labels

__all__ = ["Dataset", "Finding", "Severity", "blank_texts", "is_blank", "name_rows", "order_labels", "similar_labels"]

# White space as Python sees it, and what looks like nothing: BOM, zero-width characters, marks of direction, joiners.
_BLANK = re.compile(r"[\s\ufeff\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064]*\Z")


Severity = Literal["error", "warning", "note"]
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing worth knowing about the data, for people and for metrics.json.

    Attributes:
        kind: Machine name, for example ``blank_texts``.
        message: One line for people, with counts.
        rows: 1-based row numbers concerned (all of them).
        severity: ``error``: training stops or learns nonsense; ``warning``: numbers mislead; ``note``: good to know.
        means: Why it matters, in a sentence; "" where the message says it all.
        mend: The flag or step that mends it; "" where nothing needs mending.
    """

    kind: str
    message: str
    rows: tuple[int, ...] = ()
    severity: Severity = "note"
    means: str = ""
    mend: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Texts and labels, row by row.

    Attributes:
        texts: One string per row, never blank.
        labels: One label name per row; labels are strings end to end. Where a text can have several, a spelling of its
            set: equal for equal sets.
        rows: 1-based row number in the source (header not counted), before anything was dropped.
        source: Where it came from, as a person would say it: a path, or a named set with the source that answered.
        sha256: Hash of the bytes that were read.
        findings: What reading and checking had to say.
        columns: Further columns that were asked for: name -> one value per row, "" where it has none.
        names: What the text and the label column are called in the source.
        sets: The label names of each row, in the order of ``label_set``, where a text can have several; else None.
        shares: Label name -> its share of each row, summing to 1, where these are learnt; else None. ``labels`` are
            what scores are measured by: of soft labels those with the largest share.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    rows: tuple[int, ...]
    source: str
    sha256: str
    findings: tuple[Finding, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, str] = ("text", "label")
    sets: tuple[tuple[str, ...], ...] | None = None
    shares: tuple[Mapping[str, float], ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def members(self) -> tuple[tuple[str, ...], ...]:
        """The label names of each row: one each, or any number where a text can have several."""
        return tuple((label,) for label in self.labels) if self.sets is None else self.sets

    @property
    def shared(self) -> tuple[Mapping[str, float], ...]:
        """The share of each label in each row: all of the one label, where labels are not soft."""
        return tuple({label: 1.0} for label in self.labels) if self.shares is None else self.shares

    @property
    def label_set(self) -> LabelSet:
        """The distinct label names, integers in numeric order before the others in text order (1, 2, 10, ham, spam)."""
        return LabelSet(names=self.classes, several=self.sets is not None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of ``label_set``."""
        shared: Iterable[str] = () if self.shares is None else itertools.chain.from_iterable(self.shares)
        return order_labels({*self._names(), *shared})

    @property
    def counts(self) -> Counter[str]:
        """Label name -> rows that have it, of soft labels those in which its share is the largest."""
        return Counter(self._names())

    def _names(self) -> Iterable[str]:
        return self.labels if self.sets is None else itertools.chain.from_iterable(self.sets)

    def about(self) -> dict[str, Any]:
        """Return where it came from and what it holds, ready for JSON: source, hash, rows and rows of each class."""
        counts = self.counts
        classes = {name: counts[name] for name in self.classes}
        return {"source": self.source, "sha256": self.sha256, "rows": len(self), "classes": classes}

    def ids(self, labels: LabelSet) -> NDArray[np.int64]:
        """Return int64[rows] the id of each row's label in ``labels``, or int64[rows, L] 0/1 where it has several.

        Raises:
            DataError: If ``labels`` does not know a name, or rows have several labels and ``labels`` are for one.
        """
        if labels.several:
            return labels.matrix(self.members)
        if self.sets is not None:
            raise DataError("these texts have lists of labels, expected one label per text", path=self.source)
        return labels.ids(self.labels)

    def targets(self, labels: LabelSet) -> NDArray[np.float64] | None:
        """Return float64[rows, C] the share of each of ``labels`` in each row; None where labels are not soft.

        Raises:
            DataError: If ``labels`` does not know a name.
        """
        if self.shares is None:
            return None
        found = np.zeros((len(self), len(labels)))
        rows = np.repeat(np.arange(len(self)), [len(own) for own in self.shares])
        ids = labels.ids(itertools.chain.from_iterable(self.shares))
        found[rows, ids] = [share for own in self.shares for share in own.values()]
        return found

    def take(self, places: Sequence[int]) -> Dataset:
        """Return the rows at ``places``, in that order, with their columns."""

        def taken(values: Sequence[_T]) -> tuple[_T, ...]:
            return tuple(values[at] for at in places)

        return replace(
            self,
            texts=taken(self.texts),
            labels=taken(self.labels),
            rows=taken(self.rows),
            columns={name: taken(values) for name, values in self.columns.items()},
            sets=None if self.sets is None else taken(self.sets),
            shares=None if self.shares is None else taken(self.shares),
        )


def is_blank(text: str) -> bool:
    """Return whether ``text`` shows nothing: empty, white space, zero-width characters or byte order marks only."""
    # Nearly every text starts with a letter: 4 times faster than asking the pattern.
    return not text[:1].isalnum() and _BLANK.match(text) is not None


def similar_labels(labels: Iterable[str]) -> Finding | None:
    """Return the warning that some label names differ only in case or surrounding blanks; None when none do."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in set(labels):
        spellings[name.strip().casefold()].add(name)
    alike = [", ".join(map(repr, sorted(names))) for _, names in sorted(spellings.items()) if len(names) > 1]
    if not alike:
        return None
    return Finding(kind="similar_labels", message=f"labels differ only in case or blanks: {'; '.join(alike)}")


def blank_texts(rows: Sequence[int]) -> Finding:
    """Return the finding that the texts of ``rows`` (1-based) were blank and dropped."""
    message = f"{len(rows)} blank text{'' if len(rows) == 1 else 's'} dropped: {name_rows(rows)}"
    return Finding(kind="blank_texts", message=message, rows=tuple(rows))


def name_rows(rows: Sequence[int], *, most: int = 10) -> str:
    """Return ``rows`` for a sentence: "row 4", "rows 4, 9", or the first ``most`` and how many more."""
    shown = ", ".join(map(str, rows[:most]))
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"row{'' if len(rows) == 1 else 's'} {shown}{more}"
