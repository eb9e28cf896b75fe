"""JSON lines and Parquet become records. Knows nothing about blank texts or what labels mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tailtune.data.columns import Wanted, choose_columns, choose_others
from tailtune.data.dataset import is_blank
from tailtune.data.decode import require_file
from tailtune.data.delimited import Records
from tailtune.data.several import spell
from tailtune.data.shares import spell_shares
from tailtune.errors import DataError
from tailtune.progress import Progress

_PROGRESS_ROWS = 1 << 14


def parse_jsonl(text: str, path: Path, wanted: Wanted, progress: Progress) -> Records:
    """Return the rows of a file with one JSON object per line; blank lines are passed over.

    Raises:
        DataError: If a line is no JSON object, lacks a key, or holds a text or label of the wrong type; with the line.
    """
    texts: list[str] = []
    labels: list[str] = []
    numbers: list[int] = []
    objects: list[dict[str, Any]] = []
    keys: tuple[str, str | None] | None = None
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if number % _PROGRESS_ROWS == 0:
            progress("reading", number, len(lines), "lines")
        if not line.strip():
            continue
        value = load_json(line, path, number)
        if not isinstance(value, dict):
            raise _bad_line(value, path, number)
        keys = keys or _keys(value, wanted, path)
        texts.append(text_value(_get(value, keys[0], path, number), path, number))
        if keys[1] is not None:
            label = _get(value, keys[1], path, number)
            labels.append("" if is_blank(texts[-1]) else label_value(label, path, number))
        numbers.append(number)
        if wanted.others != ():
            objects.append(value)
    progress("reading", len(lines), len(lines), "lines")
    names = keys or ("text", "label")
    return Records(
        texts=texts,
        labels=labels,
        lines=numbers,
        columns=_other_keys(objects, wanted, names, path),
        names=(names[0], names[1] or "label"),
    )


def _other_keys(
    objects: list[dict[str, Any]], wanted: Wanted, taken: tuple[str, str | None], path: Path
) -> dict[str, list[str]]:
    """Return the further keys that are wanted: one value per object, "" where it lacks the key."""
    present = list(dict.fromkeys(key for value in objects for key in value))
    where = [present.index(key) if key in present else -1 for key in taken]
    others = choose_others(present, wanted, (where[0], where[1]), path) if objects else {}
    return {name: [plain_value(value.get(present[at])) for value in objects] for name, at in others.items()}


def plain_value(value: Any) -> str:
    """Return ``value`` of a further column as a string: "" for null, what is no string as JSON or, else, as Python."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (bool, dict, list)) else str(value)


def load_json(line: str, path: Path | str, number: int) -> Any:
    """Return the JSON value in ``line``, or in a text that starts in line ``number``.

    Raises:
        DataError: If it is not JSON, or escapes spell half a character (a lone surrogate); with the line.
    """
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        message, at = f"not JSON: {error.msg} at column {error.colno}", number + error.lineno - 1
        raise DataError(message, path=path, line=at, hint="write one object per line") from error
    except (ValueError, RecursionError) as error:
        raise DataError("not usable JSON: a number too long or nested too deep", path=path, line=number) from error
    # The bytes were valid UTF-8, so half a surrogate pair can only come from an escape.
    if "\\u" in line:
        _require_whole_characters(value, path, number)
    return value


def text_value(value: Any, path: Path | str, number: int) -> str:
    """Return ``value`` as a text; null becomes the empty text, which counts as blank.

    Raises:
        DataError: If it is neither a string nor null; with the line.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise DataError(f"the text is {_kind(value)}, expected a string", path=path, line=number)


def parse_parquet(path: Path, wanted: Wanted, progress: Progress) -> Records:
    """Return the rows of a Parquet file; ``lines`` are row numbers.

    Raises:
        DataError: If it is no Parquet file, or a column is absent or of a type that is no text or label.
    """
    import polars

    require_file(path)
    try:
        names = list(polars.read_parquet_schema(path))
        text_at, label_at = choose_columns(names, wanted, path)
        others = choose_others(names, wanted, (text_at, label_at), path)
        chosen = [text_at, *([label_at] if wanted.labelled else []), *others.values()]
        frame = polars.read_parquet(path, columns=list(dict.fromkeys(names[at] for at in chosen)))
    except (polars.exceptions.PolarsError, OSError) as error:
        raise DataError("not a Parquet file that can be read", path=path, hint=str(error).split("\n")[0]) from error
    progress("reading", 0, frame.height, "rows")
    texts = [text_value(value, path, row) for row, value in enumerate(frame[names[text_at]].to_list(), start=1)]
    labels = []
    if wanted.labelled:
        column = frame[names[label_at]].to_list()
        labels = ["" if is_blank(texts[at]) else label_value(value, path, at + 1) for at, value in enumerate(column)]
    progress("reading", frame.height, frame.height, "rows")
    columns = {name: list(map(plain_value, frame[names[at]].to_list())) for name, at in others.items()}
    return Records(
        texts=texts,
        labels=labels,
        lines=range(1, frame.height + 1),
        columns=columns,
        names=(names[text_at], names[label_at] if wanted.labelled else "label"),
    )


def _keys(value: dict[str, Any], wanted: Wanted, path: Path) -> tuple[str, str | None]:
    names = list(value)
    text_at, label_at = choose_columns(names, wanted, path)
    return names[text_at], names[label_at] if wanted.labelled else None


def _get(value: dict[str, Any], key: str, path: Path, number: int) -> Any:
    try:
        return value[key]
    except KeyError:
        present = ", ".join(map(repr, value)) or "none"
        raise DataError(f"no key {key!r}; keys present: {present}", path=path, line=number) from None


def label_value(value: Any, path: Path | str, number: int) -> str:
    """Return ``value`` as a label name; integers and booleans become their JSON text, a list or shares of names too.

    Raises:
        DataError: If it is null or a fraction, or one is in the list; with the line.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and not any(isinstance(name, list) for name in value):
        return spell([label_value(name, path, number) for name in value])
    if isinstance(value, dict):
        return spell_shares(value)
    message = f"the label is {_kind(value)}, expected a string, an integer, a list of them or an object of shares"
    raise DataError(message, path=path, line=number)


def _bad_line(value: Any, path: Path, number: int) -> DataError:
    hint = None
    if isinstance(value, list):
        hint = "write one object per line (JSON lines), not one array"
    return DataError(
        f'got {_kind(value)}, expected an object such as {{"text": …, "label": …}}', path=path, line=number, hint=hint
    )


def _require_whole_characters(value: Any, path: Path | str, number: int) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise DataError(
            f"half a character: lone surrogate \\u{code:04x}", path=path, line=number, hint="repair the escape"
        ) from error


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
