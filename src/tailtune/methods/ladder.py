"""The ladder of ``--method auto``: what a step up must show on held-out rows, what it may cost, and the record of it.

A rung is taken where the rows that nothing learnt from prefer it with significance to what stands below; in doubt the
simpler one stays. Knows nothing about how any rung is fitted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.features.store import Indices
from tailtune.methods.blend import Doubles, normalised
from tailtune.methods.blending import fit_weights
from tailtune.methods.held_out import dealt
from tailtune.methods.probe import FOLDS
from tailtune.methods.tasks import Task
from tailtune.progress import Say, ignore

# A step up must lower the held-out log loss by so many standard errors of the paired difference, and by this share of
# what it was: thousands of rows make gains significant that nobody would notice.
ERRORS = 2.0
EFFECT = 0.02
# What something far cheaper may cost, in nats: one percent of the probability of the right class. That it costs no
# more must be shown, with ERRORS; that nothing was shown is no reason to ship it. Of a small loss a share.
SPARED = 0.01
SPARED_SHARE = 0.1
# Fewer held-out rows than this choose no weights: those of the chapter's 149 made blends worse (docs/log.md).
FEWEST = 300
# Part of a budget of time that is left for calibration, the test and the report.
KEPT = 0.1
# Weights below this share of all of them are not worth another reading of each text.
SLIGHT = 0.08

Rows = Literal["folds", "validation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What held-out rows say of one classifier.

    Attributes:
        losses: [rows] log loss of each, in nats.
        correct: [rows] whether it is right.
    """

    losses: Doubles
    correct: NDArray[np.bool_]

    @property
    def loss(self) -> float:
        """Mean log loss, in nats."""
        return float(self.losses.mean())

    @property
    def accuracy(self) -> float:
        """Share of the rows that are right."""
        return float(self.correct.mean())

    def gain(self, by: Judged) -> tuple[float, float]:
        """Return by how much the mean log loss falls when ``by`` takes over, and the standard error of that."""
        gains = self.losses - by.losses
        return float(gains.mean()), float(gains.std() / math.sqrt(len(gains)))


def objection(standing: Judged, other: Judged) -> str:
    """Return why ``other`` does not take over, in words; empty where the rows prefer it with significance."""
    gain, error = standing.gain(other)
    if len(standing.losses) < 2 or abs(gain) <= ERRORS * error:
        return "not better with significance"
    if gain < 0:
        return "worse"
    if gain < EFFECT * standing.loss:
        return f"better by less than {100 * EFFECT:g} % of the log loss"
    if other.accuracy < standing.accuracy:
        return "a lower log loss, but fewer rows right"
    return ""


def allowance(standing: Judged) -> float:
    """Return what something far cheaper may cost, in nats."""
    return min(SPARED, SPARED_SHARE * standing.loss)


