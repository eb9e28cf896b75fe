"""Texts longer than what is read at once: which part of them is read, and how several windows make one answer.

A text that fits is one window, whatever the rule. Knows counts of tokens and scores; ids and models are somebody
else's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError, ConfigError

Indices = NDArray[np.int64]
Scores = TypeVar("Scores", NDArray[np.float32], NDArray[np.float64])
Labels = TypeVar("Labels", NDArray[np.int64], NDArray[np.float64])
Kind = Literal["truncate-tail", "truncate-head", "windows"]
Merge = Literal["mean", "vote", "max"]

# Most windows that read one token. Memory and time of a text grow with it: 32 times 4 bytes for each of its tokens.
MOST_OVERLAP = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRule:
    """What is read of a text that is too long.

    Attributes:
        kind: ``truncate-tail`` drops the end of the text, ``truncate-head`` its beginning; ``windows`` reads all of it
            in overlapping windows.
        stride: Tokens from the start of one window to that of the next; None for half a window. The last window ends
            with the text, so that none is shorter than the others.
        merge: What makes one answer of the windows' probabilities: the ``mean`` of their logarithms, so that sure
            windows count more than unsure ones; their own mean (``vote``, soft voting); or the largest of each class
            (``max``). What does not sum to 1 is divided by its sum.
    """

    kind: Kind = "truncate-tail"
    stride: int | None = None
    merge: Merge = "mean"

    def within(self, room: int) -> LongRule:
        """Return the rule with its stride settled for windows of ``room`` tokens.

        Args:
            room: Tokens of the text in one window, at least 1.

        Raises:
            ConfigError: If windows would leave tokens out, or read each too often.
        """
        if self.kind != "windows":
            return self
        stride = max(1, room // 2) if self.stride is None else self.stride
        if stride > room:
            raise ConfigError(
                f"--stride {stride} is larger than the window: {room} tokens of a text fit into one, and those between "
                "two windows would not be read",
                hint=f"give 1 to {room}, or raise --max-tokens",
            )
        if stride * MOST_OVERLAP < room:
            least = math.ceil(room / MOST_OVERLAP)
            raise ConfigError(
                f"--stride {stride} would read every token {room // stride} times in windows of {room} tokens",
                hint=f"give {least} or more",
            )
        return replace(self, stride=stride)

    def spans(self, tokens: int, room: int) -> list[tuple[int, int]]:
        """Return (start, stop) of each part of a text that is read.

        Args:
            tokens: Of the text, without special tokens.
            room: Most of them that are read at once, at least 1.
        """
        if tokens <= room:
            return [(0, tokens)]
        if self.kind == "truncate-tail":
            return [(0, room)]
        last = tokens - room
        if self.kind == "truncate-head":
            return [(last, tokens)]
        assert self.stride is not None
        return [(start, start + room) for start in (*range(0, last, self.stride), last)]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps; empty for the default rule."""
        if self == LongRule():
            return {}
        if self.kind != "windows":
            return {"kind": self.kind}
        return {"kind": self.kind, "stride": self.stride, "merge": self.merge}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LongRule:
        """Return the rule that ``as_json`` wrote.

        Raises:
            BundleError: If it is not known.
        """
        rule = cls(**cast("dict[str, Any]", value))
        if rule.kind not in get_args(Kind) or rule.merge not in get_args(Merge):
            raise BundleError(f"rule {rule.kind!r} for long texts is not known", hint="install a newer tailtune")
        return rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How several texts were read: which windows belong to which text.

    Attributes:
        offsets: int64 [texts + 1]; the windows of text i are those from offsets[i] to offsets[i + 1].
        lengths: int64 [texts], tokens of each text that were read, each counted once.
        full_lengths: int64 [texts], tokens of each text.
        merge: How the windows of a text make one answer.
    """

    offsets: Indices
    lengths: Indices
    full_lengths: Indices
    merge: Merge = "mean"

    @classmethod
    def whole(cls, lengths: Indices) -> Windows:
        """Return texts of these lengths, each read whole in one window."""
        return cls(offsets=np.arange(len(lengths) + 1), lengths=lengths, full_lengths=lengths)

    @property
    def counts(self) -> Indices:
        """[texts] windows of each text, at least 1."""
        return np.diff(self.offsets)

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """[texts] whether a part of the text was not read."""
        return self.full_lengths > self.lengths

    @property
    def longer(self) -> NDArray[np.bool_]:
        """[texts] whether the text was too long to be read at once: it was cut, or read in several windows."""
        return self.truncated | (self.counts > 1)

    @property
    def single(self) -> bool:
        """Whether every text is one window: then windows and texts have the same numbers."""
        return int(self.offsets[-1]) == len(self.lengths)

    def of(self, texts: Indices) -> Indices:
        """Return the windows of these texts, one text after the other."""
        if self.single:
            return texts
        starts, counts = self.offsets[texts], self.counts[texts]
        ends = np.cumsum(counts)
        return np.repeat(starts - ends + counts, counts) + np.arange(counts.sum())

    def rows(self, texts: Indices, labels: Labels) -> tuple[Indices, Labels, NDArray[np.float64] | None]:
        """Return the windows of these texts as rows to learn from: which, their labels, and their weights.

        Every window has the label of its text and 1 / the number of its text's windows as its weight, so that every
        text weighs the same; None where all weigh 1.

        Args:
            texts: Which of the texts.
            labels: [texts], or [texts, C], of all of them.
        """
        if self.single:
            return texts, labels[texts], None
        counts = self.counts[texts]
        return self.of(texts), np.repeat(labels[texts], counts, axis=0), np.repeat(1.0 / counts, counts)

    def take(self, texts: Indices) -> Windows:
        """Return those of the given texts, in that order."""
        return replace(
            self,
            offsets=np.concatenate(([0], np.cumsum(self.counts[texts]))),
            lengths=self.lengths[texts],
            full_lengths=self.full_lengths[texts],
        )

    def merged(self, scores: Scores, texts: Indices | None = None) -> Scores:
        """Return [texts, C] class scores whose softmax is the answer; those of a text with one window are untouched.

        Args:
            scores: [windows of the texts, C] class scores, in the order of ``of``.
            texts: Which of them; default: all.
        """
        counts = self.counts if texts is None else self.counts[texts]
        return scores if len(counts) == len(scores) else merge_scores(scores, counts, self.merge)


def merge_scores(scores: Scores, counts: Indices, merge: Merge) -> Scores:
    """Return [texts, C] class scores whose softmax is what ``merge`` makes of the windows' softmax.

    Args:
        scores: [windows, C] class scores, the windows of a text side by side.
        counts: [texts] windows of each, at least 1.
        merge: How.
    """
    starts = np.cumsum(counts) - counts
    logs = scores.astype(np.float64)
    logs -= logs.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    highest = np.maximum.reduceat(logs, starts)
    if merge == "max":
        merged = highest
    elif merge == "mean":
        merged = np.add.reduceat(logs, starts) / counts[:, None]
    else:
        sums = np.add.reduceat(np.exp(logs - np.repeat(highest, counts, axis=0)), starts)
        merged = highest + np.log(sums) - np.log(counts)[:, None]
    alone = counts == 1
    merged[alone] = scores[starts[alone]]
    return merged.astype(scores.dtype)
