"""A real pseudo-terminal whose output a test can read."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(kw_only=True)
class Terminal:
    """What was written to it.

    Attributes:
        stream: To write to; a terminal to whoever asks.
        raw: Everything written, once the terminal is closed.
    """

    stream: TextIO
    raw: str = ""
    received: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What was written without colours and cursor moves."""
        return _ESCAPES.sub("", self.raw)


@contextlib.contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Yield a terminal; its ``raw`` is complete when the block ends."""
    master, slave = pty.openpty()
    terminal = Terminal(stream=os.fdopen(slave, "w", encoding="utf-8"))

    def drain() -> None:
        # Linux reports the closing of the other side as an input/output error.
        with contextlib.suppress(OSError):
            while block := os.read(master, 1 << 16):
                terminal.received.append(block)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        yield terminal
    finally:
        terminal.stream.close()
        reader.join()
        os.close(master)
        terminal.raw = b"".join(terminal.received).decode("utf-8")
