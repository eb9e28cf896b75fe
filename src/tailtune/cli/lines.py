"""Texts from a stream, in chunks as they arrive: JSON objects or strings one per line, or one plain text per line.

Knows nothing about classifiers. The first line that is not blank decides which of the two the whole stream is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tailtune.errors import DataError

if TYPE_CHECKING:
    from tailtune.data.columns import Wanted

CHUNK_LINES = 256
_BLOCK_BYTES = 1 << 16


class ByteStream(Protocol):
    """A binary stream that hands over what has arrived without waiting for more."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, b"" at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One text to classify.

    Attributes:
        line: 1-based line (or row) it came from.
        text: The text.
        kept: What the answer repeats: ``{"id": …}`` when the input had one.
    """

    line: int
    text: str
    kept: dict[str, Any] = field(default_factory=dict)


def require_text(text: str, source: str, line: int | None = None) -> str:
    """Return ``text`` unless it cannot be text.

    Raises:
        DataError: If it holds NUL, or half of a character (bytes of the command line that are not UTF-8).
    """
    try:
        if b"\0" not in text.encode("utf-8"):
            return text
    except UnicodeEncodeError:
        raise DataError("not valid UTF-8", path=source, line=line) from None
    raise DataError("NUL character in a text", path=source, line=line)


def records(stream: ByteStream, source: str, text_column: str | None = None) -> Iterator[list[Record]]:
    """Yield the records of ``stream`` in order, in chunks of at most CHUNK_LINES, as soon as their lines are complete.

    Args:
        stream: Bytes in UTF-8; lines end with LF or CR LF.
        source: What to call it in errors.
        text_column: Key of the text in JSON objects; default: the first of the usual names that is there.

    Raises:
        DataError: With the line: it is not UTF-8, holds NUL, is not the JSON the first line promised, or lacks a text.
            The lines before it have been yielded.
    """
    from tailtune.data.columns import Wanted
    from tailtune.data.decode import decode

    wanted = Wanted(text_column=text_column, labelled=False)
    as_json: bool | None = None
    for chunk in _chunks(_arriving(stream)):
        found: list[Record] = []
        try:
            for number, raw in chunk:
                line = decode(raw.removesuffix(b"\r"), source, first_line=number)
                if as_json is None and line.strip():
                    as_json = _is_json(line)
                if not as_json:
                    found.append(Record(line=number, text=line))
                elif line.strip():
                    found.append(_from_json(line, source, number, wanted))
        except DataError:
            yield found  # however lines fall into chunks, those before a broken one are answered
            raise
        yield found


def _arriving(stream: ByteStream) -> Iterator[list[bytes]]:
    rest = b""
    while block := stream.read1(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield lines
    yield [rest] if rest else []


def _chunks(arriving: Iterable[list[bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    number = 0
    for lines in arriving:
        for start in range(0, len(lines), CHUNK_LINES):
            chunk = lines[start : start + CHUNK_LINES]
            yield [(number + place, line) for place, line in enumerate(chunk, start=1)]
            number += len(chunk)


def _is_json(line: str) -> bool:
    """Return whether a first line promises JSON: it is an object or a string, or opens as an object and is broken."""
    if line.lstrip().startswith('{"'):
        return True
    try:
        return isinstance(json.loads(line), dict | str)
    except (ValueError, RecursionError):
        return False


def _from_json(line: str, source: str, number: int, wanted: Wanted) -> Record:
    from tailtune.data.columns import choose_columns
    from tailtune.data.structured import load_json, text_value

    content = load_json(line, source, number)
    if isinstance(content, str):
        return Record(line=number, text=require_text(content, source, number))
    if not isinstance(content, dict):
        raise DataError("expected a JSON object or string, as in the first line", path=source, line=number)
    position, _ = choose_columns(list(content), wanted, f"{source}:{number}")
    text = text_value(list(content.values())[position], source, number)
    kept = {"id": content["id"]} if "id" in content else {}
    return Record(line=number, text=require_text(text, source, number), kept=kept)
