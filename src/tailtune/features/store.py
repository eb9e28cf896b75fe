"""The feature store: what the backbone gave for each distinct text, on disk, so that it is never computed twice.

A text is known by the hash of its token ids; a store belongs to one backbone (its weights, its dtype). Results lie in
segments, folders that are renamed into place when whole, so a pass that is killed loses at most one segment and two
processes can write side by side. Knows nothing about labels.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError
from tailtune.features.backbone import Backbone, Floats, Piece, Wanted
from tailtune.progress import Progress, silent
from tailtune.storage import canonical_json, require_room, sha256_bytes, write_json, writing_folder
from tailtune.text.tokenizer import Tokens

FORMAT = 1
# A segment is closed after this many tokens: on two cores about half a minute of work is lost to a kill at worst.
SEGMENT_TOKENS = 32_768
# A segment under construction that was not touched for so long belongs to a process that was killed.
ABANDONED_SECONDS = 24 * 3600.0

_KEY_BYTES = 16
Indices = NDArray[np.int64]


def text_keys(tokens: Tokens) -> list[bytes]:
    """Return one 16-byte key per text: the hash of its token ids, so equal keys mean equal features."""
    ids, offsets = np.ascontiguousarray(tokens.ids, dtype="<i4").view(np.uint8), tokens.offsets * 4
    view = memoryview(ids)  # type: ignore[arg-type]
    return [
        hashlib.blake2b(view[start:stop], digest_size=_KEY_BYTES).digest()
        for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One whole folder of results, memory-mapped.

    Attributes:
        keys: One key per text held.
        starts: [texts + 1] token offsets of the texts inside the state arrays.
        pooled: Depth -> [texts, 2, D].
        states: Depth -> [tokens, D].
    """

    keys: list[bytes]
    starts: Indices
    pooled: dict[int, Floats]
    states: dict[int, Floats]


class Features:
    """Features of a list of texts, gathered from segments; equal texts share one place.

    Attributes:
        lengths: [texts] tokens per text.
        computed_texts: Distinct texts that had to be computed for this call.
        computed_tokens: Their tokens.
        distinct_texts: Different texts among those asked for.
    """

    def __init__(self, keys: list[bytes], lengths: Indices, segments: list[Segment], wanted: Wanted) -> None:
        self._keys = keys
        self._segments = segments
        self._places = {(kind, depth): self._find(kind, depth) for kind, depth in _parts(wanted)}
        self.lengths = lengths
        self.distinct_texts = len(set(keys))
        self.computed_texts = 0
        self.computed_tokens = 0

    def _find(self, kind: str, depth: int) -> tuple[Indices, Indices]:
        """For every text the segment and the row inside it that hold this depth."""
        found: dict[bytes, tuple[int, int]] = {}
        for number, segment in enumerate(self._segments):
            if depth in getattr(segment, kind):
                found.update((key, (number, row)) for row, key in enumerate(segment.keys))
        places = np.array([found[key] for key in self._keys], dtype=np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1]

    @property
    def pooled_width(self) -> int:
        """D, the size of a pooled vector."""
        return next(int(vectors.shape[2]) for segment in self._segments for vectors in segment.pooled.values())

    def pooled(self, depth: int) -> Floats:
        """Return [texts, 2, D], the last and the mean state of each text at ``depth``."""
        numbers, rows = self._places["pooled", depth]
        parts = {number: self._segments[number].pooled[depth] for number in np.unique(numbers).tolist()}
        out = np.empty((len(numbers), *next(iter(parts.values())).shape[1:]), dtype=np.float32)
        for number, part in parts.items():
            here = numbers == number
            out[here] = part[rows[here]]
        return out

    def states(self, depth: int, texts: Indices) -> Floats:
        """Return [T, D], the token states at ``depth`` of the given texts, packed in that order."""
        numbers, rows = self._places["states", depth]
        return np.concatenate([self._text_states(depth, int(numbers[text]), int(rows[text])) for text in texts])

    def _text_states(self, depth: int, number: int, row: int) -> Floats:
        segment = self._segments[number]
        return segment.states[depth][segment.starts[row] : segment.starts[row + 1]]


def _parts(wanted: Wanted) -> Iterator[tuple[str, int]]:
    yield from (("pooled", depth) for depth in wanted.pooled)
    yield from (("states", depth) for depth in wanted.states)


