"""Which folded texts are near duplicates: a word replaced, added or left out, or, in longer texts, a few of them.

One word is found exactly: two texts are in one set if they are equal with one place left open. More words are found by
MinHash over pairs of neighbouring words, and each pair found is verified by the exact Jaccard similarity. Both cost
about as much as sorting the words once. Words are what blanks separate. Knows nothing about labels or splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Below four words one word is a third of the text and chains grow without end: with three, the largest group of
# GoEmotions has 721 texts, with four 66 (docs/log.md, 2026-11-24).
LEAST_WORDS = 4
# Ten pairs of words or more; from 0.6 on 99.3 % of the pairs found in 150 intents agree on the label (log, same day).
LEAST_PAIRS = 10
LEAST_SIMILARITY = 0.6
# A pair at similarity 0.6 shares one of 24 bands of 3 hashes with a probability of 99.7 %.
_BANDS, _BAND_HASHES = 24, 3
# Texts of one band that are compared each with each; beyond, each with the first and the one before it.
_EACH_WITH_EACH = 16
_KEYS_AT_ONCE = 1 << 22

# Arithmetic is modulo 2**64; the base is odd, so that it has an inverse and a left-out word closes its gap.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = np.uint64(pow(_BASE, -1, 1 << 64))
_MARK = np.uint64(0xD6E8FEB86659FD93)

_Words = NDArray[np.uint64]
_Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """Sets of texts, each text of a set a near duplicate of each other text in it; a text may be in many sets.

    Attributes:
        sets: int64[n] number of a set, ascending from 0.
        members: int64[n] position of a text in that set.
    """

    sets: _Counts
    members: _Counts

    def __len__(self) -> int:
        return int(self.sets[-1]) + 1 if len(self.sets) else 0


def link(folds: Sequence[str]) -> Links:
    """Return which of ``folds`` (distinct folded texts) are near duplicates of each other, the same on every machine.

    Two texts are if one word more or less, or one word for another, makes them equal and the longer has at least
    LEAST_WORDS words; or if both have at least LEAST_PAIRS distinct pairs of neighbouring words and the Jaccard
    similarity of those is at least LEAST_SIMILARITY.
    """
    if not folds:
        return _numbered([])
    words, offsets = _words(folds)
    return _numbered([*_one_word(words, offsets), *_few_words(words, offsets)])


def join(count: int, links: Iterable[Links]) -> _Counts:
    """Return int64[count]: the same number for texts that a chain of links connects; 0 is met first, without gaps."""
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for linked in links:
        together = linked.sets[1:] == linked.sets[:-1]
        pairs = zip(linked.members[:-1][together].tolist(), linked.members[1:][together].tolist(), strict=True)
        for left, right in pairs:
            low, high = sorted((root(left), root(right)))
            parent[high] = low
    return renumber(np.fromiter(map(root, range(count)), dtype=np.int64, count=count))


def renumber(groups: _Counts) -> _Counts:
    """Return ``groups`` with numbers in the order in which they are met, from 0 without gaps."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[inverse]


def _numbered(parts: Sequence[tuple[_Counts, _Counts]]) -> Links:
    """Return one numbering of the sets in ``parts``, each a run of equal numbers beside its members."""
    sets, members, before = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)], 0
    for numbers, texts in parts:
        if len(numbers):
            sets.append(before + np.cumsum(np.diff(numbers, prepend=numbers[0]) != 0))
            members.append(texts)
            before = int(sets[-1][-1]) + 1
    return Links(sets=np.concatenate(sets), members=np.concatenate(members))


def _words(folds: Sequence[str]) -> tuple[_Words, _Counts]:
    """Return 64 bits for each word of all texts, end to end, and int64[texts + 1] where each text starts."""
    known: dict[str, int] = {}
    ids: list[int] = []
    offsets = [0]
    for fold in folds:
        ids.extend(known.setdefault(word, len(known)) for word in fold.split())
        offsets.append(len(ids))
    # Not hash(): it differs from process to process, and splits must not.
    digests = (hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest() for word in known)
    values = np.fromiter((int.from_bytes(digest) for digest in digests), dtype=np.uint64, count=len(known))
    return values[np.array(ids, dtype=np.int64)], np.array(offsets, dtype=np.int64)


