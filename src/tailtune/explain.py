"""Which words an answer hangs on: each word left out in turn, and how far the probability of the label falls.

Occlusion, Zeiler and Fergus 2014. Changes do not add up: two words that say the same cover for each other, and two that
say something only together fall both. Never imports training.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tailtune.predict import Predictor
from tailtune.progress import Progress, silent

# More spans than this are not taken in at a glance, and each costs a pass.
MOST_SPANS = 24
# Scripts that put no blanks between words: Thai to Myanmar, Khmer, kana, Han and its extensions. Each sign is a unit.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNITS = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
# Signs that belong to the one before: joiners, variation selectors, skin tones; and marks, by their category.
_ATTACHED = re.compile("[\u200c\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]")

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Highlight:
    """A word, or some that stand together, and what hangs on it.

    Attributes:
        start: Characters before it.
        end: Characters up to its end.
        text: The part of the text between the two.
        change: Probability of the label with it, less the one without it: above 0 speaks for the label.
    """

    start: int
    end: int
    text: str
    change: float

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A text to be explained.

    Attributes:
        text: The text.
        label: Whose probability is followed; None for the label that the classifier gives.
    """

    text: str
    label: str | None = None


def explain(predictor: Predictor, text: str, *, label: str | None = None, most: int = MOST_SPANS) -> list[Highlight]:
    """Return the words of ``text`` in order, each with what leaving it out changes; none for a text without a word.

    The changes do not add up to anything. Longer texts than ``most`` words are taken in groups of words; what lies
    beyond the part of the text that the classifier reads is left out.

    Args:
        predictor: The classifier.
        text: Any text.
        label: Whose probability is followed; by default the label that the classifier gives.
        most: Spans, at least 1; each costs one reading of the text.
    """
    return explain_all(predictor, [Asked(text=text, label=label)], most=most)[0]


def explain_all(
    predictor: Predictor,
    asked: Sequence[Asked],
    *,
    most: int = MOST_SPANS,
    tokens: int | None = None,
    progress: Progress = silent,
) -> list[list[Highlight]]:
    """Return the highlights of several texts, read together.

    Args:
        predictor: The classifier.
        asked: Texts and labels.
        most: Spans of one text, at least 1.
        tokens: Most tokens read in all: long texts get fewer spans then, or none.
        progress: Told tokens done.
    """
    occlusion = Occlusion.of(predictor, asked, most=most, tokens=tokens)
    rows = predictor.predict_proba(occlusion.variants, progress=progress)
    return occlusion.highlights([dict(zip(predictor.labels, row, strict=True)) for row in rows.tolist()])


@dataclass(frozen=True, kw_only=True, slots=True)
class Occlusion:
    """The texts that must be classified to explain some, and what their probabilities say.

    Attributes:
        asked: What is explained.
        spans: Of each text, the words that are left out in turn.
        variants: One after the other, for each text that has spans: the part that is read, then that without each span.
        decide: From the probabilities of a text to the label that the classifier gives it.
    """

    asked: Sequence[Asked]
    spans: Sequence[Sequence[Span]]
    variants: Sequence[str]
    decide: Callable[[Mapping[str, float]], str]

    @classmethod
    def of(
        cls, predictor: Predictor, asked: Sequence[Asked], *, most: int = MOST_SPANS, tokens: int | None = None
    ) -> Occlusion:
        """Return what must be classified; arguments as those of ``explain_all``."""
        parts_read = [_read_part(predictor, one.text) for one in asked]
        texts = [one.text[start:end] for one, (start, end) in zip(asked, parts_read, strict=True)]
        costs = predictor.bundle.tokenizer.read(texts)[1].lengths.tolist()
        spans = [grouped(units(text), count) for text, count in zip(texts, _shares(costs, most, tokens), strict=True)]
        variants = [
            variant
            for text, parts in zip(texts, spans, strict=True)
            if parts
            for variant in (text, *_without(text, parts))
        ]
        placed = [
            [(start + low, start + high) for low, high in parts]
            for parts, (start, _) in zip(spans, parts_read, strict=True)
        ]

        def decide(probabilities: Mapping[str, float]) -> str:
            row = np.array([[probabilities[label] for label in predictor.labels]])
            return predictor.labels[int(predictor.bundle.rules.decide(row)[0])]

        return cls(asked=asked, spans=placed, variants=variants, decide=decide)

    def highlights(self, probabilities: Sequence[Mapping[str, float]]) -> list[list[Highlight]]:
        """Return one list per text asked about: its spans in order, each with what leaving it out changes.

        Args:
            probabilities: Label -> probability of each of ``variants``.
        """
        found: list[list[Highlight]] = []
        rows = iter(probabilities)
        for one, spans in zip(self.asked, self.spans, strict=True):
            if not spans:
                found.append([])
                continue
            whole = next(rows)
            label = self.decide(whole) if one.label is None else one.label
            found.append(
                [
                    Highlight(start=low, end=high, text=one.text[low:high], change=whole[label] - next(rows)[label])
                    for low, high in spans
                ]
            )
        return found


def units(text: str) -> list[Span]:
    """Return the words of ``text`` as (start, end), in order; single signs in scripts without blanks.

    Marks, joiners and variation selectors stay with the sign before them.
    """
    found: list[Span] = []
    for match in _UNITS.finditer(text):
        start, end = match.span()
        first = text[start]
        attached = not first.isascii() and (unicodedata.category(first)[0] == "M" or _ATTACHED.match(first))
        if attached and found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found


def grouped(words: Sequence[Span], most: int) -> list[Span]:
    """Return at most ``most`` spans that together cover ``words``: groups of neighbours, as equal in number as can be.

    Args:
        words: (start, end) in order.
        most: 0 for none.
    """
    count = min(most, len(words))
    bounds = [round(place * len(words) / count) for place in range(count + 1)] if count else []
    return [(words[low][0], words[high - 1][1]) for low, high in itertools.pairwise(bounds)]


def _without(text: str, parts: Sequence[Span]) -> list[str]:
    """The text without each part and the blanks after it, so that no double ones are left."""
    nexts = [start for start, _ in parts[1:]] + [len(text)]
    return [text[:start] + text[after:] for (start, _), after in zip(parts, nexts, strict=True)]


def _shares(costs: Sequence[int], most: int, tokens: int | None) -> list[int]:
    """Spans that each text may have: what cheap texts leave over goes to the dearer ones."""
    if tokens is None:
        return [most] * len(costs)
    counts, left = [0] * len(costs), tokens
    for place, at in enumerate(sorted(range(len(costs)), key=lambda at: (costs[at], at))):
        affordable = left // (len(costs) - place) // costs[at] - 1
        counts[at] = min(most, affordable) if affordable > 1 else 0
        left -= costs[at] * (counts[at] + 1 if counts[at] else 0)
    return counts


def _read_part(predictor: Predictor, text: str) -> Span:
    """Characters that the classifier reads, up to the border of a word or a little more: found by doubling."""
    tokenizer = predictor.bundle.tokenizer
    from_end = tokenizer.long.kind == "truncate-head"

    def part(characters: int) -> Span:
        return (max(0, len(text) - characters), len(text)) if from_end else (0, min(characters, len(text)))

    def cut(characters: int) -> bool:
        start, end = part(characters)
        return bool(tokenizer.read([text[start:end]])[1].truncated[0])

    high = 4 * tokenizer.max_tokens
    while high < len(text) and not cut(high):
        high *= 2
    if high >= len(text) and not cut(len(text)):
        return 0, len(text)
    low, high = 0, min(high, len(text))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cut(middle) else (middle, high)
    return part(high)
