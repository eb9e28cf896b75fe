"""The feature store: what the backbone gave for each distinct text, on disk, so that it is never computed twice.

A text is known by the hash of its token ids; a store belongs to one backbone (its weights, its dtype). Results lie in
segments, folders that are renamed into place when whole, so a pass that is killed loses at most one segment and two
processes can write side by side. All stores together stay within the limit of the cache. Knows nothing about labels.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError, SetupError
from tailtune.features.backbone import Backbone, Floats, Wanted
from tailtune.features.cache import make_room, remove_abandoned
from tailtune.features.segments import KEY, KEY_BYTES, Part, Segment, SegmentWriter, open_segment, parts
from tailtune.progress import Progress, silent
from tailtune.storage import cache_limit, canonical_json, require_room, sha256_bytes, write_json, writing_folder
from tailtune.text.tokenizer import Tokens, token_places
from tailtune.text.windows import Windows

FORMAT = 1
# A segment is closed after this many tokens: on two cores about half a minute of work is lost to a kill at worst.
SEGMENT_TOKENS = 32_768
# A large pass is cut into this many segments instead, so that a million texts do not become thousands of small files.
MOST_SEGMENTS = 256

Indices = NDArray[np.int64]
Keys = NDArray[np.void]
Numbers = NDArray[np.int32]


def text_keys(tokens: Tokens) -> Keys:
    """Return [texts] 16-byte keys: the hash of each text's token ids, so equal keys mean equal features."""
    ids, offsets = np.ascontiguousarray(tokens.ids, dtype="<i4").view(np.uint8), (tokens.offsets * 4).tolist()
    view = memoryview(ids)  # type: ignore[arg-type]
    hashes = (
        hashlib.blake2b(view[start:stop], digest_size=KEY_BYTES).digest() for start, stop in itertools.pairwise(offsets)
    )
    return np.fromiter(hashes, dtype=KEY, count=len(tokens))


def whole_keys(keys: Keys, windows: Windows) -> Keys:
    """Return [texts] keys of whole texts: that of its only window, or the hash of those of all its windows.

    Args:
        keys: [windows] from ``text_keys``.
        windows: Which belong to which text.
    """
    if windows.single:
        return keys
    places = [keys[start:stop] for start, stop in itertools.pairwise(windows.offsets.tolist())]
    hashes = (
        own.tobytes() if len(own) == 1 else hashlib.blake2b(own.tobytes(), digest_size=KEY_BYTES).digest()
        for own in places
    )
    return np.fromiter(hashes, dtype=KEY, count=len(places))


class Places:
    """Which segment, and which row in it, holds each wanted array of each distinct text.

    Args:
        distinct: [distinct] ascending keys.
        wanted: Depths that are looked for.

    Attributes:
        wanted: As given.
        segments: Those that hold something of interest.
    """

    def __init__(self, distinct: Keys, wanted: Wanted) -> None:
        self.wanted = wanted
        self.segments: list[Segment] = []
        self._distinct = distinct
        # Arrays of one pass lie side by side, so they share one table: at 30 depths and a million texts 8 MB, not 240.
        nowhere = np.full(len(distinct), -1, dtype=np.int32)
        self._tables: list[tuple[frozenset[Part], Numbers, Numbers]] = [
            (frozenset(parts(wanted)), nowhere, np.zeros_like(nowhere))
        ]

    def add(self, segment: Segment) -> None:
        """Look into one more segment; what is known to lie elsewhere stays there."""
        rows, places = _located(segment.keys, self._distinct)
        if not len(rows):
            return
        tables = []
        for names, numbers, inside in self._tables:
            held, rest = names & segment.parts, names - segment.parts
            if held and rest:
                tables.append((rest, numbers.copy(), inside.copy()))
            if held:
                new = numbers[places] < 0
                numbers[places[new]] = len(self.segments)
                inside[places[new]] = rows[new]
            tables.append((held or rest, numbers, inside))
        self._tables = tables
        self.segments.append(segment)

    def of(self, part: Part) -> tuple[Numbers, Numbers]:
        """Return [distinct] numbers of segments and [distinct] rows inside them; -1 where ``part`` is nowhere."""
        return next((numbers, rows) for names, numbers, rows in self._tables if part in names)

    @property
    def lacking(self) -> NDArray[np.bool_]:
        """[distinct] whether an array of the text is nowhere."""
        lacking = np.zeros(len(self._distinct), dtype=np.bool_)
        for names, numbers, _ in self._tables:
            if names:
                lacking |= numbers < 0
        return lacking

    @property
    def used(self) -> list[Segment]:
        """The segments that something is read from."""
        numbers = np.unique(np.concatenate([numbers for _, numbers, _ in self._tables]))
        return [self.segments[number] for number in numbers.tolist() if number >= 0]