def spares(standing: Judged, cheaper: Judged) -> bool:
    """Whether the rows show that ``cheaper`` is as good: worse by less than its allowance, and right as often."""
    gain, error = standing.gain(cheaper)
    shown = len(standing.losses) >= FEWEST and gain - ERRORS * error > -allowance(standing)
    return shown and cheaper.accuracy >= standing.accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutRows:
    """Rows by which weights are found and classifiers compared, none of which learnt from them.

    Attributes:
        labels: [rows] class ids, or [rows, C] 0/1.
        groups: [rows] near-duplicates share one.
        task: What the labels pose.
        kind: Whether they were held out fold by fold, or are the validation part.
    """

    labels: Indices
    groups: Indices
    task: Task
    kind: Rows

    def __len__(self) -> int:
        return len(self.labels)

    def judge(self, scores: Doubles) -> Judged:
        """Return what the rows say of [rows, C] scores."""
        losses, correct = self.task.judge(scores, self.labels)
        return Judged(losses=losses, correct=correct)

    def weights(self, scores: Sequence[Doubles]) -> tuple[float, ...]:
        """Return the best weights of some classifiers' [rows, C] scores, those that are slight exactly 0.

        Rounded to what a person types: ``--ship`` with these weights is the same classifier.
        """
        found = np.array(fit_weights(scores, self.labels, self.task))
        kept = np.flatnonzero(found >= SLIGHT * found.sum())
        if len(kept) < len(found):
            again = fit_weights([scores[place] for place in kept.tolist()], self.labels, self.task)
            found = np.zeros(len(found))
            found[kept] = again
        return tuple(np.round(found, 4).tolist())

    def judge_mixed(self, scores: Sequence[Doubles]) -> Judged:
        """Return what the rows say of a sum whose weights other rows found, near-duplicates held out together.

        A classifier alone has one too, an inverse temperature: what calibration would mend anyway decides nothing.
        """
        several = self.labels.ndim == 2
        fold = dealt(self.task.strata(self.labels), self.groups)
        mixed = np.empty_like(scores[0], dtype=np.float64)
        for number in range(FOLDS):
            judged, rest = fold == number, fold != number
            if not rest.any() or not judged.any():
                continue
            weights = fit_weights([each[rest] for each in scores], self.labels[rest], self.task)
            mixed[judged] = weighed(weights, [each[judged] for each in scores], several=several)
        return self.judge(mixed)


def weighed(weights: Sequence[float], scores: Sequence[NDArray[np.floating]], *, several: bool) -> Doubles:
    """Return the weighted sum [rows, C] of the scores of some classifiers; those of weight 0 are not looked at."""
    parts = [w * normalised(each, several=several) for w, each in zip(weights, scores, strict=True) if w > 0]
    return np.asarray(sum(parts), dtype=np.float64)


@dataclass(kw_only=True, slots=True)
class Budget:
    """The time that choosing and training may take.

    Attributes:
        seconds: In all; None for any, but then nothing dear is tried.
        clock: Returns seconds.
        started: By that clock.
    """

    seconds: float | None = None
    clock: Callable[[], float] = time.perf_counter
    started: float = 0.0

    @property
    def given(self) -> bool:
        """Whether a time was asked for."""
        return self.seconds is not None

    @property
    def left(self) -> float:
        """Seconds left, those kept for what comes after not among them."""
        if self.seconds is None:
            return math.inf
        return (1 - KEPT) * self.seconds - (self.clock() - self.started)

    def over(self) -> bool:
        """Return whether nothing is left."""
        return self.left <= 0

    def refusal(self, foreseen: float) -> str:
        """Return why what will take so many seconds is not begun, in words; empty where it fits."""
        if foreseen <= self.left:
            return ""
        return f"about {seconds_said(foreseen)} foreseen, {seconds_said(max(0.0, self.left))} left"


def seconds_said(seconds: float) -> str:
    """Return seconds for people, such as 0.4 s, 12 s or 3 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """One step of the ladder and what became of it.

    Attributes:
        name: For machines: probe, word, char, minilm, blend, tail-1 ...
        title: For people.
        taken: Whether it took over from what stood below.
        why: In words.
        kind: Which held-out rows judged it; None where it was not tried.
        rows: How many of them.
        judged: What they say.
        gain: By how much the mean log loss fell against what stood, in nats, and the standard error of that.
        seconds: Spent on it; None where it was not tried.
        foreseen: Seconds expected before; None where none were.
    """

    name: str
    title: str
    taken: bool
    why: str
    kind: Rows | None = None
    rows: int = 0
    judged: Judged | None = field(default=None, repr=False)
    gain: tuple[float, float] | None = None
    seconds: float | None = None
    foreseen: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the rung for metrics.json."""
        gain, error = self.gain or (None, None)
        return {
            "rung": self.name,
            "title": self.title,
            "taken": self.taken,
            "why": self.why,
            "judged_on": self.kind,
            "rows": self.rows,
            "loss": None if self.judged is None else self.judged.loss,
            "accuracy": None if self.judged is None else self.judged.accuracy,
            "gain": gain,
            "gain_error": error,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "foreseen": None if self.foreseen is None else round(self.foreseen, 3),
        }

    def line(self) -> str:
        """Return the rung in one line."""
        verdict = "taken" if self.taken else "not taken" if self.judged else "not tried"
        said = [f"ladder: {self.title}: {verdict}, {self.why}"]
        if self.judged is not None:
            where = "rows held out in folds" if self.kind == "folds" else "validation rows"
            told = f"log loss {self.judged.loss:.4f}, {100 * self.judged.accuracy:.1f} % of {self.rows:,} {where} right"
            gained = "" if self.gain is None else f", gain {self.gain[0]:+.4f} ± {self.gain[1]:.4f}"
            said.append(told + gained)
        if self.seconds is not None:
            said.append(seconds_said(self.seconds))
        return "; ".join(said)


