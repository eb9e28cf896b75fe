"""Whether what a classifier in service is asked still looks like its validation rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailtune.drift import Answered, Counts, Reading, Reference, read
from tailtune.predict import Prediction

# Answers after which a window is begun anew; the one before is still looked at, so that between so many and twice as
# many count. By number and not by time: a service that is asked ten times a day would otherwise never be told.
WINDOW = 2_500
# Answers that are kept before they are counted: one at a time, 77 labels cost a hundred times as much.
_AT_ONCE = 256
MEASURES = ("scores", "labels", "lengths")
_READINGS: tuple[Reading, ...] = ("stable", "shifting", "drifted")


class Drift:
    """Windows over the answers of one version of a classifier.

    Args:
        reference: Of its validation rows; None where the bundle holds none, and then nothing is told.
        window: Answers after which one is begun anew.
    """

    def __init__(self, reference: Reference | None, *, window: int = WINDOW) -> None:
        self._reference, self._window = reference, window
        self._kept: list[Prediction] = []
        self._last = self._now = None if reference is None else Counts(reference)

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Count answers."""
        if self._now is None:
            return
        self._kept += predictions
        if len(self._kept) >= _AT_ONCE:
            self._count()

    def _count(self) -> None:
        assert self._now is not None
        assert self._reference is not None
        kept, self._kept = self._kept, []
        for start in range(0, len(kept), _AT_ONCE):
            self._now.add(_answered(kept[start : start + _AT_ONCE]))
            if self._now.answers >= self._window:
                self._last, self._now = self._now, Counts(self._reference)

    def compared(self) -> tuple[int, dict[str, tuple[float, float]]]:
        """Return how many answers the window holds, and measure -> index and noise; no measure without a reference."""
        if self._now is None or self._last is None:
            return 0, {}
        if self._kept:
            self._count()
        both = self._now if self._last is self._now else self._last.plus(self._now)
        return both.answers, both.compared()

    def as_json(self) -> dict[str, Any]:
        """Return what is told of it; an index whose noise is too large to say anything is None.

        The reading is that of the worst; nothing is stable before all of them can be told.
        """
        answers, compared = self.compared()
        seen = {name: read(*compared[name]) for name in MEASURES if name in compared}
        readings = {name: reading for name, reading in seen.items() if reading is not None}
        told = {name: compared[name] for name in readings}
        overall = max(readings.values(), key=_READINGS.index, default=None)
        if overall == "stable" and len(readings) < len(seen):
            overall = None
        return {
            "answers": answers,
            "psi": {name: told[name][0] if name in told else None for name in MEASURES},
            "reading": overall,
            "said": None if overall is None else _said(answers, told, readings, overall),
        }


def _answered(predictions: Sequence[Prediction]) -> Answered:
    return Answered(
        names=tuple(predictions[0].probabilities),
        scores=np.array([list(each.probabilities.values()) for each in predictions]),
        confidence=np.array([each.confidence for each in predictions]),
        given=[each.given for each in predictions],
        lengths=np.array([each.tokens for each in predictions], np.int64),
    )


def _said(
    answers: int, told: Mapping[str, tuple[float, float]], readings: Mapping[str, Reading], overall: Reading
) -> str:
    """One sentence for people."""
    moved = [name for name, reading in readings.items() if reading == overall]
    shown = ", ".join(f"{name} {told[name][0]:.2f}" for name in moved)
    texts = f"The last {answers:,} texts"
    if overall == "stable":
        return f"{texts} look like the validation rows (PSI: {shown})."
    if overall == "shifting":
        return f"{texts} begin to differ from the validation rows (PSI: {shown})."
    return f"{texts} differ from the validation rows (PSI: {shown}); see whether the answers are still right."
