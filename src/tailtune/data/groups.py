"""Which rows must stay in one part: near duplicates, and rows with the same value in a column. Knows no parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, Finding, is_blank, name_rows
from tailtune.data.fold import fold_text
from tailtune.data.near import Links, join, link, renumber
from tailtune.errors import ConfigError

Alike = Literal["word", "marks"]

# Variants of one form ("claim your X, collect it at Y") are near duplicates in a chain that can hold a whole class. A
# chain is taken for a form when it holds more than 5 % of all distinct texts (the largest real one, in SNIPS, 1.4 %) or
# more than half of a class; chains of few texts are always kept whole.
_FORM_SHARE, _FORM_LEAST = 0.05, 20
_CLASS_SHARE, _CLASS_LEAST = 0.5, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """Near duplicates among the rows of a Dataset.

    Attributes:
        folds: int64[rows], the same number for texts that fold to the same, in the order in which they are met.
        links: Between distinct folds: a word or a few of them changed.
    """

    folds: NDArray[np.int64]
    links: Links

    @property
    def distinct(self) -> int:
        """How many distinct folded texts there are."""
        return int(self.folds.max(initial=-1)) + 1

    def chains(self) -> NDArray[np.int64]:
        """Return int64[rows]: the same number for rows that a chain of near duplicates connects."""
        return join(self.distinct, [self.links])[self.folds]


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Rows that must stay together.

    Attributes:
        ids: int64[rows], the same number for rows of one group, in the order in which they are met.
        findings: What was not kept together, and why.
    """

    ids: NDArray[np.int64]
    findings: tuple[Finding, ...] = ()


def find_near(texts: tuple[str, ...], alike: Alike = "word") -> Near:
    """Return the near duplicates among ``texts``; its arrays are shared between callers, who leave them as they are.

    Args:
        texts: Of all rows.
        alike: ``marks``: case, digits, punctuation and blanks may differ; ``word``: a word or a few too.

    Raises:
        ConfigError: If ``alike`` is neither.
    """
    if alike not in ("word", "marks"):
        raise ConfigError(f"unknown likeness {alike!r}; expected word or marks")
    return _near(texts, alike)


# The split and the check ask for the same texts one after the other.
@functools.lru_cache(maxsize=2)
def _near(texts: tuple[str, ...], alike: Alike) -> Near:
    numbers: dict[str, int] = {}
    folds = np.fromiter((numbers.setdefault(fold_text(text), len(numbers)) for text in texts), dtype=np.int64)
    return Near(folds=folds, links=link(list(numbers) if alike == "word" else []))


def group_rows(dataset: Dataset, *, alike: Alike = "word", column: str | None = None) -> Groups:
    """Return the groups of ``dataset``: near duplicates, joined with the rows that share a value of ``column``.

    Args:
        dataset: With the column, if one is named.
        alike: What counts as near duplicates, as for ``find_near``.
        column: Its rows of equal value stay together; a blank value stands for itself.
    """
    near = find_near(dataset.texts, alike)
    chains, finding = _without_forms(dataset, near)
    links = [] if column is None else [_same_value(dataset.columns[column])]
    start = renumber(chains)
    ids = join(len(dataset), [_rows_of(start), *links]) if links else start
    return Groups(ids=ids, findings=() if finding is None else (finding,))


def _rows_of(groups: NDArray[np.int64]) -> Links:
    order = np.argsort(groups, kind="stable")
    return Links(sets=groups[order], members=order)


def _same_value(values: Sequence[str]) -> Links:
    return _rows_of(value_ids(values))


def value_ids(values: Sequence[str]) -> NDArray[np.int64]:
    """Return int64[rows]: the same number for equal values; each blank one has its own."""
    numbers: dict[tuple[str, int], int] = {}
    keys = ((value, -1) if not is_blank(value) else ("", row) for row, value in enumerate(values))
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64)


def _without_forms(dataset: Dataset, near: Near) -> tuple[NDArray[np.int64], Finding | None]:
    """Return the chains of rows, those that are variants of one form fallen apart into their folds; and say so."""
    chains, folds = near.chains(), near.folds
    if not len(near.links):
        return chains, None
    sizes = _distinct(chains, folds)
    form = sizes > max(_FORM_LEAST, _FORM_SHARE * near.distinct)
    _, labels = np.unique(np.array(dataset.labels, dtype=object), return_inverse=True)
    of_class = _distinct(labels, folds)
    cells = np.unique(np.stack((labels, chains, folds)), axis=1)
    pairs, held = np.unique(cells[:2], axis=1, return_counts=True)
    filled = (held > _CLASS_SHARE * of_class[pairs[0]]) & (held > _CLASS_LEAST)
    form[pairs[1][filled]] = True
    torn = form[chains]
    if not torn.any():
        return chains, None
    rows = tuple(dataset.rows[at] for at in np.flatnonzero(torn))
    count = len(np.unique(chains[torn]))
    message = (
        f"{len(rows)} rows are variants of {'one form' if count == 1 else f'{count} forms'}, too many to keep in one "
        f"part; only copies but for case, digits, punctuation and blanks stay together there: {name_rows(rows)}"
    )
    return np.where(torn, len(sizes) + folds, chains), Finding(
        kind="forms",
        message=message,
        rows=rows,
        severity="warning",
        means="texts made from one form lie in every part, so scores on them say little about other texts",
        mend="leave a few rows of each form, or keep them together with --group COLUMN",
    )


def _distinct(groups: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [groups] how many distinct folds each group holds."""
    pairs = np.unique(np.stack((groups, folds)), axis=1)
    return np.bincount(pairs[0], minlength=int(groups.max(initial=-1)) + 1)
