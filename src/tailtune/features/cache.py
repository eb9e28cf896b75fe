"""The stores of features as the folder they share: what lies there, how large it is, and what goes when it must shrink.

Segments are removed whole, the longest unused first; a segment counts as used when its folder's time says so.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.storage import folder_bytes, sha256_bytes

# A segment under construction that was not touched for so long belongs to a process that was killed.
ABANDONED_SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One segment on the disk.

    Attributes:
        folder: Where it lies; its parent is its store.
        bytes: Size of its files.
        used: When it was last read or written, in seconds since 1970.
    """

    folder: Path
    bytes: int
    used: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSummary:
    """One store on the disk.

    Attributes:
        folder: Where it lies.
        fields: What its features depend on, as it was written down; empty where that is lost.
        segments: Whole ones, the longest unused first.
        texts: Texts in all segments; one whose depths were computed in several passes counts in each.
    """

    folder: Path
    fields: Mapping[str, Any]
    segments: tuple[Stored, ...]
    texts: int

    @property
    def bytes(self) -> int:
        """Size of all segments."""
        return sum(segment.bytes for segment in self.segments)

    @property
    def used(self) -> float | None:
        """When it was last used, in seconds since 1970; None where it holds nothing."""
        return self.segments[-1].used if self.segments else None


def stored(root: Path) -> list[Stored]:
    """Return every segment of every store under ``root``, the longest unused first."""
    found = []
    for folder in root.glob("*/segment-*"):
        with contextlib.suppress(OSError):  # another process removed it
            found.append(Stored(folder=folder, bytes=folder_bytes(folder), used=folder.stat().st_mtime))
    return sorted(found, key=lambda segment: (segment.used, str(segment.folder)))


def stores(root: Path) -> list[StoreSummary]:
    """Return every store under ``root``, the last used first."""
    segments: dict[Path, list[Stored]] = {folder: [] for folder in root.glob("*") if folder.is_dir()}
    for segment in stored(root):
        segments.setdefault(segment.folder.parent, []).append(segment)
    found = [
        StoreSummary(
            folder=folder,
            fields=_read_json(folder / "store.json"),
            segments=tuple(held),
            texts=sum(int(_read_json(segment.folder / "manifest.json").get("texts", 0)) for segment in held),
        )
        for folder, held in segments.items()
    ]
    return sorted(found, key=lambda store: (-(store.used or 0.0), str(store.folder)))


def _read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def model_names(models: Path) -> dict[str, str]:
    """Return the fingerprint of each model kept under ``models`` and its name, from the hashes beside it.

    It is what tailtune.models.weights.fingerprint computes, without reading the weights.
    """
    names = {}
    for source in sorted([*models.glob("*/source.json"), *models.glob("converted/*/source.json")]):
        manifest = _read_json(source)
        files = manifest.get("files", {})
        hashed = ["config.json", *sorted(name for name in files if name.endswith(".safetensors"))]
        with contextlib.suppress(KeyError, TypeError):
            names[sha256_bytes("\n".join(files[name]["sha256"] for name in hashed).encode())] = str(
                manifest.get("name", source.parent.name)
            )
    return names


def surplus(segments: list[Stored], limit: int, keep: Collection[Path] = ()) -> list[Stored]:
    """Return the segments that must go for the others to fit ``limit`` bytes, the longest unused first.

    Args:
        segments: The longest unused first.
        limit: Bytes.
        keep: Folders that stay in any case.
    """
    excess = sum(segment.bytes for segment in segments) - limit
    gone = []
    for segment in segments:
        if excess <= 0:
            break
        if segment.folder not in keep:
            gone.append(segment)
            excess -= segment.bytes
    return gone


def make_room(root: Path, *, limit: int, keep: Collection[Path]) -> None:
    """Remove the longest unused segments under ``root`` until the rest fits ``limit`` bytes.

    Args:
        root: Parent folder of all stores.
        limit: Bytes; below zero when more is about to be written than may be kept.
        keep: Folders that stay in any case.
    """
    remove(surplus(stored(root), limit, keep))


def remove(segments: Collection[Stored]) -> None:
    """Remove segments. Processes that have one open go on reading it; others find it absent, never half there."""
    for segment in segments:
        leaving = segment.folder.with_name(f".{segment.folder.name}")
        with contextlib.suppress(OSError):  # another process may be quicker
            segment.folder.rename(leaving)
            shutil.rmtree(leaving, ignore_errors=True)


def remove_abandoned(root: Path) -> None:
    """Remove what killed processes left half-written or half-removed in any store under ``root``, after a day."""
    for folder in root.glob("*/.segment-*"):
        with contextlib.suppress(OSError):  # another process may be quicker
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def remove_empty(root: Path) -> None:
    """Remove the folders of stores under ``root`` that hold no segment, whole or under construction."""
    for folder in root.glob("*"):
        if folder.is_dir() and not any(folder.glob("*segment-*")):
            shutil.rmtree(folder, ignore_errors=True)
