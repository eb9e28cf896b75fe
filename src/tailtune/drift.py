"""How far a classifier's answers have moved from those on its validation rows: the population stability index (PSI).

Training saves how the validation rows were spread (``Reference``, key ``drift`` of metrics.json); whoever answers
counts in the same bins and compares. Knows nothing about texts or models.

PSI is the sum over bins of (q - p) ln(q / p), p and q being the shares of the reference and of what came since. Its
usual reading: below 0.1 nothing to speak of, above 0.25 another population. Both shares are counts of a sample, so the
index is above 0 even where nothing moved: then it is about (1/m + 1/n) times a chi-squared number with bins - 1 degrees
of freedom, m and n being the rows of the two samples. What lies within that noise counts as stable, and where the noise
alone reaches 0.25 nothing is said.

Bins hold equally many validation rows and have no equal widths: most probabilities of a good classifier lie in the
first and the last tenth, within which nothing would be seen, and in bins nearly empty the index is mostly noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]
Reading = Literal["stable", "shifting", "drifted"]

MOST_BINS = 10
# Validation rows of a bin: with fewer the noise of the reference alone would fill the range that means something.
LEAST_ROWS = 20
# Of two bins with 20 rows each the noise is 0.28 whatever is compared with them; of three 0.24.
LEAST_REFERENCE = 3 * LEAST_ROWS
SHIFTING, DRIFTED = 0.1, 0.25
# One in a thousand samples of an unmoved population lies beyond this many standard deviations.
_DEVIATIONS = 3.0902
# Beside each count, so that an empty bin has a finite index; Jeffreys' prior of a share.
_PRIOR = 0.5
NO_LABEL = ""


def psi(expected: Doubles, observed: Doubles) -> float:
    """Return the population stability index of two lists of shares.

    Args:
        expected: [B] above 0, sum 1.
        observed: [B] above 0, sum 1.
    """
    return float(np.sum((observed - expected) * np.log(observed / expected)))


def shares(counts: Indices) -> Doubles:
    """Return [B] shares of counts [B], all above 0."""
    return np.asarray((counts + _PRIOR) / (counts.sum() + _PRIOR * len(counts)))


def noise(bins: int, reference: int, answers: int) -> float:
    """Return what the index of an unmoved population exceeds once in a thousand samples.

    The quantile of chi-squared by Wilson and Hilferty (1931), within 4 %.

    Args:
        bins: At least 2.
        reference: Rows.
        answers: Rows; infinite noise for 0.
    """
    if not reference or not answers:
        return math.inf
    freedom = bins - 1
    part = 2 / (9 * freedom)
    return (1 / reference + 1 / answers) * freedom * (1 - part + _DEVIATIONS * math.sqrt(part)) ** 3


def read(index: float, within: float) -> Reading | None:
    """Return what an index means; None where its noise ``within`` is too large to say."""
    if within > DRIFTED:
        return None
    if index <= max(SHIFTING, within):
        return "stable"
    return "shifting" if index <= DRIFTED else "drifted"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bins:
    """A measure of texts in bins.

    Attributes:
        edges: [B - 1] ascending; a value above an edge lies in a bin behind it.
        rows: [B] of the reference.
    """

    edges: Doubles
    rows: Indices

    @classmethod
    def of(cls, values: Doubles) -> Self:
        """Return bins with about equally many of ``values`` [n], edges halfway between neighbours that differ.

        At most MOST_BINS, each with at least LEAST_ROWS; one bin where the values leave no other choice.
        """
        ordered = np.sort(values)
        changes = np.flatnonzero(np.diff(ordered) > 0) + 1
        places, last, count = [], 0, min(MOST_BINS, len(ordered) // LEAST_ROWS)
        for wanted in range(1, count):
            near = int(changes[np.abs(changes - wanted * len(ordered) / count).argmin()]) if len(changes) else 0
            if near - last >= LEAST_ROWS and len(ordered) - near >= LEAST_ROWS:
                places.append(near)
                last = near
        edges = (ordered[np.array(places, int) - 1] + ordered[np.array(places, int)]) / 2
        return cls(edges=edges, rows=count_in(edges, values))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {"edges": self.edges.tolist(), "rows": self.rows.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what ``as_json`` gave."""
        edges, rows = np.array(value["edges"], np.float64), np.array(value["rows"], np.int64)
        if edges.shape != (rows.size - 1,) or rows.shape != (rows.size,):
            raise ValueError(f"{edges.size} edges of {rows.size} bins")
        return cls(edges=edges, rows=rows)


