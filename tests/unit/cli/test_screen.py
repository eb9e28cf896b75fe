"""Notes and bars appear where a person looks, and nowhere else."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from support.terminal import open_terminal
from tailtune.cli.screen import PATIENCE_SECONDS, Screen, clock_text, decorated, show_error


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def terminal_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def work(screen: Screen, clock: Clock, *, seconds: float, steps: int = 10) -> None:
    """Report ``steps`` steps of 100 tokens, spread over ``seconds``."""
    for step in range(steps + 1):
        screen.progress("backbone pass", 100 * step, 100 * steps, "tokens")
        clock.now += seconds / steps


def test_long_work_shows_count_rate_and_time_left() -> None:
    """Ten seconds for 1,000 tokens: at half way 5 s are left, at the end the whole time is said."""
    clock = Clock()
    with open_terminal() as terminal, Screen(stream=terminal.stream, clock=clock) as screen:
        for step in range(6):
            screen.progress("backbone pass", 100 * step, 1000, "tokens")
            clock.now += 1.0
        screen._shown_bars().refresh()
        screen.progress("backbone pass", 1000, 1000, "tokens")
    assert "backbone pass" in terminal.text
    assert "500/1,000 tokens, 100 tokens/s, 0:05 left" in terminal.text
    assert "1,000 tokens in 0:06" in terminal.text


def test_short_work_shows_no_bar() -> None:
    """Work under PATIENCE_SECONDS ends before a bar could be read."""
    clock = Clock()
    with open_terminal() as terminal, Screen(stream=terminal.stream, clock=clock) as screen:
        work(screen, clock, seconds=0.9 * PATIENCE_SECONDS)
    assert terminal.raw == ""


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_environment_can_forbid_bars(variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR and a dumb terminal get notes, and no bar."""
    monkeypatch.setenv(*variable)
    clock = Clock()
    with open_terminal() as terminal, Screen(stream=terminal.stream, clock=clock) as screen:
        work(screen, clock, seconds=10)
        screen.say("a note")
    assert terminal.text.split() == ["a", "note"]


def test_quiet_shows_neither_notes_nor_bars() -> None:
    """--quiet means silence, on a terminal too."""
    clock = Clock()
    with open_terminal() as terminal, Screen(quiet=True, stream=terminal.stream, clock=clock) as screen:
        work(screen, clock, seconds=10)
        screen.say("a note")
    assert terminal.raw == ""


def test_a_file_gets_notes_only() -> None:
    """Logs hold lines, not bars."""
    clock, stream = Clock(), io.StringIO()
    with Screen(stream=stream, clock=clock) as screen:
        work(screen, clock, seconds=10)
        screen.say("reading [bold]x[/bold]")
    assert stream.getvalue() == "reading [bold]x[/bold]\n"


def test_notes_stay_whole_above_a_bar() -> None:
    """A path in a note is never broken over two lines, nor its brackets taken for markup."""
    clock, note = Clock(), "reading /" + "deep/" * 40 + "[x].csv"
    with open_terminal() as terminal, Screen(stream=terminal.stream, clock=clock) as screen:
        work(screen, clock, seconds=10)
        screen.say(note)
    assert note in terminal.text


def test_a_stage_may_begin_again() -> None:
    """The same stage for another part starts its own count of time."""
    clock = Clock()
    with open_terminal() as terminal, Screen(stream=terminal.stream, clock=clock) as screen:
        work(screen, clock, seconds=10)
        work(screen, clock, seconds=40)
    assert "1,000 tokens in 0:10" in terminal.text
    assert "1,000 tokens in 0:40" in terminal.text


def test_an_unknown_total_shows_what_is_done() -> None:
    """A download whose size nobody says still shows that it moves."""
    clock = Clock()
    with open_terminal() as terminal, Screen(stream=terminal.stream, clock=clock) as screen:
        for step in range(6):
            screen.progress("download", 10 * step, 0, "MB")
            clock.now += 1.0
    assert "50 MB, 10 MB/s" in terminal.text


def test_errors_are_red_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for the error, one for the hint; colours only where they can be seen."""
    with open_terminal() as terminal:
        monkeypatch.setattr("sys.stderr", terminal.stream)
        show_error("it broke", "mend it")
    assert "\x1b[31merror:\x1b[0m it broke" in terminal.raw
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    show_error("it broke")
    assert stream.getvalue() == "error: it broke\n"
    assert not decorated(stream)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3661, "1:01:01")])
def test_clock_text(seconds: float, text: str) -> None:
    """Minutes and seconds; hours when there are any."""
    assert clock_text(seconds) == text


def test_progress_is_what_libraries_expect() -> None:
    """Screen.progress can be handed to any library function that reports progress."""
    report: Callable[[str, int, int, str], None] = Screen(stream=io.StringIO()).progress
    assert report("reading", 1, 2, "rows") is None  # type: ignore[func-returns-value]
