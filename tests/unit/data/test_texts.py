"""Texts to predict: files of every form, and streams line by line."""

from __future__ import annotations

import io
import os
from pathlib import Path

import polars
import pytest

from tailtune.data.read import iter_texts, read_texts
from tailtune.errors import DataError


@pytest.mark.parametrize(
    ("name", "content", "texts", "lines"),
    [
        ("a.csv", 'id,text\n1,"x, y"\n2,"two\nlines"\n3,z\n', ("x, y", "two\nlines", "z"), (2, 3, 5)),
        ("a.csv", "message\nhello\nyou\n", ("hello", "you"), (2, 3)),
        ("a.tsv", "text\tlabel\nhello\tham\n", ("hello",), (2,)),
        ("a.jsonl", '{"text": "x"}\n\n"y"\n{"text": ""}\n', ("x", "y", ""), (1, 3, 4)),
        ("a.txt", "plain one\n\nplain, two\r\n", ("plain one", "plain, two"), (1, 3)),
        ("a", "\ufeffplain one\nlast", ("plain one", "last"), (1, 2)),
    ],
)
def test_files(tmp_path: Path, name: str, content: str, texts: tuple[str, ...], lines: tuple[int, ...]) -> None:
    """Texts come with the line where they start; labels that are there do not matter."""
    path = tmp_path / name
    path.write_bytes(content.encode())
    rows = read_texts(path)
    assert (rows.texts, rows.lines) == (texts, lines)
    assert len(rows) == len(texts)


def test_parquet(tmp_path: Path) -> None:
    """Parquet texts come with row numbers, from the column asked for."""
    path = tmp_path / "a.parquet"
    polars.DataFrame({"text": ["no", "no"], "other": ["yes", "too"]}).write_parquet(path)
    rows = read_texts(path, text_column="other")
    assert (rows.texts, rows.lines) == (("yes", "too"), (1, 2))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "a"}\n{"text": "b", "id": 2}\n', [(1, "a"), (2, "b")]),
        (b'"a"\n"b\\nc"\n', [(1, "a"), (2, "b\nc")]),
        (b'"a" she said\n{b\n', [(1, '"a" she said'), (2, "{b")]),
        (b"{curly} text\n", [(1, "{curly} text")]),
        (b"\n  \n  indented\n", [(3, "  indented")]),
        (b"", []),
    ],
)
def test_streams_are_recognised(content: bytes, expected: list[tuple[int, str]]) -> None:
    """The first line that is not blank decides between JSON lines and plain lines."""
    assert list(iter_texts(io.BytesIO(content))) == expected
    assert read_texts(io.BytesIO(content)).texts == tuple(text for _, text in expected)


def test_streams_are_lazy() -> None:
    """A line is answered before the next one is written."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb", buffering=0) as target:
        texts = iter_texts(source)
        target.write(b"first\n")
        assert next(texts) == (1, "first")
        target.write(b"second\n")
        assert next(texts) == (2, "second")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"fine\nbr\0ken\n", "<stdin>:2: NUL byte (byte 3 of the line)"),
        (b"fine\ncaf\xe9\n", "<stdin>:2: broken UTF-8: byte 0xe9 (byte 4 of the line)"),
        (b"\xff\xfea\0", "<stdin>:1: the file is UTF-16"),
        (b'{"text": "a"}\nplain\n', "<stdin>:2: not JSON"),
        (b'{"text": "a"}\n{"text": 1}\n', "<stdin>:2: the text is a number"),
        (b'{"text": "a"}\n{"id": 1}\n', "<stdin>:2: no text column; columns present: 'id'"),
        (b'{"text": "a"}\n7\n', "<stdin>:2: got 7, expected a JSON object or a JSON string"),
        (b'{"text": "\\ud800"}\n', "<stdin>:1: half a character: lone surrogate"),
    ],
)
def test_streams_refused(content: bytes, part: str) -> None:
    """Bad lines are refused by name and line."""
    with pytest.raises(DataError) as caught:
        list(iter_texts(io.BytesIO(content)))
    assert part in str(caught.value)


def test_files_refused(tmp_path: Path) -> None:
    """A missing file, an empty file, and a table without a text column."""
    with pytest.raises(DataError, match="no such file"):
        read_texts(tmp_path / "none.txt")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="the file is empty"):
        read_texts(tmp_path / "empty.txt")
    (tmp_path / "a.csv").write_text("alpha,beta\n1,2\n")
    with pytest.raises(DataError, match="no text column; columns present: 'alpha', 'beta'"):
        read_texts(tmp_path / "a.csv")