RULE = (
    f"a rung is taken where rows that nothing learnt from prefer it to what stood: by {ERRORS:g} standard errors of "
    f"the paired gain in log loss, by {100 * EFFECT:g} % of that loss, and without a loss of accuracy"
)


@dataclass(kw_only=True, slots=True)
class Ladder:
    """The rungs so far.

    Attributes:
        budget: Of time.
        say: Told each rung as it is decided.
        rungs: In order.
    """

    budget: Budget = field(default_factory=Budget)
    say: Say = ignore
    rungs: list[Rung] = field(default_factory=list)
    _spent: float = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure what the rung that is added next takes."""
        started = self.budget.clock()
        yield
        self._spent += self.budget.clock() - started

    def as_json(self) -> dict[str, Any]:
        """Return the ladder for metrics.json."""
        return {
            "rule": RULE,
            "seconds_allowed": self.budget.seconds,
            "rungs": [rung.as_json() for rung in self.rungs],
        }

    def first(self, name: str, title: str, judged: Judged, rows: HeldOutRows) -> None:
        """Add what stands at the bottom."""
        self._add(name, title, taken=True, why="the lowest rung", judged=judged, rows=rows)

    def step(
        self,
        name: str,
        title: str,
        standing: Judged,
        judged: Judged,
        rows: HeldOutRows,
        *,
        foreseen: float | None = None,
        besides: str = "",
    ) -> bool:
        """Add a rung that was tried; return whether it takes over.

        Args:
            name: For machines.
            title: For people.
            standing: What the same rows say of what stands.
            judged: What they say of this one.
            rows: The rows.
            foreseen: Seconds expected.
            besides: Why it cannot take over whatever the rows say, in words.
        """
        why = besides or objection(standing, judged)
        gain = standing.gain(judged)
        taken = not why
        self._add(
            *(name, title),
            taken=taken,
            why=why or "better with significance",
            judged=judged,
            rows=rows,
            gain=gain,
            foreseen=foreseen,
        )
        return taken

    def spare(self, name: str, title: str, standing: Judged, judged: Judged, rows: HeldOutRows) -> None:
        """Add one that takes over because it costs far less, see ``spares``."""
        why, gain = (
            f"as good, worse by less than {allowance(standing):.3f} nats, and it needs no model",
            standing.gain(judged),
        )
        self._add(name, title, taken=True, why=why, judged=judged, rows=rows, gain=gain)

    def skip(self, name: str, title: str, why: str, *, foreseen: float | None = None) -> None:
        """Add a rung that was not tried."""
        self.rungs.append(Rung(name=name, title=title, taken=False, why=why, foreseen=foreseen))
        self.say(self.rungs[-1].line())

    def _add(self, name: str, title: str, *, judged: Judged, rows: HeldOutRows, **more: Any) -> None:
        rung = Rung(name=name, title=title, kind=rows.kind, rows=len(rows), judged=judged, seconds=self._spent, **more)
        self._spent = 0.0
        self.rungs.append(rung)
        self.say(rung.line())
