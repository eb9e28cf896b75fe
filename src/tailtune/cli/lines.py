"""Texts from a stream, in chunks as they arrive: JSON objects or strings one per line, or one plain text per line.

Knows nothing about classifiers. The first line that is not blank decides which of the two the whole stream is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tailtune.errors import DataError

if TYPE_CHECKING:
    from tailtune.data.columns import Wanted
    from tailtune.template import Template

# Most lines of a chunk that is answered as soon as it has arrived.
CHUNK_LINES = 256
# Lines of a full chunk: enough that packed batches of equally long texts are full, and bounded in bytes for long ones.
FULL_CHUNK_LINES = 4096
FULL_CHUNK_BYTES = 1 << 22
_BLOCK_BYTES = 1 << 16
# Sets of keys whose text is remembered; a stream where every object has its own would otherwise grow without bound.
_REMEMBERED_KEYS = 64


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


def records(
    stream: ByteStream,
    source: str,
    text_column: str | None = None,
    *,
    full: bool = False,
    template: Template | None = None,
) -> Iterator[list[Record]]:
    """Yield the records of ``stream`` in order, in chunks.

    Args:
        stream: Bytes in UTF-8; lines end with LF or CR LF.
        source: What to call it in errors.
        text_column: Key of the text in JSON objects; default: the first of the usual names that is there.
        full: Fill each chunk to FULL_CHUNK_LINES or FULL_CHUNK_BYTES, so that chunks depend on nothing but the content;
            default: yield at most CHUNK_LINES as soon as they are complete.
        template: Makes the text of one of several keys.

    Raises:
        DataError: With the line: it is not UTF-8, holds NUL, is not the JSON the first line promised, or lacks a text.
            The lines before it have been yielded.
    """
    from tailtune.data.columns import Wanted
    from tailtune.data.decode import decode

    wanted = Wanted(text_column=text_column, labelled=False).read_by(template)
    joins = template if wanted.joined else None
    as_json: bool | None = None
    positions: dict[tuple[str, ...], int] = {}
    for chunk in _full_chunks(_arriving(stream)) if full else _chunks(_arriving(stream)):
        found: list[Record] = []
        try:
            for number, raw in chunk:
                line = decode(raw.removesuffix(b"\r"), source, first_line=number)
                if as_json is None and line.strip():
                    as_json = _is_json(line)
                if not as_json:
                    text = line if joins is None else joins.of_row(line, f"{source}:{number}")
                    found.append(Record(line=number, text=text))
                elif line.strip():
                    found.append(_from_json(line, (source, number), wanted, positions, joins))
        except DataError:
            yield found  # however lines fall into chunks, those before a broken one are answered
            raise
        yield found


def _arriving(stream: ByteStream) -> Iterator[list[bytes]]:
    rest: list[
        bytes
    ] = []  # of a line whose end has not come; joined once, or a line of a gigabyte would cost its square
    while block := stream.read1(_BLOCK_BYTES):
        first, *lines = block.split(b"\n")
        rest.append(first)
        if lines:
            last = lines.pop()
            yield [b"".join(rest), *lines]
            rest = [last]
    last = b"".join(rest)
    yield [last] if last else []


def _chunks(arriving: Iterable[list[bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    number = 0
    for lines in arriving:
        for start in range(0, len(lines), CHUNK_LINES):
            chunk = lines[start : start + CHUNK_LINES]
            yield [(number + place, line) for place, line in enumerate(chunk, start=1)]
            number += len(chunk)


def _full_chunks(arriving: Iterable[list[bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    chunk: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(itertools.chain.from_iterable(arriving), start=1):
        chunk.append((number, line))
        size += len(line)
        if len(chunk) == FULL_CHUNK_LINES or size >= FULL_CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    yield chunk


def _is_json(line: str) -> bool:
    """Return whether a first line promises JSON: it is an object or a string, or opens as an object and is broken."""
    if line.lstrip().startswith('{"'):
        return True
    try:
        return isinstance(json.loads(line), dict | str)
    except (ValueError, RecursionError):
        return False


def _from_json(
    line: str,
    place: tuple[str, int],
    wanted: Wanted,
    positions: dict[tuple[str, ...], int],
    joins: Template | None,
) -> Record:
    """The record in ``line``; ``positions`` remembers which of the same keys is the text."""
    from tailtune.data.columns import choose_columns
    from tailtune.data.structured import load_json, plain_value, text_value

    source, number = place
    content = load_json(line, source, number)
    if isinstance(content, str):
        text = content if joins is None else joins.of_row(content, f"{source}:{number}")
        return Record(line=number, text=require_text(text, source, number))
    if not isinstance(content, dict):
        raise DataError("expected a JSON object or string, as in the first line", path=source, line=number)
    kept = {"id": content["id"]} if "id" in content else {}
    if joins is not None:
        cells = {key: plain_value(value) for key, value in content.items()}
        text = joins.of_row(cells, f"{source}:{number}")
        return Record(line=number, text=require_text(text, source, number), kept=kept)
    keys = tuple(content)
    if keys not in positions:
        if len(positions) == _REMEMBERED_KEYS:
            positions.clear()
        positions[keys] = choose_columns(keys, wanted, f"{source}:{number}")[0]
    text = text_value(content[keys[positions[keys]]], source, number)
    return Record(line=number, text=require_text(text, source, number), kept=kept)
