"""From a file or two lists to a Dataset, or to texts alone. Knows nothing about splits or models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tailtune.data.annotations import looks_annotated, parse_annotations
from tailtune.data.columns import Wanted
from tailtune.data.dataset import Dataset, Finding, blank_texts, is_blank, similar_labels
from tailtune.data.decode import read_text, require_file
from tailtune.data.delimited import Records, is_label_tab_text, parse_delimited, parse_label_tab_text
from tailtune.data.several import ONE_NAME_OR_LIST, LabelForm, never_used, read_sets, spell
from tailtune.data.shares import likeliest, read_shares, spell_shares
from tailtune.data.structured import parse_jsonl, parse_parquet, text_value
from tailtune.errors import ConfigError, DataError
from tailtune.progress import Progress, silent
from tailtune.storage import canonical_json, sha256_bytes, sha256_file

Form = Literal["parquet", "jsonl", "annotations", "label-tab-text", "delimited"]

_JSONL_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_PARQUET_SUFFIXES = {".parquet", ".pq"}
_TABLE_SUFFIXES = {".csv", ".tsv", ".tab"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRows:
    """Texts without labels, as they came.

    Attributes:
        texts: One string per row; blank ones are kept, so that each row gets its answer.
        lines: 1-based line of the source where each row starts (row number for Parquet).
    """

    texts: tuple[str, ...]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)


def read_dataset(
    path: Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    others: tuple[str, ...] | None = (),
    form: LabelForm = ONE_NAME_OR_LIST,
    progress: Progress = silent,
) -> Dataset:
    """Return the labelled texts of a CSV, TSV, JSONL, Parquet or "label TAB text" file, or a labelling tool's export.

    Args:
        path: The file.
        text_column: Name of its text column; by default found by its usual names.
        label_column: Name of its label column; by default found by its usual names.
        others: Names of further columns to read; None for all there are.
        form: How labels are written; lists of names are seen without being told.
        progress: Told about lines read.

    Raises:
        DataError: If the file is missing, empty, broken or has no clear columns, or a label is blank; with the line.
            If labels are not written as ``form`` says; with the rows.
        SetupError: If the operating system does not let it be read.
    """
    labelled = not form.own_columns
    if not labelled and others is not None:
        others = (*form.own_columns, *(name for name in others if name not in form.own_columns))
    wanted = Wanted(text_column=text_column, label_column=label_column, labelled=labelled, others=others)
    records, sha256, findings = _parse(Path(path), wanted, progress)
    return _assemble(records, source=str(path), sha256=sha256, findings=findings, form=form)


def dataset_from_lists(texts: Iterable[str], labels: Iterable[Any], *, source: str = "memory") -> Dataset:
    """Return the Dataset of parallel lists; labels become strings, blank texts are dropped and named.

    A list, tuple or set of labels for each text makes texts with any number of labels.

    Raises:
        ConfigError: If the lists differ in length.
        DataError: If a text is no string, or a label is None or blank.
    """
    kept_texts, kept_labels = list(texts), list(labels)
    if len(kept_texts) != len(kept_labels):
        raise ConfigError(f"got {len(kept_texts)} texts and {len(kept_labels)} labels, expected one label per text")
    records = Records(
        texts=[text_value(text, source, row) for row, text in enumerate(kept_texts, start=1)],
        labels=[_given_label(label) for label in kept_labels],
        lines=range(1, len(kept_texts) + 1),
    )
    try:
        sha256 = sha256_bytes(canonical_json([records.texts, records.labels]).encode())
    except UnicodeEncodeError as error:
        raise DataError("half a character: a lone surrogate in a text or label", path=source) from error
    return _assemble(records, source=source, sha256=sha256, findings=())


def read_numbered(path: Path, names: Sequence[str]) -> Dataset:
    """Return the texts of a file of lines "text TAB label numbers with commas TAB anything", with any number of labels.

    Args:
        path: The file: no header, quoting off.
        names: Of the labels; a number is a place in it, from 0.

    Raises:
        DataError: If it is missing or a line has another form; with the line.
        SetupError: If the operating system does not let it be read.
    """
    require_file(path)
    source = read_text(path)
    known = {str(at): name for at, name in enumerate(names)}
    texts, labels, numbers = [], [], []
    for number, line in enumerate(source.text.split("\n"), start=1):
        if not line.strip():
            continue
        text, _, rest = line.partition("\t")
        try:
            labels.append(spell([known[cell] for cell in rest.split("\t")[0].split(",") if cell]))
        except KeyError as error:
            said = f"expected numbers from 0 to {len(names) - 1} with commas after the first TAB"
            raise DataError(said, path=path, line=number) from error
        texts.append(text)
        numbers.append(number)
    records = Records(texts=texts, labels=labels, lines=numbers)
    return _assemble(records, source=str(path), sha256=source.sha256, findings=source.findings)


def _given_label(label: Any) -> str:
    if isinstance(label, (list, tuple, set, frozenset)):
        return spell([str(name) for name in label])
    if getattr(label, "ndim", 0):
        raise ConfigError(
            "the labels are a matrix, expected one label per text, or a list of label names",
            hint="write [[name for name, flag in zip(names, row) if flag] for row in matrix]",
        )
    if isinstance(label, dict):
        return spell_shares({str(name): value for name, value in label.items()})
    return "" if label is None else str(label)


def read_texts(path: Path, *, text_column: str | None = None, progress: Progress = silent) -> TextRows:
    """Return the unlabelled texts of a table (CSV, TSV, Parquet); labels that are there are not read.

    Args:
        path: The file.
        text_column: Name of its text column; by default found by its usual names.
        progress: Told about lines read.

    Raises:
        DataError: If it is missing, empty, broken or has no clear text column; with the line.
        SetupError: If the operating system does not let it be read.
    """
    records, _, _ = _parse(path, Wanted(text_column=text_column, labelled=False), progress)
    return TextRows(texts=tuple(records.texts), lines=tuple(records.lines))


def is_parquet(path: Path) -> bool:
    """Return whether ``path`` is read as Parquet."""
    return path.suffix.casefold() in _PARQUET_SUFFIXES


def recognise(path: Path, text: str, wanted: Wanted) -> Form:
    """Return the form of a file that is not Parquet, by its extension, then by its text."""
    suffix = path.suffix.casefold()
    if suffix in _JSONL_SUFFIXES or (suffix not in _TABLE_SUFFIXES and text.lstrip().startswith(('{"', "[{", "[\n"))):
        return "annotations" if looks_annotated(text) else "jsonl"
    if not wanted.named and is_label_tab_text(text):
        return "label-tab-text"
    return "delimited"


def _parse(path: Path, wanted: Wanted, progress: Progress) -> tuple[Records, str, tuple[Finding, ...]]:
    require_file(path)
    if is_parquet(path):
        return parse_parquet(path, wanted, progress), sha256_file(path), ()
    source = read_text(path)
    form = recognise(path, source.text, wanted)
    if form == "jsonl":
        records = parse_jsonl(source.text, path, wanted, progress)
    elif form == "annotations":
        records = parse_annotations(source.text, path, wanted)
    elif form == "label-tab-text":
        records = parse_label_tab_text(source.text, path, wanted)
    else:
        records = parse_delimited(source.text, path, wanted, progress)
    return records, source.sha256, (*source.findings, *records.findings)


def _assemble(
    records: Records,
    *,
    source: str,
    sha256: str,
    findings: Sequence[Finding],
    form: LabelForm = ONE_NAME_OR_LIST,
) -> Dataset:
    """Drop blank texts by row number, refuse blank labels, warn of labels that look alike."""
    blank = [at for at, text in enumerate(records.texts) if is_blank(text)]
    dropped = records.left_out.union(blank)
    kept = [at for at in range(len(records.texts)) if at not in dropped]
    rows = tuple(at + 1 for at in kept)
    columns = {name: tuple(values[at] for at in kept) for name, values in records.columns.items()}
    labels = tuple(records.labels[at] for at in kept) if records.labels else ()
    sets = read_sets(labels, columns, form, rows, source)
    shares = read_shares(labels, columns, form.shares, rows, source) if sets is None else None
    if sets is not None:
        labels = tuple(map(spell, sets))
    elif shares is not None:
        labels = tuple(map(likeliest, shares))
    named = sets is None and shares is None
    no_names = {name for name in set(records.labels) if is_blank(name)} if named else set()
    if no_names and (bad := next((at for at in kept if records.labels[at] in no_names), None)) is not None:
        raise DataError(
            "the label is blank",
            path=source,
            line=records.lines[bad],
            hint="every text needs a label, or say how several are written, --label-separator",
        )
    said = list(findings)
    if blank:
        said.append(blank_texts([at + 1 for at in blank]))
    names = labels if sets is None else {name for own in sets for name in own}
    said += [found for found in (similar_labels(names), never_used(form, sets or ())) if found is not None]
    return Dataset(
        texts=tuple(records.texts[at] for at in kept),
        labels=labels,
        rows=rows,
        source=source,
        sha256=sha256,
        findings=tuple(said),
        columns={name: values for name, values in columns.items() if name not in form.own_columns},
        names=records.names,
        sets=sets,
        shares=shares,
    )
