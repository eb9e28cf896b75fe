r"""Texts made of several columns, or with words around them: ``{subject}\n{body}``, ``Message: {text}\nIt is``.

A template is words, columns between braces, and words again. What lies before its first column and after its last is
the same for every text: it is put there when a text is read by a model. What lies between is made once, when a file is
read, so that everything else (duplicates, reports, words that are shaded) sees texts without the words around them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailtune.errors import ConfigError, DataError

TEXT = "text"
_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\\[nt\\]|[{}]|[^{}\\]+|\\")
_PLAIN = {"{{": "{", "}}": "}", "\\n": "\n", "\\t": "\t", "\\\\": "\\"}
_HOW = "write columns as {name}, a brace as {{ or }}, the end of a line as \\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """How a text is made.

    Attributes:
        spelled: As it was written.
        before: Words before the first column.
        columns: Names of the columns, each once, in order.
        between: Words after each column but the last.
        after: Words after the last column.
    """

    spelled: str
    before: str
    columns: tuple[str, ...]
    between: tuple[str, ...]
    after: str

    @classmethod
    def parse(cls, spelled: str) -> Template:
        r"""Return the template that is written so.

        Args:
            spelled: Words with columns as ``{name}``; ``{{`` and ``}}`` are braces, ``\n``, ``\t`` and ``\\`` a
                line end, a TAB and a backslash.

        Raises:
            ConfigError: If a brace has no partner, or it names no column, an empty one, or one twice.
        """
        words, columns = [""], []
        for found in _PARTS.finditer(spelled):
            part = found.group()
            if part in ("{", "}"):
                at = f"a {part!r} without its partner at character {found.start() + 1}"
                raise ConfigError(f"--template {spelled!r}: {at}", hint=_HOW)
            if found.group(1) is None:
                words[-1] += _PLAIN.get(part, part)
                continue
            columns.append(found.group(1).strip())
            words.append("")
        if not columns or "" in columns:
            what = "a pair of braces names no column" if columns else "it names no column"
            raise ConfigError(f"--template {spelled!r}: {what}", hint=_HOW)
        if again := [name for at, name in enumerate(columns) if name in columns[:at]]:
            raise ConfigError(f"--template {spelled!r}: names {{{again[0]}}} twice", hint="name each column once")
        before, *between, after = words
        return cls(spelled=spelled, before=before, columns=tuple(columns), between=tuple(between), after=after)

    @property
    def wraps(self) -> bool:
        """Whether it puts words around texts."""
        return bool(self.before or self.after)

    @property
    def joins(self) -> bool:
        """Whether texts come from several columns, so that a plain text is not enough."""
        return len(self.columns) > 1

    @property
    def text_column(self) -> str | None:
        """The one column's name, None where that is ``{text}``: the text column, whatever it is called."""
        return None if self.columns == (TEXT,) else self.columns[0]

    def join(self, cells: Sequence[str]) -> str:
        """Return the text of one row: its cells with what stands between; "" where all cells are blank.

        Args:
            cells: One per column, in their order.
        """
        if not any(cell.strip() for cell in cells):
            return ""
        words = (*self.between, "")
        return "".join(cell + word for cell, word in zip(cells, words, strict=True))

    def of_row(self, row: str | Mapping[str, object], what: str) -> str:
        """Return the text that ``row`` means.

        Args:
            row: A mapping that has the columns, or a plain text where there is one column.
            what: The row, said in errors.

        Raises:
            DataError: If a column is absent, or the text is plain and there are several columns.
        """
        if isinstance(row, str):
            if not self.joins:
                return row
            named = ", ".join(map(repr, self.columns))
            hint = "give a table or JSON lines with these columns"
            raise DataError(f"{what}: a plain text, but the template reads several columns: {named}", hint=hint)
        absent = [name for name in self.columns if name not in row]
        if absent:
            raise DataError(f"{what}: no {absent[0]!r}, which the template reads; there are {', '.join(row) or 'none'}")
        return self.join(["" if row[name] is None else str(row[name]) for name in self.columns])

    def wrap(self, text: str) -> str:
        """Return ``text`` with the words before and after it."""
        return f"{self.before}{text}{self.after}"
