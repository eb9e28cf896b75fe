"""Answers are on the disk at once, can be taken back, and a torn row loses nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailtune.data.read import read_dataset
from tailtune.errors import ConfigError, DataError
from tailtune.labelling.answers_file import AnswersFile

TEXTS = ['say "hi"', "two\nlines", "comma, and\r\nmore", "plain", "ünï 漢字 🎉"]


def filled(path: Path) -> AnswersFile:
    file = AnswersFile(path)
    for number, text in enumerate(TEXTS):
        file.add(text, ("ham", "spam")[number % 2])
    return file


def test_train_reads_what_was_answered(tmp_path: Path) -> None:
    """Quotes, line ends and wide characters come back; so does another sitting."""
    file = filled(tmp_path / "a.csv")
    dataset = read_dataset(file.path)
    assert list(zip(dataset.texts, dataset.labels, strict=True)) == file.answers
    again = AnswersFile(file.path)
    assert again.answers == file.answers
    again.add("more", "ham")
    assert AnswersFile(file.path).answers == [*file.answers, ("more", "ham")]


def test_undo_takes_the_last_answer_off_the_disk(tmp_path: Path) -> None:
    """Down to the header, then there is nothing more."""
    file = filled(tmp_path / "a.csv")
    for left in range(len(TEXTS) - 1, -1, -1):
        assert file.undo() == (TEXTS[left], ("ham", "spam")[left % 2])
        assert AnswersFile(file.path).answers == file.answers
        assert len(file.answers) == left
    assert file.undo() is None


def test_a_file_cut_anywhere_keeps_every_whole_row(tmp_path: Path) -> None:
    """A kill in the middle of writing loses the row that was being written, whatever it holds."""
    file = filled(tmp_path / "a.csv")
    content = file.path.read_bytes()
    ends = []
    for text, label in file.answers:
        part = AnswersFile(tmp_path / "part.csv")
        part.add(text, label)
        ends.append(part.path.stat().st_size)
    cut = tmp_path / "cut.csv"
    for size in range(len('"text","label"\n'), len(content) + 1):
        cut.write_bytes(content[:size])
        whole = sum(size >= end for end in ends)
        opened = AnswersFile(cut)
        assert opened.answers == file.answers[:whole]
        opened.add("new", "ham")
        assert AnswersFile(cut).answers == [*file.answers[:whole], ("new", "ham")]


def test_another_file_is_not_touched(tmp_path: Path) -> None:
    """A table of something else, or a name that is no CSV, is refused before anything is written."""
    other = tmp_path / "other.csv"
    other.write_text("text,label\na,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="is no file of answers"):
        AnswersFile(other)
    assert other.read_text(encoding="utf-8") == "text,label\na,b\n"
    with pytest.raises(ConfigError, match="the answers are CSV"):
        AnswersFile(tmp_path / "a.jsonl")
