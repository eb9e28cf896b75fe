"""Seconds of one call, and places to take a sample at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds that ``work`` took, and what it returned."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def spread(total: int, count: int) -> list[int]:
    """Return at most ``count`` places spread evenly over ``total``, ascending."""
    kept = min(total, count)
    return [int((number + 0.5) * total / kept) for number in range(kept)]
