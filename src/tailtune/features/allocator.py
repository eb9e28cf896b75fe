"""Freed memory is kept for the next block instead of going back to the system.

A block frees and allocates the same buffers of 5 to 25 MB again and again. By default glibc maps such buffers afresh
each time, and the system fills every page with zeros first: on two cores that was a third of an int8 pass and a sixth
of an fp32 one (docs/log.md). Elsewhere than on glibc nothing is changed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

# Numbers of mallopt(3), from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST_INT = 2**31 - 1
_PAD = 64 * 1024**2


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the allocator, for the whole process, to keep what is freed; return whether it does.

    A person's own ``MALLOC_*`` or ``GLIBC_TUNABLES`` settings are left alone.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _LARGEST_INT, _TOP_PAD: _PAD}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
