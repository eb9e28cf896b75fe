"""Rows that quoting loses: in other readers of a file, or in whatever wrote it. Knows the text of a file, no bytes."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from tailtune.data.columns import Wanted
from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.data.delimited import allow_long_fields
from tailtune.data.read import recognise


def quoting_findings(dataset: Dataset, path: Path, text: str, wanted: Wanted) -> tuple[Finding, ...]:
    """Return what is to be said of the quotes in a CSV or TSV file.

    Args:
        dataset: What was read from it.
        path: The file.
        text: All of it, decoded.
        wanted: The columns it was read by.
    """
    form = recognise(path, text, wanted)
    if form == "jsonl":
        return ()
    headed = form == "delimited"
    kept = any(finding.kind == "quotes_kept" for finding in dataset.findings)
    lost = _lost_with_quoting(text, headed=headed) if kept or not headed else None
    return tuple(finding for finding in (lost, _swallowed(dataset)) if finding is not None)


def _lost_with_quoting(text: str, *, headed: bool) -> Finding | None:
    """Return the rows that vanish in a reader with default quoting, for a file that was read with quoting off."""
    runs = _merged(text)
    lines = sum(1 for line in text.split("\n") if line.strip()) - headed
    rows = tuple(row - headed for first, last in runs for row in range(first + 1, last + 1))
    if not rows:
        return None
    shown = "; ".join(
        f"the quote that opens in row {first - headed} closes in row {last - headed}" for first, last in runs[:5]
    )
    more = f"; and {len(runs) - 5} more such quotes" if len(runs) > 5 else ""
    message = (
        f"quotes are text here: all {lines:,} rows were read with quoting off; a reader with default quoting gets "
        f"{lines - len(rows):,}, since {name_rows(rows)} vanish in the text of the row above: {shown}{more}"
    )
    return Finding(
        kind="quoting",
        message=message,
        rows=rows,
        severity="warning",
        means="whoever reads the file the usual way loses these rows without a word, and row numbers no longer agree",
        mend="none needed here; elsewhere read with quoting off (csv.QUOTE_NONE), or write a quoted copy with --fix",
    )


def _merged(text: str) -> list[tuple[int, int]]:
    """Return the first and the last of the non-blank lines that each record of several lines takes, from 1."""
    numbers, count = [0], 0
    for line in text.split("\n"):
        count += bool(line.strip())
        numbers.append(count)
    allow_long_fields(len(text))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    runs, start = [], 1
    try:
        for _ in reader:
            end = min(reader.line_num, len(numbers) - 1)
            if numbers[end] > numbers[min(start, end)]:
                runs.append((numbers[start], numbers[end]))
            start = end + 1
    except csv.Error:  # such a reader stops with an error, which nobody overlooks
        return []
    return runs


def _swallowed(dataset: Dataset) -> Finding | None:
    """Return the texts that hold whole rows: a label and a separator begin a line inside, or end one."""
    several = [at for at, text in enumerate(dataset.texts) if "\n" in text]
    if not several:
        return None
    names = "|".join(re.escape(label) for label in sorted(set(dataset.classes), key=len, reverse=True))
    row = re.compile(rf'\n"?(?:{names})"?[\t,;]|[\t,;]"?(?:{names})"?\r?\n')
    rows = tuple(dataset.rows[at] for at in several if row.search(dataset.texts[at]))
    if not rows:
        return None
    message = f"{len(rows)} texts hold lines that look like rows of their own, label included: {name_rows(rows)}"
    return Finding(
        kind="swallowed_rows",
        message=message,
        rows=rows,
        severity="warning",
        means="a stray quote made one text of several rows when this file was read or written",
        mend='double the stray quote (""), or write the file anew from its source, read with quoting off',
    )
