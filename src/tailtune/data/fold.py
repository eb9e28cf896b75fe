"""What makes two texts near duplicates: equal after folding case, digits, punctuation and white space.

Exact matching of folded texts, no distance: it is symmetric and transitive, so groups are well defined. Knows nothing
about labels or splits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Punctuation, and the symbols of ASCII that unicode calls currency, mathematics or modifiers ($ + < ` ^). Controls and
# format characters go too: the SMS collection holds cp1252 punctuation wrongly decoded to U+0091..U+0096, and
# zero-width characters are white space that shows nothing. Other symbols (emoji) carry meaning and stay.
_DROPPED = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sc", "Sm", "Sk", "Cc", "Cf"}


class _Folding(dict[int, str]):
    """Code point to its folded form, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            folded = "0"
        elif category in _DROPPED and not character.isspace():
            folded = ""
        else:
            folded = character
        self[code] = folded
        return folded


_FOLDING = _Folding()


def fold_text(text: str) -> str:
    """Return ``text`` in lower case, each digit 0, without punctuation, white space collapsed to single blanks.

    A text of which nothing would be left ("!!!") is returned as it is, without outer white space.
    """
    return " ".join(text.casefold().translate(_FOLDING).split()) or text.strip()


def group_ids(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return int64[rows]: the same number for two texts if and only if they fold to the same; 0 is met first."""
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(fold_text(text), len(numbers)) for text in texts), dtype=np.int64)
