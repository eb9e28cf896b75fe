"""Texts to predict from tables; streams of lines are read in ``tailtune.cli.lines``."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest

from tailtune.data.read import read_texts
from tailtune.errors import DataError


@pytest.mark.parametrize(
    ("name", "content", "texts", "lines"),
    [
        ("a.csv", 'id,text\n1,"x, y"\n2,"two\nlines"\n3,z\n', ("x, y", "two\nlines", "z"), (2, 3, 5)),
        ("a.csv", "message\nhello\nyou\n", ("hello", "you"), (2, 3)),
        ("a.tsv", "text\tlabel\nhello\tham\n", ("hello",), (2,)),
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


def test_files_refused(tmp_path: Path) -> None:
    """A missing file, an empty file, and a table without a text column."""
    with pytest.raises(DataError, match="no such file"):
        read_texts(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="the file is empty"):
        read_texts(tmp_path / "empty.csv")
    (tmp_path / "a.csv").write_text("alpha,beta\n1,2\n")
    with pytest.raises(DataError, match="no text column; columns present: 'alpha', 'beta'"):
        read_texts(tmp_path / "a.csv")
