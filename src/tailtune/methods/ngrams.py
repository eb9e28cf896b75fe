"""Words or letters counted, as a member of a blend or a classifier alone. Imported by prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tailtune.methods.blend import Doubles
from tailtune.progress import Progress, silent
from tailtune.text.ngrams import Kind, NgramModel

_NAMES: Mapping[Kind, str] = {"word": "word n-grams", "char": "character n-grams"}


@dataclass(frozen=True, slots=True)
class NgramMember:
    """A classifier that counts; it reads every text whole, however long, on the processor.

    Attributes:
        model: Fitted.
    """

    model: NgramModel

    @property
    def name(self) -> str:
        """What people call it."""
        return _NAMES[self.model.kind]

    @property
    def method(self) -> str:
        """What it is."""
        return "ngrams"

    def on(self, device: str) -> Self:
        """Return itself: it needs no device."""
        return self

    def scores(self, texts: Sequence[str], progress: Progress = silent) -> Doubles:
        """Return [N, C] class scores; see ``NgramModel.scores``."""
        return self.model.scores(texts)