def _located(keys: Keys, among: Keys) -> tuple[Indices, Indices]:
    """The rows of ``keys`` that are in the ascending ``among``, and their places there."""
    if not len(among):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    places = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    rows = np.flatnonzero(among[places] == keys)
    return rows, places[rows]


class Features:
    """Features of a list of texts, or of the windows of texts, gathered from segments; equal ones share one place.

    Args:
        places: Where everything wanted lies.
        distinct: [texts] the place of each text among the distinct ones.
        lengths: [texts] tokens per text.
        tokens: Their ids.

    Attributes:
        lengths: [texts] tokens per text.
        stem: Embeds the texts when states at depth 0 are asked for; None where those were stored like others.
        computed_texts: Distinct texts that had to be computed for this call.
        computed_tokens: Their tokens.
        spared_tokens: Those of them that they share with the first of them, and that were not computed again.
        distinct_texts: Different texts among those asked for.
        windows: Which belong to which text, where they are those of windows; each is a text of its own by default.
    """

    def __init__(self, places: Places, distinct: Indices, lengths: Indices, tokens: Tokens | None = None) -> None:
        self._places = places
        self._distinct = distinct
        self._tokens = tokens
        self.lengths = lengths
        self.stem: Backbone | None = None
        self.windows = Windows.whole(lengths)
        self.distinct_texts = int(distinct.max(initial=-1)) + 1
        self.computed_texts = 0
        self.computed_tokens = 0
        self.spared_tokens = 0

    @property
    def pooled_depths(self) -> tuple[int, ...]:
        """Depths at which ``pooled`` has vectors."""
        return self._places.wanted.pooled

    @property
    def pooled_width(self) -> int:
        """D, the size of a pooled vector and of a token state."""
        if self.stem is not None:
            return self.stem.width
        arrays = (
            array for segment in self._places.segments for array in (*segment.pooled.values(), *segment.states.values())
        )
        return int(next(arrays).shape[-1])

    def pooled(self, depth: int) -> Floats:
        """Return [texts, 2, D], the state at the token that is read and the mean state of each text at ``depth``."""
        numbers, rows = self._of(("pooled", depth), self._distinct)
        out = np.empty((len(numbers), 2, self.pooled_width), dtype=np.float32)
        for segment, texts in self._by_segment(numbers):
            out[texts] = segment.pooled[depth][rows[texts]]
        return out

    def states(self, depth: int, texts: Indices) -> Floats:
        """Return [T, D], the token states at ``depth`` of the given texts, packed in that order."""
        if depth == 0 and self.stem is not None:
            return self.stem.embed(self._take(texts))
        numbers, rows = self._of(("states", depth), self._distinct[texts])
        lengths = self.lengths[texts]
        ends = np.cumsum(lengths)
        out = np.empty((int(lengths.sum()), self.pooled_width), dtype=np.float32)
        # Runs of texts that lie in one segment are copied once, straight to where they belong. Batches and segments are
        # both sorted by length, so runs are few.
        for run in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(numbers)) + 1):
            segment = self._places.segments[numbers[run[0]]]
            inside = token_places(segment.starts[rows[run]], lengths[run])
            here = out[ends[run[0]] - lengths[run[0]] : ends[run[-1]]]
            np.take(segment.states[depth], inside, axis=0, out=here, mode="clip")  # "raise" would copy through a buffer
        return out

    def ids(self, texts: Indices) -> Numbers:
        """Return [T] token ids of the given texts, packed in that order."""
        return self._take(texts).ids

    def embedded_by(self, stem: Backbone) -> Features:
        """Return these features with states at depth 0 that ``stem`` looks up when they are asked for."""
        other = copy.copy(self)
        other.stem = stem
        return other

    def _take(self, texts: Indices) -> Tokens:
        if self._tokens is None:
            raise ValueError("these features were gathered without the token ids")
        return self._tokens.take(texts)

    def _of(self, part: Part, distinct: Indices) -> tuple[Numbers, Numbers]:
        numbers, rows = self._places.of(part)
        return numbers[distinct], rows[distinct]

    def _by_segment(self, numbers: Numbers) -> Iterator[tuple[Segment, Indices]]:
        """Each segment that is read, with the places in ``numbers`` that read it."""
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        for number, places in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            yield self._places.segments[number], places


