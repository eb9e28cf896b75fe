"""One record per line, in order, whatever the chunks the bytes arrive in."""

from __future__ import annotations

import io
import json
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.cli.lines import CHUNK_LINES, FULL_CHUNK_BYTES, FULL_CHUNK_LINES, Record, records, require_text
from tailtune.errors import DataError


class Dripping:
    """A stream whose bytes arrive in pieces of the sizes given, then all at once."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._stream = io.BytesIO(data)
        self._sizes = iter(sizes)

    def read1(self, size: int = -1, /) -> bytes:
        return self._stream.read(next(self._sizes, size))


def read(data: bytes, text_column: str | None = None) -> list[Record]:
    return [record for chunk in records(io.BytesIO(data), "stdin", text_column) for record in chunk]


_TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=20)


@given(_TEXTS, st.lists(st.integers(1, 7), max_size=30))
def test_json_lines_come_back_whole_and_in_order(texts: list[str], sizes: list[int]) -> None:
    """Any text survives, line separators of Unicode included, wherever the bytes are cut."""
    data = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    found = [record for chunk in records(Dripping(data, sizes), "stdin") for record in chunk]
    assert [record.text for record in found] == texts
    assert [record.line for record in found] == list(range(1, len(texts) + 1))


def test_plain_lines_are_texts_as_they_stand() -> None:
    """CR LF and LF end a line, nothing else does; a blank line is a blank text, so that answers match lines."""
    data = "one\r\ntwo\u2028still two\n\n  four\x85 \nfive".encode()
    assert [record.text for record in read(data)] == ["one", "two\u2028still two", "", "  four\x85 ", "five"]


def test_json_strings_are_texts() -> None:
    """A file of JSON strings needs no keys; a plain text that opens with a quotation is plain."""
    assert [record.text for record in read(b'"a\\nb"\n"c"\n')] == ["a\nb", "c"]
    assert [record.text for record in read(b'"Hello", she said.\n')] == ['"Hello", she said.']


def test_ids_are_kept_and_blank_lines_between_objects_skipped() -> None:
    """Line numbers stay those of the file; an id may be anything JSON knows, null too."""
    found = read(b'{"text": "a", "id": 7}\n\n{"id": null, "text": "b"}\n{"text": "c"}\n')
    assert [(record.line, record.text, record.kept) for record in found] == [
        (1, "a", {"id": 7}),
        (3, "b", {"id": None}),
        (4, "c", {}),
    ]


def test_the_text_is_found_by_its_usual_names_or_the_given_one() -> None:
    """The aliases are those of labelled files."""
    assert read(b'{"message": "hi"}')[0].text == "hi"
    assert read(b'{"text": "no", "note": "yes"}', "note")[0].text == "yes"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"text": "a"}\nplain\n', "stdin:2: not JSON"),
        (b'{"text": "a"}\n[1]\n', "stdin:2: expected a JSON object or string"),
        (b'{"text": 3}\n', "stdin:1: "),
        (b'{"number": 3}\n', "stdin:1: "),
        (b'{"text": "a"\n', "stdin:1: not JSON"),
        (b"a\nb\xff\n", "stdin:2: broken UTF-8"),
        (b"a\nb\0\n", "stdin:2: NUL"),
        (b'{"text": "a\\u0000"}\n', "stdin:1: NUL"),
        (b'{"text": "a\\ud800"}\n', "stdin:1: half a character"),
        (b'{"text": "a"}\n7\n', "stdin:2: expected a JSON object or string"),
        (b"\xff\xfea\0", "stdin:1: the file is UTF-16"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(data: bytes, said: str) -> None:
    """A stream of thousands of lines can be mended only if the line is named."""
    with pytest.raises(DataError) as caught:
        read(data)
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b'"a"\n"b\\nc"\n', ["a", "b\nc"]),
        (b'"a" she said\n{b\n', ['"a" she said', "{b"]),
        (b"{curly} text\n", ["{curly} text"]),
    ],
)
def test_quotes_and_braces_alone_do_not_make_json(data: bytes, texts: list[str]) -> None:
    """A plain text may begin like JSON; only a whole JSON value on the first line makes the stream JSON lines."""
    assert [record.text for record in read(data)][: len(texts)] == texts


def test_a_byte_order_mark_is_no_text() -> None:
    """Only at the start; it would otherwise hide the first brace."""
    assert read(b'\xef\xbb\xbf{"text": "a"}\n')[0].text == "a"


def test_a_line_is_answered_before_the_next_arrives() -> None:
    """A pipe that stays open: what is complete is handed on at once."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as source:
        chunks = records(stream, "stdin")
        source.write(b"first\nsec")
        # Were the first line held back, next() would wait for ever; the timer then lets the test fail instead.
        timer = threading.Timer(10.0, source.close)
        timer.start()
        assert [record.text for record in next(chunks)] == ["first"]
        timer.cancel()
        source.write(b"ond\n")
        assert [record.text for record in next(chunks)] == ["second"]


