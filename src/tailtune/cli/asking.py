"""Texts to label on the screen, one by one or as a list, and the keys that answer. Decides nothing."""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

from tailtune.cli.show import bar, line, listing
from tailtune.report.words import UNPRINTABLE

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from tailtune.labelling.session import Question, Session
    from tailtune.labelling.suggest import Suggestions

_COMMANDS: dict[str, Literal["skip", "undo", "quit"]] = {"s": "skip", "u": "undo", "q": "quit"}
_LONGEST = 4000
_TITLE_CHARACTERS = 80
_ERASE = {"\x7f", "\b"}
_END_OF_FILE = "\x04"


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What somebody typed: a label, a command, or neither."""

    label: str | None = None
    command: Literal["skip", "undo", "quit"] | None = None


def understood(typed: str, labels: Sequence[str]) -> Said:
    """Return what ``typed`` means: a label's name, s, u or q, a label's number, or the start of one name only.

    A label whose name is typed exactly always wins: labels may be called 1, s or quit.
    """
    if typed in labels:
        return Said(label=typed)
    if (command := _COMMANDS.get(typed, typed)) in ("skip", "undo", "quit"):
        return Said(command=command)  # type: ignore[arg-type]
    if numbered(labels) and typed.isdecimal() and 1 <= int(typed) <= len(labels):
        return Said(label=labels[int(typed) - 1])
    folded = typed.casefold()
    for near in ([name for name in labels if name.casefold() == folded], _starting(labels, folded)):
        if len(near) == 1:
            return Said(label=near[0])
    return Said()


def _starting(labels: Sequence[str], folded: str) -> list[str]:
    return [name for name in labels if folded and name.casefold().startswith(folded)]


def numbered(labels: Sequence[str]) -> bool:
    """Return whether labels can be answered by number: not where names are numbers themselves."""
    return not any(name.strip().lstrip("-").isdecimal() for name in labels)


def at_once(labels: Sequence[str]) -> frozenset[str]:
    """Return the keys that need no Enter on a terminal: those with which no longer answer begins."""
    keys = {str(number) for number in range(1, len(labels) + 1)} if numbered(labels) and len(labels) <= 9 else set()
    keys |= {name for name in labels if len(name) == 1}
    begun = {name[0].casefold() for name in labels if len(name) > 1}
    return frozenset(key for key in (*keys, *_COMMANDS) if key.casefold() not in begun)


class Keys:
    """Answers from a terminal, where single keys count at once, or lines from a pipe or file; a context manager.

    Args:
        stream: Where they come from.
        single: Keys that need no Enter on a terminal.
        echo: Shows what was typed on a terminal.
    """

    def __init__(self, stream: TextIO, single: AbstractSet[str], echo: TextIO) -> None:
        self._stream = stream
        self._single = single
        self._echo = echo
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        """Hand over each key as it is pressed and show none; Ctrl-C interrupts as ever."""
        if self._stream.isatty():
            import termios
            import tty

            handle = self._stream.fileno()
            self._before = termios.tcgetattr(handle)
            tty.setcbreak(handle, termios.TCSADRAIN)  # not TCSAFLUSH: keys pressed ahead count
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the terminal back."""
        if self._before is not None:
            import termios

            termios.tcsetattr(self._stream.fileno(), termios.TCSADRAIN, self._before)

    def read(self) -> str | None:
        """Return the next answer without blanks around it; None at the end of the input."""
        if self._before is None:
            given = self._stream.readline()
            return given.strip() if given else None
        return self._typed()

    def _typed(self) -> str | None:
        typed, decoder = "", codecs.getincrementaldecoder("utf-8")(errors="ignore")
        while True:
            byte = os.read(self._stream.fileno(), 1)
            key = decoder.decode(byte)
            if not byte or (key == _END_OF_FILE and not typed):
                self._show("\n")
                return None
            if key in ("\r", "\n") or (not typed and key in self._single):
                self._show(f"{key.strip()}\n")
                return (typed + key).strip()
            if key in _ERASE:
                self._show("\b \b" * bool(typed))
                typed = typed[:-1]
            elif key.isprintable():
                self._show(key)
                typed += key

    def _show(self, text: str) -> None:
        self._echo.write(text)
        self._echo.flush()


class Asker:
    """Shows questions.

    Args:
        stream: Where to; colours only on a terminal without NO_COLOR.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._stream = stream
        self._console: Console = Console(file=stream, highlight=False)

    def show(self, question: Question, session: Session) -> None:
        """Print one text, what is guessed, and the keys."""
        counts = session.counts
        told = ", ".join(f"{name} {counts[name]:,}" for name in session.labels.names)
        self._print(f"{counts.total():,} labelled ({told}), {session.left:,} left", "dim")
        self._print(_readable(question.text), "bold")
        with_numbers = numbered(session.labels.names)
        for number, name in enumerate(session.labels.names, start=1):
            share = question.guess.get(name)
            shown = "" if share is None else f"  {100 * share:5.1f} %  {bar(share)}"
            self._print(f"  {f'{number} ' if with_numbers else ''}{UNPRINTABLE.sub(' ', name)}{shown}", "")
        self._stream.write("label, or s skip, u undo, q quit: ")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Print one line."""
        self._print(text, "yellow")

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=not self._console.is_terminal)


def _readable(text: str) -> str:
    """The text with its line ends, without what a terminal would obey, cut where it is very long."""
    shown = "\n".join(UNPRINTABLE.sub(" ", part) for part in text.splitlines())
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(text):,} characters)"


def ask(session: Session, keys: Keys, asker: Asker) -> None:
    """Ask until everything is labelled, or somebody quits or the input ends; every answer is on the disk at once."""
    while (question := session.question()) is not None:
        asker.show(question, session)
        typed = keys.read()
        if typed is None:
            return
        said = understood(typed, session.labels.names)
        if said.command == "quit":
            return
        if said.label is not None:
            session.answer(said.label)
        elif said.command == "skip":
            session.skip()
        elif said.command == "undo":
            if not session.undo():
                asker.say("nothing to undo in this sitting")
        else:
            asker.say(f"{typed!r} is no label: {', '.join(session.labels.names)}")


def show_suggestions(found: Suggestions) -> None:
    """Print the texts to label, shortened, the first first."""
    rows = []
    for number, each in enumerate(found.rows, start=1):
        text = " ".join(UNPRINTABLE.sub(" ", each.text).split())
        short = text if len(text) <= _TITLE_CHARACTERS else f"{text[: _TITLE_CHARACTERS - 1]}…"
        sure = "" if each.confidence is None else f"{100 * each.confidence:.1f} %"
        guess = "" if each.guess is None else ", ".join(each.guess) or "none"
        rows.append((str(number), f"{each.line:,}", guess, sure, short))
    listing(("", "line", "guess", "confidence", "text"), rows)
    line(f"{len(rows):,} texts to label, chosen by {found.by} with {found.source}")
