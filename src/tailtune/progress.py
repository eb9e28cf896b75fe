"""How long work tells how far it is.

Knows nothing about terminals: the command line shows it, libraries stay silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

# Told what people should know, a line at a time.
Say = Callable[[str], None]


class Progress(Protocol):
    """Called as work advances; cheap enough for every batch."""

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        """Report ``done`` of ``total`` ``unit`` (for example "tokens") in ``stage`` (for example "backbone pass")."""


def silent(stage: str, done: int, total: int, unit: str) -> None:
    """Show nothing."""


def ignore(note: str) -> None:
    """Say nothing."""
