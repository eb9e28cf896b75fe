"""From a file, a stream or two lists to a Dataset, or to texts alone. Knows nothing about splits or models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tailtune.data.columns import Wanted, choose_columns
from tailtune.data.dataset import Dataset, Finding, blank_texts, is_blank, similar_labels
from tailtune.data.decode import decode, read_text, require_file
from tailtune.data.delimited import Records, is_label_tab_text, parse_delimited, parse_label_tab_text
from tailtune.data.structured import load_json, parse_jsonl, parse_parquet, text_value
from tailtune.errors import ConfigError, DataError, setup_error
from tailtune.progress import Progress, silent
from tailtune.storage import canonical_json, sha256_bytes, sha256_file

Form = Literal["parquet", "jsonl", "label-tab-text", "delimited"]

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
    path: Path, *, text_column: str | None = None, label_column: str | None = None, progress: Progress = silent
) -> Dataset:
    """Return the labelled texts of a CSV, TSV, JSONL, Parquet or "label TAB text" file.

    Args:
        path: The file.
        text_column: Name of its text column; by default found by its usual names.
        label_column: Name of its label column; by default found by its usual names.
        progress: Told about lines read.

    Raises:
        DataError: If the file is missing, empty, broken or has no clear columns, or a label is blank; with the line.
        SetupError: If the operating system does not let it be read.
    """
    wanted = Wanted(text_column=text_column, label_column=label_column)
    records, sha256, findings = _parse(Path(path), wanted, progress)
    return _assemble(records, source=str(path), sha256=sha256, findings=findings)


def dataset_from_lists(texts: Iterable[str], labels: Iterable[Any], *, source: str = "memory") -> Dataset:
    """Return the Dataset of parallel lists; labels become strings, blank texts are dropped and named.

    Raises:
        ConfigError: If the lists differ in length.
        DataError: If a text is no string, or a label is None or blank.
    """
    kept_texts, kept_labels = list(texts), list(labels)
    if len(kept_texts) != len(kept_labels):
        raise ConfigError(f"got {len(kept_texts)} texts and {len(kept_labels)} labels, expected one label per text")
    records = Records(
        texts=[text_value(text, source, row) for row, text in enumerate(kept_texts, start=1)],
        labels=["" if label is None else str(label) for label in kept_labels],
        lines=range(1, len(kept_texts) + 1),
    )
    try:
        sha256 = sha256_bytes(canonical_json([records.texts, records.labels]).encode())
    except UnicodeEncodeError as error:
        raise DataError("half a character: a lone surrogate in a text or label", path=source) from error
    return _assemble(records, source=source, sha256=sha256, findings=())


def read_texts(
    source: Path | BinaryIO, *, text_column: str | None = None, progress: Progress = silent, name: str = "<stdin>"
) -> TextRows:
    """Return the unlabelled texts of a file or a binary stream; labels that are there are not read.

    Args:
        source: A CSV, TSV, JSONL, Parquet or plain file (one text per line), or a stream of JSON or plain lines.
        text_column: Name of its text column or key; by default found by its usual names.
        progress: Told about lines read.
        name: What messages call a stream.

    Raises:
        DataError: If it is missing, empty, broken or has no clear text column; with the line.
        SetupError: If the operating system does not let it be read.
    """
    if not isinstance(source, Path):
        return _collect(iter_texts(source, text_column=text_column, name=name))
    suffix = source.suffix.casefold()
    if suffix in _TABLE_SUFFIXES | _PARQUET_SUFFIXES:
        records, _, _ = _parse(source, Wanted(text_column=text_column, labelled=False), progress)
        return TextRows(texts=tuple(records.texts), lines=tuple(records.lines))
    require_file(source)
    try:
        with source.open("rb") as stream:
            return _collect(iter_texts(stream, text_column=text_column, name=str(source)))
    except OSError as error:
        raise setup_error(error, f"reading {source}") from error


def iter_texts(stream: BinaryIO, *, text_column: str | None = None, name: str = "<stdin>") -> Iterator[tuple[int, str]]:
    """Yield 1-based line numbers and texts as lines arrive, from JSON lines or plain lines, whichever the first one is.

    A line that starts with ``{"`` or is a JSON string makes it JSON lines. Empty lines are passed over; a JSON text
    that is blank is yielded, so that every row gets its answer.

    Args:
        stream: Bytes, UTF-8.
        text_column: The key of the text in JSON objects; by default found by its usual names.
        name: What messages call the stream.

    Raises:
        DataError: If a line holds a NUL, is not UTF-8, or is not the JSON that the first line promised; with the line.
    """
    wanted = Wanted(text_column=text_column, labelled=False)
    is_json: bool | None = None
    for number, raw in enumerate(stream, start=1):
        line = decode(raw, name, first_line=number).rstrip("\r\n")
        if not line.strip():
            continue
        if is_json is None:
            is_json = _looks_like_json(line)
        yield number, _json_text(line, wanted, name, number) if is_json else line


def recognise(path: Path, text: str, wanted: Wanted) -> Form:
    """Return the form of a file that is not Parquet, by its extension, then by its text."""
    suffix = path.suffix.casefold()
    if suffix in _JSONL_SUFFIXES or (suffix not in _TABLE_SUFFIXES and text.lstrip().startswith('{"')):
        return "jsonl"
    if not wanted.named and is_label_tab_text(text):
        return "label-tab-text"
    return "delimited"


def _parse(path: Path, wanted: Wanted, progress: Progress) -> tuple[Records, str, tuple[Finding, ...]]:
    require_file(path)
    if path.suffix.casefold() in _PARQUET_SUFFIXES:
        return parse_parquet(path, wanted, progress), sha256_file(path), ()
    source = read_text(path)
    form = recognise(path, source.text, wanted)
    if form == "jsonl":
        records = parse_jsonl(source.text, path, wanted, progress)
    elif form == "label-tab-text":
        records = parse_label_tab_text(source.text, path, wanted)
    else:
        records = parse_delimited(source.text, path, wanted, progress)
    return records, source.sha256, (*source.findings, *records.findings)


def _assemble(records: Records, *, source: str, sha256: str, findings: Sequence[Finding]) -> Dataset:
    """Drop blank texts by row number, refuse blank labels, warn of labels that look alike."""
    blank = [at for at, text in enumerate(records.texts) if is_blank(text)]
    dropped = set(blank)
    kept = [at for at in range(len(records.texts)) if at not in dropped]
    no_names = {name for name in set(records.labels) if is_blank(name)}
    if no_names and (bad := next((at for at in kept if records.labels[at] in no_names), None)) is not None:
        raise DataError("the label is blank", path=source, line=records.lines[bad], hint="every text needs a label")
    labels = tuple(records.labels[at] for at in kept)
    said = list(findings)
    if blank:
        said.append(blank_texts([at + 1 for at in blank]))
    if alike := similar_labels(labels):
        said.append(alike)
    return Dataset(
        texts=tuple(records.texts[at] for at in kept),
        labels=labels,
        rows=tuple(at + 1 for at in kept),
        source=source,
        sha256=sha256,
        findings=tuple(said),
    )


def _collect(rows: Iterable[tuple[int, str]]) -> TextRows:
    numbered = list(rows)
    return TextRows(texts=tuple(text for _, text in numbered), lines=tuple(number for number, _ in numbered))


def _looks_like_json(line: str) -> bool:
    start = line.lstrip()
    if start.startswith('{"'):
        return True
    if not start.startswith('"'):
        return False
    # A plain text may start with a quotation: it is a JSON string only if the whole line is.
    try:
        return isinstance(load_json(line, "", 1), str)
    except DataError:
        return False


def _json_text(line: str, wanted: Wanted, name: str, number: int) -> str:
    value = load_json(line, name, number)
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise DataError(f"got {line.strip()[:40]}, expected a JSON object or a JSON string", path=name, line=number)
    keys = list(value)
    try:
        at, _ = choose_columns(keys, wanted, name)
    except DataError as error:
        raise DataError(error.message.removeprefix(f"{name}: "), path=name, line=number, hint=error.hint) from error
    return text_value(value[keys[at]], name, number)
