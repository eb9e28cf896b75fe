"""Large buffers are reused without new page faults, unless the person has chosen otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Page faults of 50 rounds over a buffer of 40 MB (9,766 pages), more than glibc keeps by itself, after a first one.
FAULTS = """
import resource, torch
from tailtune.features.allocator import keep_freed_memory
print(keep_freed_memory())
x = torch.ones(10_000_000); (x * 2).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50): x * 2
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(**environment: str) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=clean | environment, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_buffers_are_reused() -> None:
    """Fifty products of 40 MB touch far fewer new pages; with settings of one's own the allocator is left alone."""
    kept, faults = page_faults()
    if kept == "False":
        pytest.skip("not glibc")
    alone, more = page_faults(MALLOC_ARENA_MAX="2")
    assert alone == "False"
    assert faults < more / 4
