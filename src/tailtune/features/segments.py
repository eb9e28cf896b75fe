"""Segments of a feature store on the disk: what the backbone gave for some texts, a folder that is whole or absent.

A folder holds manifest.json, keys.bin (16 bytes per text), lengths.bin (int64 tokens per text) and one fp32 array per
depth: pooled-<depth>.bin [texts, 2, D], states-<depth>.bin [tokens, D]. Knows nothing of stores or models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats, Piece, Wanted
from tailtune.storage import canonical_json

KEY_BYTES = 16
KEY = np.dtype(f"V{KEY_BYTES}")

Indices = NDArray[np.int64]
Keys = NDArray[np.void]
Part = tuple[str, int]


def parts(wanted: Wanted) -> Iterator[Part]:
    """Yield the arrays that ``wanted`` names: ("pooled", depth) and ("states", depth)."""
    yield from (("pooled", depth) for depth in wanted.pooled)
    yield from (("states", depth) for depth in wanted.states)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One whole folder of results, memory-mapped: what was opened can be read even when the folder is removed.

    Attributes:
        folder: Where it lies.
        keys: [texts] one key per text held.
        starts: [texts + 1] token offsets of the texts inside the state arrays.
        pooled: Depth -> [texts, 2, D].
        states: Depth -> [tokens, D].
    """

    folder: Path
    keys: Keys
    starts: Indices
    pooled: dict[int, Floats]
    states: dict[int, Floats]

    @property
    def parts(self) -> frozenset[Part]:
        """The arrays it holds."""
        return frozenset(parts(Wanted(pooled=tuple(self.pooled), states=tuple(self.states))))


def open_segment(folder: Path, wanted: Wanted) -> Segment | None:
    """Return the wanted depths of the segment in ``folder``.

    None where it holds no such depth, or is not whole: a file is missing, or not as long as the manifest says. Another
    process may remove it at any time.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        texts, tokens, width = (int(manifest[name]) for name in ("texts", "tokens", "width"))
        pooled = {depth: (texts, 2, width) for depth in manifest["pooled"] if depth in wanted.pooled}
        states = {depth: (tokens, width) for depth in manifest["states"] if depth in wanted.states}
        if not pooled and not states:
            return None
        keys = np.fromfile(folder / "keys.bin", dtype=KEY)
        lengths = np.fromfile(folder / "lengths.bin", dtype="<i8")
        if len(keys) != texts or len(lengths) != texts or int(lengths.sum()) != tokens:
            return None
        return Segment(
            folder=folder,
            keys=keys,
            starts=np.concatenate(([0], np.cumsum(lengths))),
            pooled={depth: _map(folder / f"pooled-{depth}.bin", shape) for depth, shape in pooled.items()},
            states={depth: _map(folder / f"states-{depth}.bin", shape) for depth, shape in states.items()},
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _map(path: Path, shape: tuple[int, ...]) -> Floats:
    if path.stat().st_size != 4 * int(np.prod(shape)):
        raise ValueError(f"{path}: {path.stat().st_size} bytes, expected {4 * int(np.prod(shape))}")
    # A plain view of the map: gathering through the memmap class itself costs twice as much per call.
    return np.memmap(path, dtype="<f4", mode="r", shape=shape).view(np.ndarray)


class SegmentWriter:
    """Appends pieces to the arrays of a segment under construction; ``finish`` writes the manifest, last."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.tokens = 0
        self._folder = folder
        self._keys: list[Keys] = []
        self._lengths: list[Indices] = []
        self._files: dict[Part, BinaryIO] = {
            part: (folder / f"{part[0]}-{part[1]}.bin").open("wb") for part in parts(wanted)
        }

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, piece: Piece, keys: Keys, lengths: Indices) -> None:
        """Append what one batch gave.

        Args:
            piece: Of the texts ``piece.batch.texts``.
            keys: [texts] of the whole pass.
            lengths: [texts] of the whole pass.
        """
        self._keys.append(keys[piece.batch.texts])
        self._lengths.append(lengths[piece.batch.texts])
        self.tokens += piece.batch.tokens
        for (kind, depth), file in self._files.items():
            file.write(np.ascontiguousarray(getattr(piece, kind)[depth], dtype="<f4").data)

    def finish(self, width: int) -> None:
        """Make it whole: write keys, lengths and the manifest."""
        for file in self._files.values():
            file.flush()
        keys, lengths = np.concatenate(self._keys), np.concatenate(self._lengths)
        (self._folder / "keys.bin").write_bytes(keys.tobytes())
        (self._folder / "lengths.bin").write_bytes(lengths.astype("<i8").tobytes())
        manifest = {
            "texts": len(keys),
            "tokens": self.tokens,
            "width": width,
            "pooled": [depth for kind, depth in self._files if kind == "pooled"],
            "states": [depth for kind, depth in self._files if kind == "states"],
        }
        (self._folder / "manifest.json").write_text(canonical_json(manifest), encoding="utf-8")
