"""SHA-256 of large files, remembered: reading 14 GB again takes half a minute.

A file is known by its path, size, inode and the times of its last change, of content and of anything; if one of them
differs it is read again. The time of any change (ctime) is the system's own, and cannot be set back.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from tailtune.errors import SetupError
from tailtune.storage import cache_home, locked, sha256_file, write_json

# Smaller files are read again in less than 0.1 s.
REMEMBERED_FROM = 2**26
# Clocks of file systems tick as coarsely as this: a file that was just changed may change again unseen.
SETTLED_SECONDS = 2.0


def remembered_sha256(path: Path, *, smallest: int = REMEMBERED_FROM, settled: float = SETTLED_SECONDS) -> str:
    """Return the SHA-256 of the file's bytes, without reading them where they were read before and nothing changed.

    Args:
        path: The file.
        smallest: Bytes of the smallest file that is remembered.
        settled: Seconds without a change after which a file is remembered.
    """
    path = path.resolve()
    before = _state(path)
    if before["size"] < smallest:
        return sha256_file(path)
    notes = cache_home() / "hashes.json"
    known = _read(notes).get(str(path))
    if isinstance(known, dict) and {**before, "sha256": known.get("sha256")} == known:
        return str(known["sha256"])
    found = sha256_file(path)
    since = time.time_ns() - max(before["modified_ns"], before["changed_ns"])
    if since > 1e9 * settled and _state(path) == before:
        with contextlib.suppress(SetupError):  # a full or read-only disk: it will be read again
            _remember(notes, path, {**before, "sha256": found})
    return found


def _state(path: Path) -> dict[str, int]:
    seen = path.stat()
    return {
        "size": seen.st_size,
        "device": seen.st_dev,
        "inode": seen.st_ino,
        "modified_ns": seen.st_mtime_ns,
        "changed_ns": seen.st_ctime_ns,
    }


def _remember(notes: Path, path: Path, state: dict[str, Any]) -> None:
    """Files that are gone are forgotten."""
    with locked(notes.with_suffix(".lock")):
        kept = {name: known for name, known in _read(notes).items() if os.access(name, os.F_OK)}
        write_json(notes, {**kept, str(path): state})


def _read(notes: Path) -> dict[str, Any]:
    try:
        content = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
