"""Keys and what they mean, on a terminal and through a pipe."""

from __future__ import annotations

import io
import os
import pty
from pathlib import Path

import numpy as np
import pytest

from support.terminal import open_terminal
from tailtune.cli.asking import Asker, Keys, Said, ask, at_once, understood
from tailtune.labelling.answers_file import AnswersFile
from tailtune.labelling.session import Question, Session
from tailtune.labelling.view import View
from tailtune.labels import LabelSet


@pytest.mark.parametrize(
    ("typed", "labels", "said"),
    [
        ("1", ["ham", "spam"], Said(label="ham")),
        ("2", ["ham", "spam"], Said(label="spam")),
        ("3", ["ham", "spam"], Said()),
        ("0", ["ham", "spam"], Said()),
        ("spam", ["ham", "spam"], Said(label="spam")),
        ("SPAM", ["ham", "spam"], Said(label="spam")),
        ("h", ["ham", "spam"], Said(label="ham")),
        ("sp", ["ham", "spam"], Said(label="spam")),
        ("s", ["ham", "spam"], Said(command="skip")),
        ("u", ["ham", "spam"], Said(command="undo")),
        ("q", ["ham", "spam"], Said(command="quit")),
        ("quit", ["ham", "spam"], Said(command="quit")),
        ("s", ["s", "t"], Said(label="s")),
        ("1", ["5", "1"], Said(label="1")),
        ("2", ["5", "1"], Said()),
        ("spa", ["spam", "spade"], Said()),
        ("Ham", ["ham", "HAM"], Said()),
        ("", ["ham", "spam"], Said()),
        ("漢", ["漢字", "かな"], Said(label="漢字")),
    ],
)
def test_what_is_understood(typed: str, labels: list[str], said: Said) -> None:
    """An exact name first, then commands, numbers, names in another case, and beginnings of one name only."""
    assert understood(typed, labels) == said


def test_keys_that_need_no_enter() -> None:
    """Only those with which no longer answer begins."""
    assert at_once(["ham", "eggs"]) == {"1", "2", "s", "u", "q"}
    assert at_once(["ham", "spam"]) == {"1", "2", "u", "q"}
    assert at_once(["1", "2", "10"]) == {"2", "s", "u", "q"}
    assert at_once([f"label {number}" for number in range(10)]) == {"s", "u", "q"}


def sitting(folder: Path, texts: list[str], *, guess: bool = True) -> Session:
    labels = LabelSet(names=("ham", "spam"))
    rows = np.tile((0.25, 0.75), (len(texts), 1)) if guess else None
    view = View(vectors=np.eye(len(texts), dtype=np.float32), labels=labels if guess else None, probabilities=rows)
    return Session(texts, (), view, labels=labels, answers=AnswersFile(folder / "a.csv"), every=0)


def test_lines_from_a_pipe(tmp_path: Path) -> None:
    """Names, numbers, nonsense, undo and skip, one per line; the end of the input is the end of the sitting."""
    session, shown = sitting(tmp_path, ["a", "b", "c", "d"]), io.StringIO()
    ask(session, Keys(io.StringIO("1\nwhat\nspam\nu\n\nham\ns\n"), at_once(["ham", "spam"]), shown), Asker(shown))
    assert session.answers.answers == [("a", "ham"), ("b", "ham")]
    assert session.left == 1
    assert "'what' is no label: ham, spam" in shown.getvalue()
    assert "1 ham   25.0 %  ██████\n" in shown.getvalue()
    assert "1 labelled (ham 1, spam 0), 3 left" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()


def test_quit_and_nothing_to_undo(tmp_path: Path) -> None:
    """Quitting leaves the rest; undoing nothing is said."""
    session, shown = sitting(tmp_path, ["a", "b"], guess=False), io.StringIO()
    ask(session, Keys(io.StringIO("u\nq\n1\n"), frozenset(), shown), Asker(shown))
    assert session.answers.answers == []
    assert "nothing to undo in this sitting" in shown.getvalue()
    assert "%" not in shown.getvalue()


def test_what_a_terminal_would_obey_is_not_shown(tmp_path: Path) -> None:
    """Escapes in texts and labels are blanks; line ends and wide characters stay; long texts are cut."""
    session = sitting(tmp_path, ["x"])
    shown = io.StringIO()
    Asker(shown).show(Question(text="one\x1b[31m\ntwo 漢字🎉\x07" + "y" * 5000, guess={}), session)
    assert "one [31m\ntwo 漢字🎉 yyy" in shown.getvalue()
    assert "… (5,017 characters)" in shown.getvalue()
    assert not {"\x1b", "\x07"} & set(shown.getvalue())


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    """Colours unless somebody said no; the words are the same."""
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    with open_terminal() as terminal:
        Asker(terminal.stream).say("漢字 is no label")
    assert ("\x1b[33m" in terminal.raw) != no_color
    assert "漢字 is no label" in terminal.text


def pressed(keys: bytes, single: frozenset[str]) -> tuple[list[str | None], str]:
    """What a terminal's reader understands of keys, and what it echoes."""
    master, slave = pty.openpty()
    found: list[str | None] = []
    echo = io.StringIO()
    with os.fdopen(slave, encoding="utf-8") as stream, Keys(stream, single, echo) as reader:
        os.write(master, keys + b"\x04")
        while not found or found[-1] is not None:
            found.append(reader.read())
    os.close(master)
    return found[:-1], echo.getvalue()


def test_single_keys_on_a_terminal() -> None:
    """One key is an answer; a name ends with Enter and can be mended; wide characters arrive whole."""
    found, echo = pressed("12sphx\x7fm\nu漢字\r".encode(), at_once(["ham", "spam"]))
    assert found == ["1", "2", "sphm", "u", "漢字"]
    assert echo.startswith("1\n2\nsphx\b \bm\nu\n漢字\n")


def test_the_terminal_is_put_back() -> None:
    """After an interruption it echoes and waits for lines as before."""
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with os.fdopen(slave, encoding="utf-8") as stream:
        with pytest.raises(KeyboardInterrupt), Keys(stream, frozenset("1"), io.StringIO()) as keys:
            os.write(master, b"1")
            assert keys.read() == "1"
            assert termios.tcgetattr(slave) != before
            raise KeyboardInterrupt
        assert termios.tcgetattr(slave) == before
    os.close(master)