class FeatureStore:
    """Segments of one backbone under one folder.

    Args:
        root: Parent folder of all stores.
        fields: What the features depend on, in clear (weights hash, dtype ...); their hash names the store's folder.
    """

    def __init__(self, root: Path, fields: Mapping[str, Any]) -> None:
        described = {"format": FORMAT, **fields}
        self.folder = root / sha256_bytes(canonical_json(described).encode())[:16]
        if not (self.folder / "store.json").is_file():
            write_json(self.folder / "store.json", described)

    def features(self, backbone: Backbone, tokens: Tokens, wanted: Wanted, *, progress: Progress = silent) -> Features:
        """Return the wanted features of every text, computing those of texts not seen before, each once.

        Args:
            backbone: The one this store belongs to.
            tokens: Ragged token ids of the texts.
            wanted: Depths of pooled vectors and token states.
            progress: Told packed tokens done.

        Raises:
            SetupError: If the disk has no room for them; what was finished stays.
        """
        if wanted.depth > backbone.depth:
            raise ConfigError(f"depth {wanted.depth} asked for, but the model has {backbone.depth} blocks")
        keys = text_keys(tokens)
        segments = self._segments(wanted)
        missing = _missing(keys, segments, wanted)
        if len(missing):
            self._compute(backbone, tokens.take(missing), [keys[text] for text in missing], wanted, progress)
            segments = self._segments(wanted)
        features = Features(keys, tokens.lengths, segments, wanted)
        features.computed_texts = len(missing)
        features.computed_tokens = int(tokens.lengths[missing].sum())
        return features

    def _compute(
        self, backbone: Backbone, tokens: Tokens, keys: list[bytes], wanted: Wanted, progress: Progress
    ) -> None:
        self._remove_abandoned()
        total, done = int(tokens.offsets[-1]), 0
        pooled_bytes = 2 * len(keys) * len(wanted.pooled)
        require_room(
            self.folder, 4 * backbone.width * (pooled_bytes + total * len(wanted.states)), "storing features in"
        )
        pieces = backbone.run(tokens, wanted)
        piece = next(pieces, None)
        while piece is not None:
            with (
                writing_folder(self.folder / f"segment-{uuid.uuid4().hex}") as folder,
                _Writer(folder, wanted) as writer,
            ):
                while piece is not None and writer.tokens < SEGMENT_TOKENS:
                    writer.add(piece, keys, tokens.lengths)
                    done += piece.batch.tokens
                    progress("backbone pass", done, total, "tokens")
                    piece = next(pieces, None)
                writer.finish(backbone.width)

    def _remove_abandoned(self) -> None:
        for folder in self.folder.glob(".segment-*"):
            with contextlib.suppress(FileNotFoundError):  # another process may be quicker
                if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def _segments(self, wanted: Wanted) -> list[Segment]:
        """The whole segments that hold any wanted depth; a damaged one counts as absent."""
        segments = []
        for folder in sorted(self.folder.glob("segment-*")):
            segment = _open(folder)
            if segment and (set(wanted.pooled) & set(segment.pooled) or set(wanted.states) & set(segment.states)):
                segments.append(segment)
        return segments


def _missing(keys: list[bytes], segments: list[Segment], wanted: Wanted) -> Indices:
    """The first place of every distinct text that lacks a wanted depth."""
    first: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    complete = set(first)
    for kind, depth in _parts(wanted):
        complete &= {key for segment in segments if depth in getattr(segment, kind) for key in segment.keys}
    return np.array([place for key, place in first.items() if key not in complete], dtype=np.int64)


class _Writer:
    """Appends pieces to the arrays of a segment under construction."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.tokens = 0
        self._folder = folder
        self._keys: list[bytes] = []
        self._lengths: list[int] = []
        self._files: dict[tuple[str, int], BinaryIO] = {
            part: (folder / f"{part[0]}-{part[1]}.bin").open("wb") for part in _parts(wanted)
        }

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, piece: Piece, keys: list[bytes], lengths: Indices) -> None:
        self._keys += [keys[text] for text in piece.batch.texts]
        self._lengths += lengths[piece.batch.texts].tolist()
        self.tokens += piece.batch.tokens
        for (kind, depth), file in self._files.items():
            file.write(np.ascontiguousarray(getattr(piece, kind)[depth]).data)

    def finish(self, width: int) -> None:
        for file in self._files.values():
            file.flush()
        (self._folder / "keys.bin").write_bytes(b"".join(self._keys))
        (self._folder / "lengths.bin").write_bytes(np.array(self._lengths, dtype="<i8").tobytes())
        manifest = {
            "texts": len(self._keys),
            "tokens": self.tokens,
            "width": width,
            "pooled": [depth for kind, depth in self._files if kind == "pooled"],
            "states": [depth for kind, depth in self._files if kind == "states"],
        }
        (self._folder / "manifest.json").write_text(canonical_json(manifest), encoding="utf-8")


def _open(folder: Path) -> Segment | None:
    """The segment in ``folder``, or None when a file is missing or not as long as the manifest says."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        texts, tokens, width = (int(manifest[name]) for name in ("texts", "tokens", "width"))
        keys = (folder / "keys.bin").read_bytes()
        lengths = np.fromfile(folder / "lengths.bin", dtype="<i8")
        pooled = {depth: _map(folder / f"pooled-{depth}.bin", (texts, 2, width)) for depth in manifest["pooled"]}
        states = {depth: _map(folder / f"states-{depth}.bin", (tokens, width)) for depth in manifest["states"]}
    except (OSError, ValueError, KeyError):
        return None
    if len(keys) != texts * _KEY_BYTES or len(lengths) != texts or int(lengths.sum()) != tokens:
        return None
    starts = np.concatenate(([0], np.cumsum(lengths)))
    split = [keys[i : i + _KEY_BYTES] for i in range(0, len(keys), _KEY_BYTES)]
    return Segment(keys=split, starts=starts, pooled=pooled, states=states)


def _map(path: Path, shape: tuple[int, ...]) -> Floats:
    if path.stat().st_size != 4 * int(np.prod(shape)):
        raise ValueError(f"{path}: {path.stat().st_size} bytes, expected {4 * int(np.prod(shape))}")
    return np.memmap(path, dtype="<f4", mode="r", shape=shape)
