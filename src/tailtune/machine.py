"""What this machine has for us."""

from __future__ import annotations

import os


def cores() -> int:
    """Return how many processor cores this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
