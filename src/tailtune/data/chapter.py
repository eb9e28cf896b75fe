"""The chapter's own sample and split of the SMS collection, to the row, so that results stand beside its table.

Its reader takes quotes for quoting, which merges three ham messages into one row: 5,572 rows instead of 5,574, and
every later draw depends on that number. Its draws are those of ``numpy.random.RandomState(123)``. Nothing is grouped:
copies of training texts lie in the test part, and a finding counts them. Knows nothing about models.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailtune.data.columns import Wanted
from tailtune.data.dataset import Dataset, Finding, blank_texts, is_blank, similar_labels
from tailtune.data.decode import read_text
from tailtune.data.delimited import allow_long_fields, is_label_tab_text
from tailtune.data.fold import group_ids
from tailtune.data.groups import find_near
from tailtune.data.read import read_dataset, recognise
from tailtune.data.split import Split, leaked
from tailtune.errors import DataError
from tailtune.progress import Progress, silent

CHAPTER_SEED = 123
CHAPTER_COUNTS = {"ham": 4825, "spam": 747}


def chapter_split(
    path: Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    bonus: bool = False,
    progress: Progress = silent,
) -> tuple[Dataset, Split]:
    """Return all rows as the chapter's reader counts them, and its balanced 70/10/20 split in its shuffled order.

    Rows that balancing leaves out are ``unused``. A file other than the SMS collection goes through the same steps with
    what is there, and a finding ``not_the_chapters_rows`` says so.

    Args:
        path: The SMS collection, or any labelled file.
        text_column: As for ``read_dataset``; the chapter's reader applies only to the collection's own form.
        label_column: As for ``read_dataset``.
        bonus: The split of the chapter's bonus experiments, which shuffles the same rows once more: 219 of the main
            split's 300 test texts are in its training part.
        progress: Told about lines read.

    Raises:
        DataError: If the file cannot be read.
    """
    dataset = _read(path, Wanted(text_column=text_column, label_column=label_column), progress)
    shuffled, unused = _draw(dataset)
    if bonus:
        shuffled = shuffled[_sample(len(shuffled), len(shuffled))]
    train_end = int(len(shuffled) * 0.7)
    validation_end = train_end + int(len(shuffled) * 0.1)
    split = Split(
        train=shuffled[:train_end],
        validation=shuffled[train_end:validation_end],
        test=shuffled[validation_end:],
        unused=unused,
        groups=group_ids(dataset.texts),
        kind="bonus" if bonus else "chapter",
        seed=CHAPTER_SEED,
    )
    said = [finding for finding in (_other_rows(dataset, split), _copies(dataset, split)) if finding is not None]
    return replace(dataset, findings=(*dataset.findings, *said)), split


def _read(path: Path, wanted: Wanted, progress: Progress) -> Dataset:
    if path.suffix.casefold() in {".parquet", ".pq", ".jsonl", ".ndjson", ".json"}:
        return read_dataset(path, text_column=wanted.text_column, label_column=wanted.label_column, progress=progress)
    source = read_text(path)
    if recognise(path, source.text, wanted) != "label-tab-text" or not is_label_tab_text(source.text):
        return read_dataset(path, text_column=wanted.text_column, label_column=wanted.label_column, progress=progress)
    rows = _rows_with_default_quoting(source.text, path)
    numbered = [row for row in rows if not is_blank(row[2])]
    blank = [row for row, _, text in rows if is_blank(text)]
    alike = similar_labels(label for _, label, _ in numbered)
    return Dataset(
        texts=tuple(text for _, _, text in numbered),
        labels=tuple(label for _, label, _ in numbered),
        rows=tuple(row for row, _, _ in numbered),
        source=str(path),
        sha256=source.sha256,
        findings=(*source.findings, *([blank_texts(blank)] if blank else []), *([alike] if alike else [])),
    )


def _rows_with_default_quoting(text: str, path: Path) -> list[tuple[int, str, str]]:
    """Return (row number, label, text) as a reader with default quoting sees them: a quote may merge lines."""
    allow_long_fields(len(text))
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    for row, fields in enumerate((fields for fields in reader if fields), start=1):
        if len(fields) != 2:
            message = f"got {len(fields)} fields, expected 2: the chapter's reader takes quotes for quoting"
            hint = "leave --recipe chapter away; without it quotes are text"
            raise DataError(message, path=path, line=reader.line_num, hint=hint)
        rows.append((row, fields[0], fields[1]))
    return rows


def _draw(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the balanced rows in the chapter's shuffled order, and the rows left out."""
    counts = Counter(dataset.labels)
    smallest = min(counts.values(), default=0)
    labels = np.array(dataset.labels, dtype=object)
    balanced = []
    # The chapter samples ham and puts it before all spam; the usual order of names gives the same.
    for name in dataset.classes:
        positions = np.flatnonzero(labels == name)
        balanced.append(positions if len(positions) == smallest else positions[_sample(len(positions), smallest)])
    together = np.concatenate([*balanced, np.empty(0, dtype=np.int64)]).astype(np.int64)
    shuffled = together[_sample(len(together), len(together))]
    return shuffled, np.setdiff1d(np.arange(len(dataset), dtype=np.int64), shuffled)


def _sample(total: int, count: int) -> NDArray[np.int64]:
    # What DataFrame.sample(n=count, random_state=123) draws. The legacy generator is the point here: only it gives the
    # chapter's rows, and numpy promises that its stream never changes.
    drawn = np.random.RandomState(CHAPTER_SEED).choice(total, size=count, replace=False)
    return np.asarray(drawn, dtype=np.int64)


def _other_rows(dataset: Dataset, split: Split) -> Finding | None:
    counts = Counter(dataset.labels)
    if counts == CHAPTER_COUNTS:
        return None
    got = ", ".join(f"{name} {counts[name]}" for name in dataset.classes[:8])
    message = (
        f"not the chapter's rows: got {got}, expected ham 4825, spam 747; its procedure was applied to what is there "
        f"({len(split.train)}/{len(split.validation)}/{len(split.test)} rows, not 1045/149/300), so results do not "
        "stand beside its table"
    )
    return Finding(kind="not_the_chapters_rows", message=message)


def _copies(dataset: Dataset, split: Split) -> Finding | None:
    """Return what the chapter's split leaks into its test part."""
    near = leaked(dataset, split, split.test)
    if not len(near):
        return None
    a_word_aside = leaked(dataset, replace(split, groups=find_near(dataset.texts).chains()), split.test)
    known = {dataset.texts[at] for at in split.train}
    exact = sum(dataset.texts[at] in known for at in split.test)
    message = (
        f"{exact} of {len(split.test)} test texts are exact copies of a training text, {len(near)} with case, digits, "
        f"punctuation and blanks aside, {len(a_word_aside)} with a word aside too: the chapter's split keeps them, so "
        "its test figure flatters"
    )
    return Finding(kind="leaked_rows", message=message, rows=tuple(dataset.rows[at] for at in near), severity="warning")
