"""Labels corrected by hand: a CSV file beside the data, applied to what was read. The data file is never touched.

A correction belongs to a row number and a text, known by its hash: a file that has changed since is refused rather than
corrected in the wrong place. Parts are drawn with the labels as they were, so a correction moves no row.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tailtune.data.cells import guarded, unguarded
from tailtune.data.columns import Wanted
from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.data.decode import read_text, require_file
from tailtune.data.delimited import parse_delimited
from tailtune.data.split import Split
from tailtune.errors import DataError
from tailtune.progress import silent
from tailtune.storage import sha256_bytes

ROW, LABEL, CORRECTED, TEXT, HASH = "row", "label", "corrected", "text", "text_sha256"
# Of the hash: 64 bits tell two versions of one row apart.
_DIGITS = 16

Key = tuple[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """One corrected label.

    Attributes:
        line: Of the file, 1-based.
        label: As it stands in the data.
        corrected: As it should be.
    """

    line: int
    label: str
    corrected: str


def text_hash(text: str) -> str:
    """Return what ``text`` is known by in a file of corrections."""
    # The name in front keeps a spreadsheet from taking digits for a number and rounding it.
    return f"sha256:{sha256_bytes(text.encode())[:_DIGITS]}"


def write_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return CSV for spreadsheets and for ``read_corrections``: marked as UTF-8, every field quoted, no formula."""
    file = io.StringIO()
    file.write("\ufeff")  # without the mark spreadsheets guess another encoding
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(header)
    # The hash knows the text: what is shown of it need not be exact, and no reader takes a NUL.
    writer.writerows([guarded(cell).replace("\0", "\ufffd") for cell in row] for row in rows)
    return file.getvalue()


def read_corrections(path: Path) -> dict[Key, Correction]:
    """Return the corrections in a file such as a run's doubts.csv, by row number and hash of the text.

    Rows whose ``corrected`` is empty or is the label itself are left out.

    Raises:
        DataError: If it cannot be read, lacks a column, a row number is none, or a row is corrected twice.
    """
    require_file(path)
    wanted = Wanted(text_column=HASH, label_column=CORRECTED, others=(ROW, LABEL))
    records = parse_delimited(read_text(path).text, path, wanted, silent)
    found: dict[Key, Correction] = {}
    cells = zip(records.columns[ROW], records.texts, records.columns[LABEL], records.labels, records.lines, strict=True)
    for row, digest, label, corrected, line in cells:
        old, new = unguarded(label), unguarded(corrected).strip()
        if not new or new == old:
            continue
        if not row.strip().isdecimal():
            raise DataError(f"{row!r} is no row number", path=path, line=line)
        key = int(row), digest.strip()
        if key in found:
            raise DataError(f"row {key[0]} is corrected twice", path=path, line=line, hint="leave one of the two")
        found[key] = Correction(line=line, label=old, corrected=new)
    return found


def relabelled(dataset: Dataset, split: Split, path: Path) -> Dataset:
    """Return ``dataset`` with the labels that the file ``path`` corrects, and a finding that counts them.

    Args:
        dataset: As read; what stands in its file stays as it is.
        split: Its parts, to say how many corrections fall into the test part.
        path: See ``read_corrections``.

    Raises:
        DataError: If the file cannot be used, or a correction fits no row: the text or the label there is another.
    """
    corrections = read_corrections(path)
    numbers = {row for row, _ in corrections}
    places: defaultdict[Key, list[int]] = defaultdict(list)
    for at, row in enumerate(dataset.rows):
        if row in numbers:
            places[row, text_hash(dataset.texts[at])].append(at)
    labels = list(dataset.labels)
    for key, correction in corrections.items():
        _require_fits(correction, key[0], places.get(key), dataset, path)
        for at in places[key]:
            labels[at] = correction.corrected
    changed = [at for key in corrections for at in places[key] if dataset.labels[at] != labels[at]]
    return replace(
        dataset, labels=tuple(labels), findings=(*dataset.findings, _finding(dataset, split, path, sorted(changed)))
    )


def _require_fits(correction: Correction, row: int, places: Sequence[int] | None, dataset: Dataset, path: Path) -> None:
    hint = "correct the file that was made from these data"
    if not places:
        raise DataError(
            f"row {row} of {dataset.source} is not there, was blank, or has another text than when this file was made",
            path=path,
            line=correction.line,
            hint=hint,
        )
    there = {dataset.labels[at] for at in places}
    if not there & {correction.label, correction.corrected}:
        raise DataError(
            f"row {row} of {dataset.source} is labelled {min(there)!r}, expected {correction.label!r}",
            path=path,
            line=correction.line,
            hint=hint,
        )


def _finding(dataset: Dataset, split: Split, path: Path, changed: Sequence[int]) -> Finding:
    rows = tuple(dataset.rows[at] for at in changed)
    message = f"{len(rows)} label{'' if len(rows) == 1 else 's'} changed as {path} says"
    if rows:
        message += f": {name_rows(rows)}"
    tested = set(split.test.tolist()) & set(changed)
    if not tested:
        return Finding(kind="relabelled", message=message, rows=rows)
    return Finding(
        kind="relabelled",
        message=f"{message}; {len(tested)} of them in the test part",
        rows=rows,
        severity="warning",
        means="where only those test labels are corrected that a classifier disagrees with, its scores flatter",
        mend="review a random part of the test rows, or leave their labels alone",
    )


def originals(corrections: Mapping[Key, Correction], dataset: Dataset, at: int) -> tuple[str, str]:
    """Return the label of the row at ``at`` as it stands in its file, and the correction applied to it ("" for none).

    Args:
        corrections: That were applied to ``dataset``.
        dataset: After that.
        at: Position.
    """
    known = corrections.get((dataset.rows[at], text_hash(dataset.texts[at])))
    return (dataset.labels[at], "") if known is None else (known.label, known.corrected)
