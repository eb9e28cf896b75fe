"""Rows that quoting loses."""

from __future__ import annotations

from pathlib import Path

from tailtune.data.columns import Wanted
from tailtune.data.dataset import Finding
from tailtune.data.form import quoting_findings
from tailtune.data.read import read_dataset


def said(path: Path, content: str) -> dict[str, Finding]:
    path.write_text(content, encoding="utf-8", newline="")
    return {found.kind: found for found in quoting_findings(read_dataset(path), path, content, Wanted())}


def test_the_two_rows_of_the_sms_collection(sms_spam: Path) -> None:
    """5,574 rows with quoting off, 5,572 with it on: which two vanish, and where the quote opens and closes."""
    text = sms_spam.read_text(encoding="utf-8")
    (found,) = quoting_findings(read_dataset(sms_spam), sms_spam, text, Wanted())
    assert found.kind == "quoting"
    assert len(found.rows) == 2
    assert "all 5,574 rows were read with quoting off; a reader with default quoting gets 5,572" in found.message
    lines = text.split("\n")
    first = found.rows[0] - 1
    assert found.rows == (first + 1, first + 2)
    assert lines[first - 1].split("\t")[1].startswith('"')
    assert '"' in lines[first + 1]
    assert f"the quote that opens in row {first} closes in row {first + 2}" in found.message


def test_rows_are_numbered_without_the_header(tmp_path: Path) -> None:
    """The same with a header line and blank lines between."""
    found = said(tmp_path / "a.tsv", 'label\ttext\nham\tone\n\nham\t"two\nspam\tthree"\nham\tfour\n')
    assert found["quoting"].rows == (3,)
    assert "the quote that opens in row 2 closes in row 3" in found["quoting"].message


def test_quoting_that_is_right_is_not_spoken_of(tmp_path: Path) -> None:
    """Texts of several lines are fine, and so are quotes inside texts."""
    assert said(tmp_path / "a.csv", 'text,label\n"two\nlines",ham\n"say ""hi""",spam\n') == {}
    assert said(tmp_path / "b", 'ham\tsay "hi"\nspam\tone\n') == {}
    assert said(tmp_path / "c.jsonl", '{"text": "a", "label": "b"}\n') == {}


def test_swallowed_rows_are_found(tmp_path: Path) -> None:
    """What a careless reader wrote: three rows in one text, the labels among the words."""
    label_first = said(tmp_path / "a.csv", 'label,text\nham,"one\nham\ttwo\nspam\tthree"\nspam,four\n')
    assert label_first["swallowed_rows"].rows == (1,)
    text_first = said(tmp_path / "b.csv", 'text,label\n"one,ham\ntwo",ham\nthree,spam\n')
    assert text_first["swallowed_rows"].rows == (1,)
