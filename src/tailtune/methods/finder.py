"""A learning rate found by trying some: short trainings from the same start, judged on training rows kept out of them.

A rate that suits one size ruins another: the chapter's 5e-5 made its medium model answer one class for everything. So
a middle rate is guessed from what is trained and from the width, its neighbours a factor of 3 away are tried, and then
on in the direction in which the loss falls. Neither the validation nor the test part is read: what is chosen on them
later stays as honest as it was.

Taken is not the best one. Short trainings flatter high rates, and above the best lies ruin, where losses jump from one
seed to the next; below it they rise smoothly. So the lowest rate is taken that gains nearly as much.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.errors import TrainingDiverged
from tailtune.features.store import Features, Indices
from tailtune.methods.averages import Weights, copied, put, trained_weights
from tailtune.methods.descent import Descent, Lessons, TailSettings, judged, steps_of
from tailtune.methods.scorers import TailScorer
from tailtune.progress import Progress, silent

Doubles = NDArray[np.float64]

# Between neighbouring rates: in finer steps the same range would cost more runs.
APART = 3.0
# Rates tried at most: two steps beyond the three around the middle, so a guess that is wrong by 27 is made good.
MOST_TRIED = 5
# Steps of all runs together, as a share of those of the training. Each run has at least the fewest: with ten, a rate
# three times as high was found, the shorter a run the more it flatters high ones (docs/log.md). And at most the most:
# a longer training needs no longer search.
SHARE = 0.15
FEWEST_STEPS, MOST_STEPS = 20, 100
# Training rows kept out to judge by, at most; of few rows a quarter.
MOST_JUDGED = 256
# A rate gains enough that gains so much of what the best one does.
ENOUGH = 0.9
# Where the search starts, at a width of 576: a head alone, adapters, some blocks, a whole model. The best rate of Adam
# falls as the width grows (Yang et al. 2022, arXiv 2203.03466).
MIDDLES: Mapping[str, float] = {"head": 1e-2, "lora": 1e-3, "tail": 3e-4, "full": 1e-4}
WIDTH = 576


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One short training.

    Attributes:
        rate: Its peak rate.
        loss: Mean log loss on the rows kept out, in nats; None if it diverged.
        enough: Whether it gained nearly as much as the best one.
    """

    rate: float
    loss: float | None
    enough: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The learning rate to train with, and the way to it.

    Attributes:
        rate: The one.
        tried: Ascending.
        before: Log loss on the rows kept out before any step.
        steps: Optimiser steps of each short training.
        share: Steps of all of them over those of the training.
        rows: Training rows kept out.
    """

    rate: float
    tried: tuple[Tried, ...]
    before: float
    steps: int
    share: float
    rows: int

    @property
    def reason(self) -> str:
        """Why this one, in words."""
        lowest = f"the lowest of {len(self.tried)} rates tried that gained nearly as much as the best"
        if not any(one.enough for one in self.tried):
            lowest = (
                f"none of {len(self.tried)} rates tried gained anything that {self.rows} rows can tell: the usual one"
            )
        failed = [one.rate for one in self.tried if one.loss is None]
        return f"{lowest}, {self.steps} steps each" + (f"; {failed[0]:.2g} diverged" if failed else "")

    def as_json(self) -> dict[str, Any]:
        """Return it for metrics.json."""
        return {
            "chosen": self.rate,
            "reason": self.reason,
            "tried": [{"rate": one.rate, "loss": one.loss, "enough": one.enough} for one in self.tried],
            "loss_before": self.before,
            "steps_each": self.steps,
            "share_of_steps": self.share,
            "rows": self.rows,
        }


def settle_rate(
    tail: TailScorer,
    features: Features,
    labels: Indices,
    *,
    train: Indices,
    settings: TailSettings,
    class_weights: NDArray[np.float32] | None = None,
    targets: NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> tuple[TailSettings, Found | None]:
    """Return settings with a learning rate: as they are where they have one, else with the one found.

    Args:
        tail: At its start; it is given back as it was.
        features: As for ``fit_tail``, as the rest is.
        labels: Of all texts.
        train: Texts to learn from.
        settings: How.
        class_weights: In the training loss.
        targets: Learnt instead of the labels.
        progress: Told the runs done.
    """
    if settings.learning_rate is not None:
        return settings, None
    found = find_rate(
        tail,
        features,
        labels,
        train=train,
        settings=settings,
        class_weights=class_weights,
        targets=targets,
        progress=progress,
    )
    return replace(settings, learning_rate=found.rate), found


def find_rate(
    tail: TailScorer,
    features: Features,
    labels: Indices,
    *,
    train: Indices,
    settings: TailSettings,
    class_weights: NDArray[np.float32] | None = None,
    targets: NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> Found:
    """Return a peak learning rate for training ``tail`` with ``settings``, found on the training rows alone.

    Args:
        tail: At its start, whatever is trained of it: a head, adapters, blocks, all. Weights, modes and the random
            numbers that training draws are given back as they were, bit for bit.
        features: As for ``fit_tail``, as the rest is.
        labels: [texts] class ids of all texts of ``features``, or [texts, C] 0/1.
        train: Texts to learn from; some of them are kept out to judge by.
        settings: How; the learning rate in them is not read.
        class_weights: [C] weights of the classes in the training loss.
        targets: [texts, C] shares of the classes to learn instead of ``labels``.
        progress: Told the runs done.

    Raises:
        TrainingDiverged: If every rate tried does.
    """
    trial = _Trial(tail, features, labels, train=train, settings=settings, class_weights=class_weights, targets=targets)
    middle = MIDDLES[kind_of(tail)] * WIDTH / tail.decoder.config.width
    with _given_back(tail, trial.start):
        before = trial.judge()
        results = Results(before)

        def run(place: int) -> None:
            results.runs[place] = trial.run(middle * APART**place)
            progress("learning rate", len(results.runs), MOST_TRIED, "runs")

        search(run, results)
    tried = tuple(
        Tried(
            rate=middle * APART**place,
            loss=None if losses is None else float(losses.mean()),
            enough=results.gains_enough(place),
        )
        for place, losses in sorted(results.runs.items())
    )
    share = len(tried) * trial.steps / trial.planned
    return Found(
        rate=middle * APART**results.chosen,
        tried=tried,
        before=float(before.mean()),
        steps=trial.steps,
        share=share,
        rows=len(trial.kept_out),
    )


@contextlib.contextmanager
def _given_back(tail: TailScorer, start: Weights) -> Iterator[None]:
    """The tail is at its start afterwards, and the random numbers drawn next are those that would be drawn now."""
    with torch.random.fork_rng():
        try:
            yield
        finally:
            put(start, tail)
            tail.zero_grad(set_to_none=True)


def kind_of(tail: TailScorer) -> str:
    """Return which of MIDDLES a start belongs to: how its blocks are trained, or "head" where none of them are."""
    return tail.kind if any(tensor.requires_grad for tensor in tail.decoder.parameters()) else "head"


class Results:
    """What came of the places tried: powers of APART over the middle.

    Args:
        before: [rows] losses before any step.

    Attributes:
        runs: Place -> [rows] losses of the same rows, or None if it diverged.
    """

    def __init__(self, before: Doubles) -> None:
        self.runs: dict[int, Doubles | None] = {}
        self._before = before

    @property
    def best(self) -> int:
        """The place of the least loss; the lowest one if all diverged."""
        return min(sorted(self.runs), key=self._loss)

    @property
    def ruined(self) -> bool:
        """Whether a place diverged."""
        return any(losses is None for losses in self.runs.values())

    def gains_enough(self, place: int) -> bool:
        """Return whether a place gained nearly as much as the best one, and that one something at all."""
        losses, best = self.runs[place], self.runs[self.best]
        if losses is None or best is None:
            return False
        gain = self._before - best
        if gain.mean() <= gain.std() / math.sqrt(len(gain)):
            return False
        return bool((self._before - losses).mean() >= ENOUGH * gain.mean())

    @property
    def chosen(self) -> int:
        """The lowest place from the best one down that gained enough; the middle if none gained anything.

        Raises:
            TrainingDiverged: If all did.
        """
        if self.runs[self.best] is None:
            raise TrainingDiverged(
                "every learning rate that was tried made the loss infinite",
                hint="give --learning-rate, and look at the texts and labels",
            )
        if not self.gains_enough(self.best):
            return self.best if self.runs[0] is None else 0
        place = self.best
        while place - 1 in self.runs and self.gains_enough(place - 1):
            place -= 1
        return place

    def _loss(self, place: int) -> float:
        losses = self.runs[place]
        return math.inf if losses is None else float(losses.mean())


def search(run: Callable[[int], None], results: Results) -> None:
    """Run the places that are worth it, at most MOST_TRIED.

    First the middle and its neighbours, then up while the highest gains clearly more than all others, and down while
    the lowest gains enough. No place above one that diverged is tried: what a rate ruins, a higher one does too.

    Args:
        run: Adds a place to ``results``.
        results: Empty.
    """
    runs = results.runs
    run(0)
    run(-1)
    if not results.ruined:
        run(1)
    while len(runs) < MOST_TRIED:
        lowest, highest = min(runs), max(runs)
        climbing = results.best == highest and not results.gains_enough(highest - 1)
        if climbing and not results.ruined:
            run(highest + 1)
        elif runs[lowest] is None or results.best == lowest or results.gains_enough(lowest):
            run(lowest - 1)
        else:
            return


class _Trial:
    """Short trainings from one start, on the same rows in the same order, judged on the same others.

    Args:
        tail: At its start.
        features: Of all texts.
        labels: Of all texts.
        train: Texts to learn from.
        settings: How.
        class_weights: In the training loss.
        targets: Learnt instead of the labels.

    Attributes:
        kept_out: Training texts to judge by.
        planned: Optimiser steps of the training itself.
        steps: Of each run.
        start: The trained weights before any.
    """

    def __init__(
        self,
        tail: TailScorer,
        features: Features,
        labels: Indices,
        *,
        train: Indices,
        settings: TailSettings,
        class_weights: NDArray[np.float32] | None,
        targets: NDArray[np.float32] | None,
    ) -> None:
        self._tail, self._features, self._labels = tail, features, labels
        self._settings = replace(settings, schedule="constant")
        # A stream of its own: the order of the training is drawn from the seed alone.
        self._order = np.random.default_rng((settings.seed, 1))
        shuffled = self._order.permutation(train)
        count = min(MOST_JUDGED, math.ceil(len(train) / 4)) if len(train) > 1 else 1
        self.kept_out = np.sort(shuffled[:count])
        learnt = shuffled[count:] if len(train) > 1 else shuffled
        self._lessons = Lessons(
            tail,
            features,
            labels if targets is None else targets,
            train=learnt,
            objective=settings.objective,
            class_weights=class_weights,
        )
        self.planned = steps_of(len(features.windows.of(train)), settings)
        self.steps = int(np.clip(SHARE * self.planned / MOST_TRIED, FEWEST_STEPS, MOST_STEPS))
        self.start = copied(trained_weights(tail))
        self._batches = list(self._drawn())

    def _drawn(self) -> Iterator[Indices]:
        """The windows of each step, the same in every run."""
        each = self._settings.batch_size * self._settings.accumulation
        windows: Indices = np.empty(0, dtype=np.int64)
        for _ in range(self.steps):
            if len(windows) < each:
                windows = np.concatenate((windows, self._order.permutation(self._lessons.windows)))
            yield windows[:each]
            windows = windows[each:]

    def run(self, rate: float) -> Doubles | None:
        """Return [rows] losses after a short training at ``rate``, or None if it diverged."""
        put(self.start, self._tail)
        torch.manual_seed(self._settings.seed)
        descent = Descent(self._lessons, replace(self._settings, learning_rate=rate), steps=self.steps)
        try:
            for batch in self._batches:
                descent.step(batch)
        except TrainingDiverged:
            return None
        losses = self.judge()
        return losses if np.isfinite(losses).all() else None

    def judge(self) -> Doubles:
        """Return [rows] log losses of the tail as it is, on the texts kept out."""
        return judged(self._tail, self._features, self._labels, self.kept_out)[0]
