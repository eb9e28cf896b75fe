"""A classifier that can be looked at, held up and made to fail while it computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tailtune.bundle import Bundle
from tailtune.predict import Prediction, Predictor
from tailtune.progress import Progress, silent


class Watched(Predictor):
    """A classifier that remembers which texts it was asked, batch by batch.

    Args:
        bundle: What to answer with.
        before: Called with the texts of each batch before they are computed; what it raises is what comes of them.

    Attributes:
        asked: Texts of each batch.
        open: Computing waits until it is set, as it is at first.
    """

    def __init__(self, bundle: Bundle, before: Callable[[Sequence[str]], None] = lambda texts: None) -> None:
        super().__init__(bundle)
        self._before = before
        self.asked: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()

    def predict(self, texts: Sequence[str], *, progress: Progress = silent) -> list[Prediction]:
        """Return what the classifier says, after what this one is told to do."""
        self.asked.append(list(texts))
        assert self.open.wait(60)
        self._before(texts)
        return super().predict(texts, progress=progress)

    def times(self, text: str) -> int:
        """Return how often ``text`` was asked."""
        return sum(batch.count(text) for batch in self.asked)