def test_chunks_are_bounded() -> None:
    """A million lines at once do not become one batch."""
    chunks = list(records(io.BytesIO(b"x\n" * (2 * CHUNK_LINES + 1)), "stdin"))
    assert max(map(len, chunks)) <= CHUNK_LINES
    assert [record.line for chunk in chunks for record in chunk] == list(range(1, 2 * CHUNK_LINES + 2))


@given(st.lists(st.integers(1, 50_000), max_size=20))
def test_full_chunks_depend_on_the_content_alone(sizes: list[int]) -> None:
    """However the bytes arrive, each chunk but the last is full, so that a second reading cuts at the same lines."""
    data = b"abc\n" * (2 * FULL_CHUNK_LINES + 7)
    chunks = list(records(Dripping(data, sizes), "file", full=True))
    assert [len(chunk) for chunk in chunks] == [FULL_CHUNK_LINES, FULL_CHUNK_LINES, 7]
    assert chunks[2][0].line == 2 * FULL_CHUNK_LINES + 1


def test_full_chunks_of_long_lines_are_bounded_in_bytes() -> None:
    """A chunk ends with the line that makes it large, so it never holds much more than FULL_CHUNK_BYTES."""
    lines = b"x" * 500_000 + b"\n"
    chunks = list(records(io.BytesIO(lines * 20), "file", full=True))
    assert sum(map(len, chunks)) == 20
    sizes = [sum(len(record.text) for record in chunk) for chunk in chunks]
    assert max(sizes) <= FULL_CHUNK_BYTES + 500_000


def test_a_long_file_is_read_as_it_is_consumed() -> None:
    """After one chunk no more than that chunk and one block have been taken from the stream."""
    stream = io.BytesIO(b"abc\n" * (20 * FULL_CHUNK_LINES))
    chunks = records(stream, "file", full=True)
    next(chunks)
    assert stream.tell() <= 4 * FULL_CHUNK_LINES + 2 * (1 << 16)


def test_a_line_of_many_megabytes_is_joined_once() -> None:
    """32 MB in blocks of 64 KB: joined at every block it would copy 8 GB."""
    start = time.process_time()
    (record,) = read(b"x" * 32_000_000)
    assert len(record.text) == 32_000_000
    assert time.process_time() - start < 3


def test_objects_with_keys_in_another_order_give_their_own_text() -> None:
    """What is remembered of one set of keys is not used for another."""
    found = read(b'{"text": "a", "id": "1"}\n{"id": "2", "text": "b"}\n{"text": "c", "id": "3"}\n')
    assert [record.text for record in found] == ["a", "b", "c"]
    many = b"".join(b'{"k%d": 1, "text": "t%d"}\n' % (number, number) for number in range(300))
    assert [record.text for record in read(many)] == [f"t{number}" for number in range(300)]


def test_empty_input_has_no_records() -> None:
    """No lines in, no lines out."""
    assert read(b"") == []


def test_arguments_that_are_no_text_are_refused() -> None:
    """Bytes of a command line that are not UTF-8 arrive as lone surrogates."""
    assert require_text("fine ✓", "text 1") == "fine ✓"
    with pytest.raises(DataError, match="text 1: not valid UTF-8"):
        require_text("caf\udce9", "text 1")
    with pytest.raises(DataError, match="text 1: NUL"):
        require_text("a\0b", "text 1")
