"""How many cores a process has: those it may run on, within the quota of its container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tailtune.machine import cores

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def given(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, HERE),
        # version 2, as inside a container: its own group is the top
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, HERE),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "900000000 100000\n"}, HERE),
        # a group around it has the quota, as that of a systemd slice
        (
            {
                "proc/self/cgroup": "0::/system.slice/tailtune.service\n",
                "sys/fs/cgroup/system.slice/cpu.max": "100000 100000\n",
                "sys/fs/cgroup/system.slice/tailtune.service/cpu.max": "max 100000\n",
            },
            1,
        ),
        # version 1, in a container that sees the path of its host
        (
            {
                "proc/self/cgroup": "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            HERE,
        ),
    ],
)
def test_cores(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """The least of what the machine has and what each group allows, rounded down, at least one."""
    assert cores(given(tmp_path, files)) == min(HERE, expected)


@pytest.mark.skipif(HERE < 2, reason="of one core no quota leaves two")
def test_cores_of_a_quota_are_rounded_down(tmp_path: Path) -> None:
    """Of 2.9 cores two: the rest is for whoever takes the requests in."""
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "290000 100000\n"}
    assert cores(given(tmp_path, files)) == 2