def _one_word(words: _Words, offsets: _Counts) -> Iterator[tuple[_Counts, _Counts]]:
    """Yield the sets of texts that are equal with one place left open, one length after the other."""
    counts = np.diff(offsets)
    places = np.arange(len(words)) - np.repeat(offsets[:-1], counts)
    powers = np.cumprod(np.full(int(counts.max(initial=0)) + 1, _BASE, dtype=np.uint64))
    sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(words * powers[places])))
    by_length = np.argsort(counts, kind="stable")
    lengths, starts = np.unique(counts[by_length], return_index=True)
    texts_of = dict(zip(lengths.tolist(), np.split(by_length, starts[1:]), strict=True))
    nothing = np.empty(0, dtype=np.int64)
    for length, long in texts_of.items():
        if length < LEAST_WORDS:
            continue
        short = texts_of.get(length - 1, nothing)
        wholes = sums[offsets[short + 1]] - sums[offsets[short]]
        step = max(1, _KEYS_AT_ONCE // (len(long) + len(short)))
        for first in range(0, length, step):
            open_at = np.arange(first, min(first + step, length))
            yield _sharing(*_open_keys(sums, offsets[long], length, open_at, long), *_keys(wholes, open_at, short))


def _open_keys(sums: _Words, starts: _Counts, length: int, open_at: _Counts, texts: _Counts) -> tuple[_Words, _Counts]:
    """Return a key for each text of ``length`` words with each of the places ``open_at`` left open."""
    place = starts[:, None] + open_at
    before = sums[place] - sums[starts][:, None]
    after = sums[starts + length][:, None] - sums[place + 1]
    return (before + after * _INVERSE + open_at.astype(np.uint64) * _MARK).ravel(), np.repeat(texts, len(open_at))


def _keys(wholes: _Words, open_at: _Counts, texts: _Counts) -> tuple[_Words, _Counts]:
    """Return the same keys for texts that lack the word at the open place."""
    return (wholes[:, None] + open_at.astype(np.uint64) * _MARK).ravel(), np.repeat(texts, len(open_at))


def _sharing(
    long_keys: _Words, long_texts: _Counts, short_keys: _Words, short_texts: _Counts
) -> tuple[_Counts, _Counts]:
    """Return the sets of texts that share a key. Short texts matter only where a long one has the key too."""
    matched = np.isin(short_keys, long_keys)
    keys = np.concatenate((long_keys, short_keys[matched]))
    texts = np.concatenate((long_texts, short_texts[matched]))
    order = np.argsort(keys, kind="stable")
    keys, texts = keys[order], texts[order]
    numbers = np.cumsum(np.diff(keys, prepend=keys[:1]) != 0)
    kept = np.bincount(numbers)[numbers] > 1
    return numbers[kept], texts[kept]


def _few_words(words: _Words, offsets: _Counts) -> list[tuple[_Counts, _Counts]]:
    """Return pairs of texts whose pairs of neighbouring words are alike, each pair a set of its own."""
    long = np.flatnonzero(np.diff(offsets) > LEAST_PAIRS)
    if len(long) < 2:
        return []
    pairs = _scrambled(words[:-1] * _MARK + words[1:])
    runs = [np.arange(start, stop - 1) for start, stop in zip(offsets[long], offsets[long + 1], strict=True)]
    sizes = np.array([len(run) for run in runs])
    shingles = pairs[np.concatenate(runs)]
    found = _verified(_candidates(shingles, sizes), np.split(shingles, np.cumsum(sizes)[:-1]))
    numbers = np.repeat(np.arange(len(found)), 2)
    return [(numbers, long[found.ravel()])]


def _candidates(shingles: _Words, sizes: _Counts) -> _Counts:
    """Return int64[n, 2] texts that share a band of MinHashes, each pair once, the lower position first."""
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    draws = np.random.Generator(np.random.PCG64(0))  # the same hashes always: a split must be drawn again to the row
    pairs = [np.empty(0, dtype=np.int64)]
    total = len(sizes)
    for _ in range(_BANDS):
        key = np.zeros(total, dtype=np.uint64)
        for _ in range(_BAND_HASHES):
            odd, add = draws.integers(0, 1 << 64, size=2, dtype=np.uint64)
            key = _scrambled(key + np.minimum.reduceat(_scrambled(shingles * (odd | np.uint64(1)) + add), starts))
        order = np.argsort(key, kind="stable")
        pairs.append(_neighbours(key[order], order, total))
    both = np.unique(np.concatenate(pairs))
    return np.stack((both // total, both % total), axis=1)


def _neighbours(keys: _Words, texts: _Counts, total: int) -> _Counts:
    """Return the pairs to compare among texts of equal key, as lower * total + higher."""
    numbers = np.cumsum(np.diff(keys, prepend=keys[:1]) != 0)
    first = np.searchsorted(numbers, numbers)
    found = [np.stack((texts[first], texts))]
    for away in range(1, _EACH_WITH_EACH):
        same = numbers[away:] == numbers[:-away]
        if away > 1:  # in a large set only the neighbour
            same &= np.bincount(numbers)[numbers[away:]] <= _EACH_WITH_EACH
        if not same.any():
            break
        found.append(np.stack((texts[:-away][same], texts[away:][same])))
    low, high = np.sort(np.concatenate(found, axis=1), axis=0)
    return np.asarray((low * total + high)[low < high], dtype=np.int64)


def _verified(candidates: _Counts, shingles: Sequence[_Words]) -> _Counts:
    sets: dict[int, frozenset[int]] = {}

    def of(text: int) -> frozenset[int]:
        if text not in sets:
            sets[text] = frozenset(shingles[text].tolist())
        return sets[text]

    def alike(left: frozenset[int], right: frozenset[int]) -> bool:
        common = len(left & right)
        similar = common >= LEAST_SIMILARITY * (len(left) + len(right) - common)
        return similar and min(len(left), len(right)) >= LEAST_PAIRS

    kept = [pair for pair in candidates.tolist() if alike(of(pair[0]), of(pair[1]))]
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _scrambled(values: _Words) -> _Words:
    # The finaliser of SplitMix64: every bit of a word changes every bit of the result.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
