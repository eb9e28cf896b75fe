"""CSV, TSV and the "label TAB text" form become records. Knows nothing about bytes, blank texts or what labels mean."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tailtune.data.columns import Wanted, choose_columns, choose_others, is_known_name
from tailtune.data.dataset import Finding
from tailtune.errors import DataError
from tailtune.progress import Progress

_DELIMITERS = (",", "\t", ";")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_PROGRESS_ROWS = 1 << 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """What a file holds, row by row, before anything is dropped.

    Attributes:
        texts: One per row.
        labels: One per row; empty when labels were not wanted.
        lines: 1-based line of the file where each row starts.
        findings: What parsing had to say.
        columns: The further columns that were wanted, one value per row.
        names: What the text and the label column are called.
        left_out: Places of rows that have no label to learn from, as ``findings`` say.
    """

    texts: list[str]
    labels: list[str]
    lines: Sequence[int]
    findings: tuple[Finding, ...] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: tuple[str, str] = ("text", "label")
    left_out: frozenset[int] = frozenset()


def is_label_tab_text(text: str) -> bool:
    """Return whether ``text`` has the SMS collection's form: one TAB in each line, no header, quoting off."""
    first = next(_lines(text), None)
    if first is None or any(is_known_name(name) for name in first[1].split("\t")):
        return False
    return all(line.count("\t") == 1 for _, line in _lines(text))


def parse_label_tab_text(text: str, path: Path, wanted: Wanted) -> Records:
    """Return the rows of the "label TAB text" form, every character kept.

    Raises:
        DataError: If the first column varies more than the second, so that the two are likely swapped, or a further
            column is wanted.
    """
    if wanted.others:
        raise DataError(
            f"no column {wanted.others[0]!r}: without a header the form is label TAB text",
            path=path,
            hint="put a header line with column names first",
        )
    lines, rows = _split_lines(text)
    labels, texts = [row[0] for row in rows], [row[1] for row in rows]
    if wanted.labelled and len(rows) >= 4 and len(set(labels)) > len(set(texts)):
        raise DataError(
            f"without a header the form is label TAB text, but the first column has {len(set(labels))} different "
            f"values and the second {len(set(texts))}",
            path=path,
            line=1,
            hint="put a header line first: text TAB label",
        )
    return Records(texts=texts, labels=labels if wanted.labelled else [], lines=lines)


def parse_delimited(text: str, path: Path, wanted: Wanted, progress: Progress) -> Records:
    """Return the rows of a CSV or TSV file with a header.

    Raises:
        DataError: If a column is absent or unclear, a quote is not closed, or a row has another number of fields.
    """
    delimiter = _delimiter(text, path, wanted)
    if delimiter == "\t" and (plain := _parse_plain_tabs(text, path, wanted)) is not None:
        return plain
    return _parse_quoted(text, path, wanted, delimiter, progress)


def allow_long_fields(length: int) -> None:
    """Let the csv module read fields of ``length`` characters; its limit of 131,072 is process-wide and only raised."""
    if csv.field_size_limit() < length:
        csv.field_size_limit(length)


def _delimiter(text: str, path: Path, wanted: Wanted) -> str:
    if path.suffix.casefold() in {".tsv", ".tab"}:
        return "\t"
    _, header = next(_lines(text))
    asked = {wanted.text_column, wanted.label_column} - {None}

    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
        return sum(name in asked or is_known_name(name) for name in names), len(names)

    allow_long_fields(len(header))
    return max(_DELIMITERS, key=score)


def _parse_plain_tabs(text: str, path: Path, wanted: Wanted) -> Records | None:
    # Many TSV files know no quoting, and a quoting reader then merges the lines between two stray quotes without a
    # word. Where every line has the header's number of TABs, no field needs quotes to hold a TAB or a line end: lines
    # are rows, and quotes are taken off only if every field that starts with one is quoted as a whole.
    lines, rows = _split_lines(text)
    header, *rows = rows
    if any(len(row) != len(header) for row in rows):
        return None
    opened = [value for row in rows for value in row if value.startswith('"')]
    findings: tuple[Finding, ...] = ()
    if all(_QUOTED.fullmatch(value) for value in opened):
        rows = [[_unquote(value) for value in row] for row in rows] if opened else rows
    else:
        message = "quotes were kept as text: not every field that starts with one is quoted"
        findings = (Finding(kind="quotes_kept", message=message),)
    names = [_unquote(name).strip() for name in header]
    return replace(_chosen(names, zip(lines[1:], rows, strict=True), path, wanted), findings=findings)


def _chosen(
    header: Sequence[str], numbered: Iterable[tuple[int, Sequence[str]]], path: Path, wanted: Wanted
) -> Records:
    """Return the wanted columns of the rows, each with its line; the others are not kept."""
    text_at, label_at = choose_columns(header, wanted, path)
    others = choose_others(header, wanted, (text_at, label_at), path)
    kept = [text_at, *([label_at] if wanted.labelled else []), *others.values()]
    lines: list[int] = []
    columns: list[list[str]] = [[] for _ in kept]
    for line, row in numbered:
        lines.append(line)
        for column, at in zip(columns, kept, strict=True):
            column.append(row[at])
    labels = columns[1] if wanted.labelled else []
    return Records(
        texts=columns[0],
        labels=labels,
        lines=lines,
        columns=dict(zip(others, columns[len(kept) - len(others) :], strict=True)),
        names=(header[text_at], header[label_at] if wanted.labelled else "label"),
    )


def _parse_quoted(text: str, path: Path, wanted: Wanted, delimiter: str, progress: Progress) -> Records:
    records = _quoted_rows(text, path, delimiter, progress)
    header_line, header = next(records)
    names = [name.strip() for name in header]

    def whole() -> Iterator[tuple[int, list[str]]]:
        for line, row in records:
            if len(row) != len(header):
                raise DataError(
                    f"got {len(row)} fields, expected {len(header)} as in the header of line {header_line}",
                    path=path,
                    line=line,
                    hint=f"put texts that hold {_say(delimiter)} in double quotes",
                )
            yield line, row

    return _chosen(names, whole(), path, wanted)


def _quoted_rows(text: str, path: Path, delimiter: str, progress: Progress) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each row starts, and its fields; blank lines are passed over."""
    allow_long_fields(len(text))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    total = text.count("\n") + 1
    start = 1
    try:
        for number, row in enumerate(reader):
            if len(row) > 1 or (row and not row[0].isspace()):
                yield start, row
            start = reader.line_num + 1
            if number % _PROGRESS_ROWS == 0:
                progress("reading", min(reader.line_num, total), total, "lines")
    except csv.Error as error:
        what = (
            "a quote is opened here and not closed"
            if "end of data" in str(error)
            else f"bad quoting ({error}, noticed in line {reader.line_num})"
        )
        hint = 'close the quote, or double each quote inside a quoted text ("")'
        raise DataError(what, path=path, line=start, hint=hint) from error
    progress("reading", total, total, "lines")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not str.splitlines: texts hold U+0085, U+2028 and form feeds. A line end is LF or CR LF.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _split_lines(text: str) -> tuple[list[int], list[list[str]]]:
    numbered = list(_lines(text))
    return [number for number, _ in numbered], [line.split("\t") for _, line in numbered]


def _unquote(field: str) -> str:
    return field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field


def _say(delimiter: str) -> str:
    return "a TAB" if delimiter == "\t" else f"a {delimiter!r}"