class FeatureStore:
    """Segments of one backbone under one folder.

    Args:
        root: Parent folder of all stores.
        fields: What the features depend on, in clear (weights hash, dtype ...); their hash names the store's folder.

    Raises:
        ConfigError: If the limit of the cache (TAILTUNE_CACHE_LIMIT) cannot be read.
    """

    def __init__(self, root: Path, fields: Mapping[str, Any]) -> None:
        described = {"format": FORMAT, **fields}
        self.folder = root / sha256_bytes(canonical_json(described).encode())[:16]
        self._limit = cache_limit()
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
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        places = self._known(distinct, wanted)
        missing = np.sort(first[places.lacking])
        if len(missing):
            self._compute(backbone, tokens.take(missing), keys[missing], places, progress)
        if places.lacking.any():
            raise SetupError(f"features just written to {self.folder} cannot be read back", hint="is the disk sound?")
        features = Features(places, inverse, tokens.lengths, tokens)
        features.computed_texts = len(missing)
        features.computed_tokens = int(tokens.lengths[missing].sum())
        features.spared_tokens = backbone.shared(tokens) * max(0, len(missing) - 1)
        return features

    def lacking_tokens(self, tokens: Tokens, wanted: Wanted) -> int:
        """Return the tokens of the distinct texts that are not there, which ``features`` would compute.

        Args:
            tokens: Ragged token ids of the texts.
            wanted: Depths of pooled vectors and token states.
        """
        distinct, first = np.unique(text_keys(tokens), return_index=True)
        return int(tokens.lengths[first[self._known(distinct, wanted).lacking]].sum())

    def _known(self, distinct: Keys, wanted: Wanted) -> Places:
        """What lies in whole segments; a damaged one counts as absent. Those that are read count as used now."""
        places = Places(distinct, wanted)
        for folder in sorted(self.folder.glob("segment-*")):
            segment = open_segment(folder, wanted)
            if segment is not None:
                places.add(segment)
        for segment in places.used:
            with contextlib.suppress(OSError):  # removed meanwhile, or somebody else's: it is open all the same
                os.utime(segment.folder)
        return places

    def _compute(self, backbone: Backbone, tokens: Tokens, keys: Keys, places: Places, progress: Progress) -> None:
        """Compute all ``tokens`` and add their segments to ``places`` as they are finished."""
        wanted, total, done = places.wanted, int(tokens.offsets[-1]), 0
        needed = 4 * backbone.width * (2 * len(keys) * len(wanted.pooled) + total * len(wanted.states))
        self._make_room(needed, places)
        require_room(self.folder, needed, "storing features in")
        tokens_each = max(SEGMENT_TOKENS, total // MOST_SEGMENTS)
        pieces = backbone.run(tokens, wanted)
        lengths = tokens.lengths
        piece = next(pieces, None)
        while piece is not None:
            place = self.folder / f"segment-{uuid.uuid4().hex}"
            with writing_folder(place) as folder, SegmentWriter(folder, wanted) as writer:
                while piece is not None and writer.tokens < tokens_each:
                    writer.add(piece, keys, lengths)
                    done += piece.batch.tokens
                    progress("backbone pass", done, total, "tokens")
                    piece = next(pieces, None)
                writer.finish(backbone.width)
            # Opened at once: what another process may remove later to make room can still be read here.
            segment = open_segment(place, wanted)
            if segment is not None:
                places.add(segment)

    def _make_room(self, needed: int, places: Places) -> None:
        remove_abandoned(self.folder.parent)
        keep = {segment.folder for segment in places.used}
        make_room(self.folder.parent, limit=self._limit - needed, keep=keep)
