"""Words and letters counted: the class scores of a linear classifier on TF-IDF, without the library that fits it.

Importing scikit-learn takes a second, which a single answer would wait for. The counting here
is that of its ``TfidfVectorizer`` and is compared with it on texts made to trip it up. Knows nothing about models.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["word", "char"]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Single words and pairs; pieces of 2 to 5 letters inside words, of which the blanks around a word are two.
SIZES: Mapping[Kind, tuple[int, int]] = {"word": (1, 2), "char": (2, 5)}
_WORD = re.compile(r"(?u)\b\w\w+\b")


def ngrams_of(text: str, kind: Kind) -> Iterator[str]:
    """Yield the n-grams of a text, as often as they occur: of letters, as ``char_wb`` of scikit-learn has them.

    Args:
        text: Any.
        kind: What is counted.
    """
    text = text.lower()
    if kind == "word":
        words = _WORD.findall(text)
        yield from words
        yield from (f"{first} {second}" for first, second in itertools.pairwise(words))
        return
    low, high = SIZES[kind]
    for bare in text.split():
        word = f" {bare} "
        for size in range(low, high + 1):
            yield from (word[at : at + size] for at in range(max(1, len(word) - size + 1)))
            if size >= len(word):  # a short word is counted whole once
                break


@dataclass(frozen=True, kw_only=True, slots=True)
class NgramModel:
    """A linear classifier on logarithmic counts times rarity, each text's vector of length 1.

    Attributes:
        kind: What is counted.
        vocabulary: [V] n-grams.
        rarity: [V] inverse document frequency of each.
        weight: [V, K] weights of the classes in ``classes``.
        classes: [K] the classes that have weights: of two classes one is enough, one never seen has none.
        bias: [C] added to the scores; -inf for a class that cannot be, inf for a label that every text has.
    """

    kind: Kind
    vocabulary: tuple[str, ...]
    rarity: Floats
    weight: Floats
    classes: tuple[int, ...]
    bias: Floats
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {ngram: place for place, ngram in enumerate(self.vocabulary)}
        held, outputs = len(places), len(self.classes)
        if self.kind not in SIZES:
            raise ValueError(f"n-grams of {self.kind!r} are not known")
        if held != len(self.vocabulary) or self.rarity.shape != (held,) or self.weight.shape != (held, outputs):
            raise ValueError(
                f"{len(self.vocabulary)} n-grams, {held} of them different, with rarities {self.rarity.shape} "
                f"and weights {self.weight.shape} of {outputs} classes"
            )
        if self.bias.ndim != 1 or not all(0 <= number < len(self.bias) for number in self.classes):
            raise ValueError(f"weights of classes {self.classes}, and {self.bias.shape} scores to add them to")
        object.__setattr__(self, "_places", places)

    def scores(self, texts: Sequence[str]) -> Doubles:
        """Return [N, C] class scores: their softmax, or the sigmoid of each, is the answer.

        Args:
            texts: N of them, read whole.
        """
        out = np.tile(self.bias.astype(np.float64), (len(texts), 1))
        if self.vocabulary:
            for row, text in zip(out, texts, strict=True):
                row[list(self.classes)] += self._weighed(text)
        return out

    def _weighed(self, text: str) -> Doubles:
        """[K] the product of a text's vector and the weights."""
        places = self._places
        counts = Counter(places[ngram] for ngram in ngrams_of(text, self.kind) if ngram in places)
        if not counts:
            return np.zeros(len(self.classes))
        at = np.fromiter(counts, dtype=np.int64, count=len(counts))
        counted = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
        vector = (1 + np.log(counted)) * self.rarity[at]
        vector /= math.sqrt(float(vector @ vector))
        return np.asarray(vector @ self.weight[at], dtype=np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name, to be saved beside ``kind``, ``vocabulary`` and ``classes``."""
        return {"rarity": self.rarity, "weight": self.weight, "bias": self.bias}
