"""Folders in the cache that a manifest vouches for: it is written last, and lists every file with size and hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.storage import sha256_file, write_json

MANIFEST = "source.json"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of ``folder``; empty where there is none that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_whole(folder: Path) -> bool:
    """Say whether every file that the manifest lists is there in its size; hashes are the training's business."""
    try:
        files = read_manifest(folder)["files"].items()
        return all((folder / name).stat().st_size == file["bytes"] for name, file in files)
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def write_manifest(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest of ``folder``: ``about`` and the size and hash of each file.

    Raises:
        SetupError: If it cannot be written.
    """
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(folder.iterdir())
    }
    write_json(folder / MANIFEST, {**about, "files": files})
