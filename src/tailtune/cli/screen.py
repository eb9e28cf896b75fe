"""What people see on stderr while work goes on: notes, progress bars, the one line of an error.

Knows nothing about commands or results; stdout belongs to them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 2.0
"""Work that ends sooner than this shows no bar."""


def decorated(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that takes colours and moving bars, and nobody said no (NO_COLOR)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show_error(message: str, hint: str | None = None) -> None:
    """Write ``error: …`` and, when there is one, ``hint: …`` to stderr; red on a terminal."""
    red, plain = ("\x1b[31m", "\x1b[0m") if decorated(sys.stderr) else ("", "")
    print(f"{red}error:{plain} {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def clock_text(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(slots=True)
class _Stage:
    started: float
    first: int
    done: int
    bar: TaskID | None = None


class Screen:
    """Notes and progress bars on one stream; use as a context manager so that bars are taken down.

    Args:
        quiet: Show nothing at all.
        stream: Default: stderr.
        clock: Returns seconds; only differences matter.
    """

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._bars_wanted = not quiet and decorated(self._stream)
        self._clock = clock
        self._stages: dict[str, _Stage] = {}
        self._bars: Progress | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, note: str) -> None:
        """Write one note on a line of its own, above any bars."""
        if self._quiet:
            return
        if self._bars is not None:
            self._bars.console.print(note, markup=False, highlight=False, soft_wrap=True)
        else:
            print(note, file=self._stream, flush=True)

    def progress(self, stage: str, done: int, total: int, unit: str) -> None:
        """Show how far ``stage`` is, once it has lasted PATIENCE_SECONDS; a tailtune.progress.Progress."""
        if not self._bars_wanted:
            return
        now = self._clock()
        known = self._stages.get(stage)
        if known is None or done < known.done:  # the same stage begins again, for example for another part
            known = self._stages[stage] = _Stage(started=now, first=done, done=done)
        known.done = done
        elapsed = now - known.started
        if known.bar is None and elapsed < PATIENCE_SECONDS:
            return
        bars = self._shown_bars()
        if known.bar is None:
            known.bar = bars.add_task(stage, total=total or None, said="")
        said = _pace(done, total, unit, elapsed, (done - known.first) / elapsed if elapsed else 0.0)
        bars.update(known.bar, completed=done, said=said)

    def _shown_bars(self) -> Progress:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[said]}"))
            self._bars = Progress(*columns, console=Console(file=self._stream), redirect_stdout=False)
            self._bars.start()
        return self._bars


def _pace(done: int, total: int, unit: str, elapsed: float, rate: float) -> str:
    """Return for example ``512/2,048 tokens, 1,024 tokens/s, 0:02 left``."""
    if total and done >= total:
        return f"{done:,} {unit} in {clock_text(elapsed)}"
    parts = [f"{done:,}/{total:,} {unit}" if total else f"{done:,} {unit}"]
    if rate > 0:
        parts.append(f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s")
        if total:
            parts.append(f"{clock_text((total - done) / rate)} left")
    return ", ".join(parts)