def count_in(edges: Doubles, values: Doubles) -> Indices:
    """Return [B] how many of ``values`` [n] lie in each bin between ``edges`` [B - 1]."""
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reference:
    """How the validation rows were spread.

    Attributes:
        scores: Label -> its probability.
        confidence: Probability of the label that was given, or of the likeliest where a text can have several.
        lengths: Tokens that were read.
        labels: Label -> rows that it was given to; NO_LABEL -> rows without any. Those with fewer than LEAST_ROWS
            are compared together.
        rows: Of validation.
    """

    scores: Mapping[str, Bins]
    confidence: Bins
    lengths: Bins
    labels: Mapping[str, int]
    rows: int

    @classmethod
    def of(cls, answers: Answered) -> Self | None:
        """Return the spread of ``answers``; None where they are too few for anything ever to be said."""
        if len(answers.lengths) < LEAST_REFERENCE:
            return None
        return cls(
            scores={name: Bins.of(answers.scores[:, at]) for at, name in enumerate(answers.names)},
            confidence=Bins.of(answers.confidence),
            lengths=Bins.of(answers.lengths.astype(np.float64)),
            labels=answers.label_counts(),
            rows=len(answers.lengths),
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {
            "rows": self.rows,
            "scores": {name: bins.as_json() for name, bins in self.scores.items()},
            "confidence": self.confidence.as_json(),
            "lengths": self.lengths.as_json(),
            "labels": dict(self.labels),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], names: Sequence[str]) -> Self:
        """Return what ``as_json`` gave.

        Args:
            value: Of metrics.json.
            names: Labels of the classifier.

        Raises:
            BundleError: If ``value`` cannot be that, or is of other labels.
        """
        try:
            return cls._read(value, names)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"metrics.json: drift: cannot be read: {error}") from error

    @classmethod
    def _read(cls, value: Mapping[str, Any], names: Sequence[str]) -> Self:
        if set(value["scores"]) != set(names):
            raise ValueError(f"of {len(value['scores'])} labels that are not those of the classifier")
        return cls(
            scores={name: Bins.from_json(value["scores"][name]) for name in names},
            confidence=Bins.from_json(value["confidence"]),
            lengths=Bins.from_json(value["lengths"]),
            labels={label: int(value["labels"].get(label, 0)) for label in (*names, NO_LABEL)},
            rows=int(value["rows"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answered:
    """Texts as they were answered.

    Attributes:
        names: C labels, in the order of the probabilities.
        scores: [n, C] probabilities.
        confidence: [n] of the label given, or of the likeliest where a text can have several.
        given: [n][any] labels that each text was given.
        lengths: [n] tokens that were read.
    """

    names: Sequence[str]
    scores: Doubles
    confidence: Doubles
    given: Sequence[Sequence[str]]
    lengths: Indices

    @classmethod
    def of(cls, names: Sequence[str], rows: Doubles, decided: NDArray[Any], lengths: Indices) -> Self:
        """Return texts as the rules of a classifier answer them.

        Args:
            names: C labels.
            rows: [n, C] probabilities.
            decided: [n] ids of the labels given, or [n, C] whether each is given.
            lengths: [n] tokens that were read.
        """
        several = decided.ndim == 2
        numbers = [np.flatnonzero(row).tolist() for row in decided] if several else decided[:, None].tolist()
        return cls(
            names=names,
            scores=rows,
            confidence=rows.max(axis=1) if several else np.take_along_axis(rows, decided[:, None], axis=1)[:, 0],
            given=[[names[number] for number in each] for each in numbers],
            lengths=lengths,
        )

    def label_counts(self) -> dict[str, int]:
        """Return label -> texts that it was given to, NO_LABEL -> texts without any."""
        found = dict.fromkeys((*self.names, NO_LABEL), 0)
        for labels in self.given:
            for label in labels or (NO_LABEL,):
                found[label] += 1
        return found


class Counts:
    """Texts counted in the bins of a reference.

    Args:
        reference: Whose bins.

    Attributes:
        answers: Texts that were counted.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._bins = {("scores", name): bins for name, bins in reference.scores.items()}
        self._bins |= {("confidence", ""): reference.confidence, ("lengths", ""): reference.lengths}
        self._rows = {key: np.zeros_like(bins.rows) for key, bins in self._bins.items()}
        self._labels = dict.fromkeys(reference.labels, 0)
        self.answers = 0

    def add(self, answers: Answered) -> None:
        """Count texts; their order does not matter."""
        values: dict[tuple[str, str], Doubles] = {
            ("confidence", ""): answers.confidence,
            ("lengths", ""): answers.lengths.astype(np.float64),
            **{("scores", name): answers.scores[:, at] for at, name in enumerate(answers.names)},
        }
        for key, column in values.items():
            self._rows[key] += count_in(self._bins[key].edges, column)
        for label, count in answers.label_counts().items():
            self._labels[label] += count
        self.answers += len(answers.lengths)

    def plus(self, other: Counts) -> Counts:
        """Return the counts of both, which have one reference."""
        both = Counts(self._reference)
        both._rows = {key: rows + other._rows[key] for key, rows in self._rows.items()}
        both._labels = {label: count + other._labels[label] for label, count in self._labels.items()}
        both.answers = self.answers + other.answers
        return both

    def compared(self) -> dict[str, tuple[float, float]]:
        """Return measure -> index and its noise; a measure that has one bin only is left out.

        ``scores`` is the mean over the labels, which has no more noise than each of them.
        """
        keys = [key for key, bins in self._bins.items() if len(bins.rows) > 1]
        found: dict[str, list[tuple[float, float]]] = {}
        for key in keys:
            found.setdefault(key[0], []).append(self._index(self._bins[key].rows, self._rows[key]))
        if (pooled := self._pooled()) is not None:
            found["labels"] = [self._index(*pooled)]
        return {name: _mean(each) for name, each in found.items()}

    def _index(self, expected: Indices, observed: Indices) -> tuple[float, float]:
        within = noise(len(expected), self._reference.rows, self.answers)
        return psi(shares(expected), shares(observed)), within

    def _pooled(self) -> tuple[Indices, Indices] | None:
        """Label counts of reference and answers, the rare ones of the reference as one; None for a single one."""
        known = self._reference.labels
        pairs = [(known[label], self._labels[label]) for label in known if known[label] >= LEAST_ROWS]
        rare = [(known[label], self._labels[label]) for label in known if known[label] < LEAST_ROWS]
        rare = [(sum(count for count, _ in rare), sum(count for _, count in rare))]
        together = np.array(pairs + [each for each in rare if any(each)], np.int64).reshape(-1, 2)
        return None if len(together) < 2 else (together[:, 0], together[:, 1])


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    indices, noises = zip(*pairs, strict=True)
    return float(np.mean(indices)), float(np.mean(noises))
