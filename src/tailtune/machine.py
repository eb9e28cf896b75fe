"""What this machine has for us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """Return how many processor cores this process may use, at least 1: those it may run on, within its quota.

    Of a quota of 1.5 cores that is 1: who computes on more threads than the quota has cores is stopped, all of it,
    until the period of 0.1 s ends.

    Args:
        root: Where the system's files are.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([count, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Cores that the control groups of this process allow, its own and those around it; as Linux containers have."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        files: tuple[str, ...]
        if not controllers:
            base, files = root / "sys/fs/cgroup", ("cpu.max",)
        elif "cpu" in controllers.split(","):
            base, files = root / "sys/fs/cgroup/cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        else:
            continue
        inside = Path(path.lstrip("/"))
        # In a container its own group may be mounted at the top while the path is that of the host.
        for folder in {base / inside, *(base / outer for outer in inside.parents), base}:
            numbers = " ".join(_read(folder / file) for file in files).split()
            if len(numbers) == 2 and all(number.isdigit() for number in numbers) and int(numbers[1]):  # else "max", -1
                yield int(numbers[0]) / int(numbers[1])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
