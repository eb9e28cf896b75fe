"""Soft labels: how a text is shared among the labels, by votes of annotators or by probabilities.

Written as an object, {"spam": 3, "ham": 1}, in JSON lines or in a cell, or in a column of numbers per label. Numbers
are divided by their sum. Knows nothing about file forms.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from tailtune.data.dataset import is_blank, name_rows
from tailtune.errors import DataError

Shares = tuple[dict[str, float], ...]


def spell_shares(shares: Mapping[str, object]) -> str:
    """Return an object of label names and numbers as JSON."""
    return json.dumps(dict(shares), ensure_ascii=False)


def read_shares(
    labels: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    names: Sequence[str],
    rows: Sequence[int],
    source: str,
) -> Shares | None:
    """Return the share of each label in each row, those of 0 left out; None where labels are names.

    Args:
        labels: The label column, row by row; objects are spelled as JSON.
        columns: The others, those of ``names`` among them.
        names: Columns that hold a number for the label of that name; empty for none.
        rows: 1-based row numbers, for errors.
        source: What was read, for errors.

    Raises:
        DataError: If a row does not have the form of the others, or holds no positive number; it names the rows.
    """
    if names:
        if absent := [name for name in names if name not in columns]:
            raise DataError(f"no column {absent[0]!r}; columns present: {', '.join(map(repr, columns))}", path=source)
        cells = zip(*(columns[name] for name in names), strict=True)
        found = [_numbers(dict(zip(names, row, strict=True))) for row in cells]
        return _all(found, rows, source, "numbers of at least 0 in each label column, one of them above 0")
    objects = [_object(label) for label in labels]
    if not any(each is not None for each in objects):
        return None
    found = [None if each is None else _numbers(each) for each in objects]
    return _all(found, rows, source, 'objects such as {"spam": 3, "ham": 1}: numbers of at least 0, one above 0')


def likeliest(shares: Mapping[str, float]) -> str:
    """Return the label with the largest share, the first in code-point order among equals."""
    return min(shares, key=lambda name: (-shares[name], name))


def _all(found: Sequence[dict[str, float] | None], rows: Sequence[int], source: str, expected: str) -> Shares:
    bad = [row for row, each in zip(rows, found, strict=True) if each is None]
    if bad:
        raise DataError(f"{name_rows(bad)}: no shares of labels; expected {expected}", path=source)
    return tuple(each for each in found if each is not None)


def _object(label: str) -> dict[str, object] | None:
    if not (label.startswith("{") and label.endswith("}")):
        return None
    try:
        value = json.loads(label)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _numbers(cells: Mapping[str, object]) -> dict[str, float] | None:
    """The shares, summing to 1; None where a cell is no number, or none is above 0."""
    found = {name: _number(cell) for name, cell in cells.items()}
    if any(is_blank(name) for name in found) or not all(math.isfinite(each) and each >= 0 for each in found.values()):
        return None
    total = sum(found.values())
    if not 0 < total < math.inf:
        return None
    return {name: value / total for name, value in found.items() if value > 0}


def _number(cell: object) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str):
        return math.nan
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return math.nan
