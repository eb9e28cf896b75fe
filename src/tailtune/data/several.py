"""Texts with any number of labels: a list in one column, names with a separator, or a column of 0 and 1 per label.

Knows nothing about file forms: it sees strings, lists of names spelled as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tailtune.data.dataset import Finding, is_blank, name_rows
from tailtune.errors import ConfigError, DataError
from tailtune.labels import order_labels

Sets = tuple[tuple[str, ...], ...]
_Cell = TypeVar("_Cell")

# What a column of a label may hold; 1.0 and 0.0 are what pandas writes where a value was missing once.
_FLAGS = {"1": True, "true": True, "1.0": True, "0": False, "false": False, "0.0": False}
_LONGEST_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelForm:
    """How labels are written, beyond one name per text or a list.

    Attributes:
        separator: Between the names in the label column; None where it holds one name, or a list.
        columns: Names of columns that hold 1 or true where the text has the label of that name; empty for none.
        shares: Names of columns that hold the share of the label of that name in the text; empty for none.
    """

    separator: str | None = None
    columns: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()

    @property
    def own_columns(self) -> tuple[str, ...]:
        """Names of columns that stand for the label column."""
        return self.columns or self.shares

    @classmethod
    def given(cls, separator: str | None, columns: str | None, shares: str | None = None) -> LabelForm:
        """Return the form that ``--label-separator``, ``--label-columns`` and ``--label-shares`` describe.

        Raises:
            ConfigError: If two are given, or names are not distinct, with commas between them, and at least one.
        """
        given = {"--label-separator": separator, "--label-columns": columns, "--label-shares": shares}
        if len(named := [flag for flag, value in given.items() if value is not None]) > 1:
            raise ConfigError(f"{' and '.join(named)} contradict each other", hint="leave one of them out")
        return cls(
            separator=separator, columns=_names("--label-columns", columns), shares=_names("--label-shares", shares)
        )


def _names(flag: str, listed: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in listed.split(",")) if listed is not None else ()
    if "" in names or len(set(names)) != len(names):
        raise ConfigError(
            f"{flag} {listed!r}: expected distinct names with commas between them",
            hint="write it as toxic,insult,threat",
        )
    return names


ONE_NAME_OR_LIST = LabelForm()


def spell(names: Sequence[str]) -> str:
    """Return a list of names as JSON, in the order of labels, each once: equal for equal sets."""
    return json.dumps(list(order_labels(names)), ensure_ascii=False)


def read_sets(
    labels: Sequence[str], columns: Mapping[str, Sequence[str]], form: LabelForm, rows: Sequence[int], source: str
) -> Sets | None:
    """Return the label names of each row, in the order of labels; None where each text has one label.

    Args:
        labels: The label column, row by row; lists are spelled as JSON.
        columns: The others, those of ``form`` among them.
        form: How labels are written.
        rows: 1-based row numbers, for errors.
        source: What was read, for errors.

    Raises:
        DataError: If a row does not have the form of the others; it names the rows, what they hold and what is right.
    """
    if form.columns:
        if absent := [name for name in form.columns if name not in columns]:
            raise DataError(f"no column {absent[0]!r}; columns present: {', '.join(map(repr, columns))}", path=source)
        cells = zip(*(columns[name] for name in form.columns), strict=True)
        read = _Reading("a value that is neither 0 nor 1", "0, 1, true or false in each label column")
        return read.all(list(cells), lambda row: _flagged(row, form.columns), rows, source)
    lists = [_listed(cell) for cell in labels]
    if form.separator is not None and None in lists:
        between = form.separator
        read = _Reading(f"an empty name between {between!r}", f"names with {between!r} between them, or nothing")
        return read.all(labels, lambda cell: _separated(cell, between), rows, source)
    if not any(names is not None for names in lists):
        return None
    read = _Reading("no list of names", 'lists such as ["joy", "love"], [] for no label, as in the other rows')
    return read.all(labels, _listed, rows, source)


def never_used(form: LabelForm, sets: Sets) -> Finding | None:
    """Return the warning that columns of ``form`` hold 0 in every row, so that their labels cannot be learnt."""
    used = {name for names in sets for name in names}
    empty = [name for name in form.columns if name not in used]
    if not empty:
        return None
    message = f"0 in every row, so not a label here: {', '.join(map(repr, empty))}"
    return Finding(kind="unused_columns", message=message, severity="warning", means="nothing shows what it means")


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is said of rows that cannot be read."""

    wrong: str
    expected: str

    def all(
        self,
        cells: Sequence[_Cell],
        read: Callable[[_Cell], Sequence[str] | None],
        rows: Sequence[int],
        source: str,
    ) -> Sets:
        found = [read(cell) for cell in cells]
        bad = [at for at, names in enumerate(found) if names is None]
        if bad:
            got = _shown(cells[bad[0]])
            where = name_rows([rows[at] for at in bad])
            message = f"{where}: {self.wrong}, got {got}; expected {self.expected}"
            raise DataError(message, path=source)
        return tuple(order_labels(names) for names in found if names is not None)


def _shown(cell: object) -> str:
    shown = repr(cell) if isinstance(cell, str) else ", ".join(map(repr, cell if isinstance(cell, tuple) else ()))
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _flagged(row: Sequence[str], names: Sequence[str]) -> list[str] | None:
    flags = [_FLAGS.get(cell.strip().casefold()) for cell in row]
    return None if None in flags else [name for name, flag in zip(names, flags, strict=True) if flag]


def _separated(cell: str, separator: str) -> list[str] | None:
    if is_blank(cell):
        return []
    names = [name.strip() for name in cell.split(separator)]
    return None if any(is_blank(name) for name in names) else names


def _listed(cell: str) -> list[str] | None:
    """The names of a list spelled as JSON; None where it is none."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    try:
        names = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return names if all(isinstance(name, str) and not is_blank(name) for name in names) else None
