"""Training by gradient descent: blocks, the final norm and the head, on stored token states of the frozen backbone.

A loop that yields what happens; consoles, files and tests are its readers. Evaluation never touches the training order.
Each window of a long text is trained on by itself, its loss weighing 1 / the number of the text's windows: a step needs
no more memory than with short texts, and every text counts the same.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tailtune.errors import TrainingDiverged
from tailtune.features.store import Features, Indices
from tailtune.methods.averages import Weights, average_of, copied, put, replaced, trained_weights
from tailtune.methods.losses import Objective
from tailtune.methods.rates import Decayed, parameter_groups
from tailtune.methods.scorers import TailScorer, score_features
from tailtune.methods.tasks import task_of
from tailtune.text.packing import pack

Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TailSettings:
    """How a tail is trained.

    Attributes:
        epochs: Passes over the training texts.
        batch_size: Texts, or windows of long ones, that are computed at once.
        accumulation: So many batches make one step, as one large batch would; memory is that of a small one.
        learning_rate: Peak rate of AdamW; None where it is still to be found, see ``methods.finder``.
        layer_decay: Each block learns at so much of the rate of the one above it.
        head_factor: The head learns so many times faster.
        weight_decay: AdamW's.
        decayed: What it is applied to.
        clip_norm: Largest norm of the whole gradient; None does not clip.
        warmup_fraction: Share of all steps over which the rate rises from 0.
        schedule: What the rate does after that; linear and cosine end at 0.
        patience: Epochs without a better validation loss before stopping; None runs all.
        ema: Decay of the moving average of the weights that is judged and kept; None for the latest weights.
        average_last: Epochs whose weights are averaged, judged and kept so; None for the latest. Not beside ``ema``.
        seed: Of the head's start and the order of texts.
        objective: The loss of a batch.
        stop: Asked after each step whether time is over: the tail then ends as it was at its best epoch, the first one
            is judged as far as it came.
    """

    epochs: int = 5
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float | None = 5e-5
    layer_decay: float = 1.0
    head_factor: float = 1.0
    weight_decay: float = 0.1
    decayed: Decayed = "all"
    clip_norm: float | None = None
    warmup_fraction: float = 0.0
    schedule: Schedule = "constant"
    patience: int | None = None
    ema: float | None = None
    average_last: int | None = None
    seed: int = 0
    objective: Objective = field(default_factory=Objective)
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One optimiser step.

    Attributes:
        step: From 1.
        steps: Steps planned.
        loss: Of the batch before the step, in nats: the mean cross-entropy, unless another objective was asked for.
        learning_rate: Used in this step, by the group with the highest.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One pass over the training texts, then one over the validation texts.

    Attributes:
        epoch: From 1.
        train_loss: Mean of the steps' losses, in nats.
        validation_loss: Mean cross-entropy over all validation texts, in nats; NaN without any.
        validation_accuracy: Share of validation texts whose best class is right.
        best: Whether this is the best validation loss so far; the tail ends as it was at the best.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool


def fit_tail(
    tail: TailScorer,
    features: Features,
    labels: Indices,
    *,
    train: Indices,
    validation: Indices,
    settings: TailSettings,
    class_weights: NDArray[np.float32] | None = None,
    targets: NDArray[np.float32] | None = None,
) -> Iterator[Step | Epoch]:
    """Train ``tail`` in place, yielding every Step and Epoch; it ends at its best validation loss.

    Args:
        tail: From ``new_tail``.
        features: Token states at the tail's cut, or the token ids where it holds embeddings.
        labels: [texts] class ids of all texts of ``features``, or [texts, C] 0/1.
        train: Texts to learn from.
        validation: Texts to choose the epoch by; when empty the last epoch is kept.
        settings: How.
        class_weights: [C] weights of the classes in the training loss.
        targets: [texts, C] shares of the classes to learn instead of ``labels``, which held-out texts keep.

    Raises:
        TrainingDiverged: If the loss stops being finite, in training or on the validation texts; it names the step.
    """
    learnt = labels if targets is None else targets
    lessons = Lessons(tail, features, learnt, train=train, objective=settings.objective, class_weights=class_weights)
    each = settings.batch_size * settings.accumulation
    descent = Descent(lessons, settings, steps=steps_of(len(lessons.windows), settings))
    order = np.random.default_rng(settings.seed)
    average, best = average_of(ema=settings.ema, last=settings.average_last), _Best()
    for epoch in range(1, settings.epochs + 1):
        losses = []
        shuffled = order.permutation(lessons.windows)
        for start in range(0, len(shuffled), each):
            happened = descent.step(shuffled[start : start + each])
            average.after_step(tail)
            losses.append(happened.loss)
            yield happened
            if settings.stop():
                break
        if best.epoch and settings.stop():
            break
        average.after_epoch(tail)
        with replaced(tail, average.weights):
            held_out = _held_out(tail, features, labels, validation)
            if len(validation):
                _finite(held_out[0], "validation", descent.done)
            told = best.after(epoch, float(np.mean(losses)), tail, held_out)
        yield told
        if settings.stop() or (settings.patience is not None and epoch - best.epoch >= settings.patience):
            break
    best.restore(tail)


def steps_of(windows: int, settings: TailSettings) -> int:
    """Return the optimiser steps of a whole training on so many windows."""
    return settings.epochs * math.ceil(windows / (settings.batch_size * settings.accumulation))


def rate_factor(step: int, steps: int, settings: TailSettings) -> float:
    """Return the share of the peak learning rate in step ``step`` (from 0) of ``steps``."""
    warmup = round(settings.warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = (steps - step) / max(1, steps - warmup)
    if settings.schedule == "linear":
        return max(0.0, left)
    if settings.schedule == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * max(0.0, left)))
    return 1.0


class Lessons:
    """What a step learns from: batches of training windows, and the loss on them.

    Args:
        tail: Scores them.
        features: Token states at the tail's cut, or the token ids where it holds embeddings.
        labels: [texts] class ids of all texts of ``features``, [texts, C] 0/1, or [texts, C] fp32 shares of classes.
        train: Texts to learn from.
        objective: The loss of a batch.
        class_weights: [C] weights of the classes in it.

    Attributes:
        tail: As given.
        windows: All windows of the texts to learn from.
    """

    def __init__(
        self,
        tail: TailScorer,
        features: Features,
        labels: Indices | NDArray[np.float32],
        *,
        train: Indices,
        objective: Objective,
        class_weights: NDArray[np.float32] | None,
    ) -> None:
        self.tail = tail
        self.windows = features.windows.of(train)
        self._features = features
        self._labels, self._shares = _taught(features, labels, most=len(self.windows) / max(1, len(train)))
        self._objective = objective
        self._device = tail.head.weight.device
        self._weights = None if class_weights is None else torch.from_numpy(class_weights).to(self._device)

    def loss(self, windows: Indices) -> Tensor:
        """Return the loss of a batch, a scalar with its graph: the mean over the rows."""
        batch = pack(windows, self._features.lengths[windows])
        inputs = self.tail.inputs(self._features, batch.texts)
        scores = self.tail(inputs, self.tail.decoder.layout(batch, self._device))
        shares = None if self._shares is None else torch.from_numpy(self._shares[batch.texts]).to(self._device)
        return self._objective(scores, self._targets(batch.texts), self._weights, shares)

    def mass(self, windows: Indices) -> float:
        """Return how much a batch weighs among others, see ``Objective.mass``."""
        return float(self._objective.mass(self._targets(windows), self._weights))

    def _targets(self, windows: Indices) -> Tensor:
        return torch.from_numpy(self._labels[windows]).to(self._device)


def _taught(
    features: Features, labels: Indices | NDArray[np.float32], *, most: float
) -> tuple[Indices | NDArray[np.float32], NDArray[np.float32] | None]:
    """[windows] labels, and weights whose mean over the training windows is 1; None where every text is one window.

    Args:
        features: Of the windows of all texts.
        labels: As for ``Lessons``.
        most: Weight of a text's only window: training windows per training text.
    """
    if features.windows.single:
        return labels, None
    counts = features.windows.counts
    repeated: Any = np.repeat(labels, counts, axis=0)
    return repeated, np.repeat(most / counts, counts).astype(np.float32)


class Descent:
    """An optimiser on its way through so many steps.

    Args:
        lessons: What it learns from.
        settings: How; the learning rate is known.
        steps: Over which the rate rises and falls.

    Attributes:
        done: Steps so far.
    """

    def __init__(self, lessons: Lessons, settings: TailSettings, *, steps: int) -> None:
        if settings.learning_rate is None:
            raise ValueError("the learning rate is to be found first")
        groups = parameter_groups(
            lessons.tail,
            rate=settings.learning_rate,
            layer_decay=settings.layer_decay,
            head_factor=settings.head_factor,
            weight_decay=settings.weight_decay,
            decayed=settings.decayed,
        )
        self.done = 0
        self._lessons, self._settings, self._steps = lessons, settings, steps
        self._optimizer = torch.optim.AdamW(groups, fused=True)
        self._rates = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda at: rate_factor(at, steps, settings))

    def step(self, windows: Indices) -> Step:
        """Return what happened in one step: the gradient of all ``windows``, clipped once, applied.

        Raises:
            TrainingDiverged: If the loss before the step was not finite.
        """
        size = self._settings.batch_size
        batches = [windows[start : start + size] for start in range(0, len(windows), size)]
        masses = [self._lessons.mass(batch) for batch in batches]
        self._optimizer.zero_grad(set_to_none=True)
        losses = []
        for batch, mass in zip(batches, masses, strict=True):
            loss = self._lessons.loss(batch) * (mass / sum(masses))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        if self._settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._lessons.tail.parameters(), self._settings.clip_norm)
        rate = max(map(float, self._rates.get_last_lr()))
        self._optimizer.step()
        self._rates.step()
        self.done += 1
        before = _finite(torch.stack(losses).sum().item(), "training", self.done)
        return Step(step=self.done, steps=self._steps, loss=before, learning_rate=rate)


def _finite(loss: float, kind: str, step: int) -> float:
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the {kind} loss became {loss} in step {step}", hint="try a lower --learning-rate")
    return loss


def _held_out(tail: TailScorer, features: Features, labels: Indices, validation: Indices) -> tuple[float, float]:
    """Validation loss and accuracy; both NaN without validation texts."""
    if not len(validation):
        return math.nan, math.nan
    losses, correct = judged(tail, features, labels, validation)
    return float(losses.mean()), float(correct.mean())


def judged(
    tail: TailScorer, features: Features, labels: Indices, texts: Indices
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log loss of each of ``texts``, and whether it is answered right, by the tail as it will be used."""
    with _as_used(tail):
        logits = score_features(tail, features, texts).astype(np.float64)
    return task_of(labels).judge(logits, labels[texts])


@contextlib.contextmanager
def _as_used(module: nn.Module) -> Iterator[None]:
    """Whatever drops out in training does not, and draws no random number, while the context lasts."""
    learning = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in learning:
            part.training = True


class _Best:
    """Remembers the tail at its best validation loss."""

    def __init__(self) -> None:
        self.epoch = 0
        self.loss = math.inf
        self._weights: Weights = {}

    def after(self, epoch: int, train_loss: float, tail: TailScorer, held_out: tuple[float, float]) -> Epoch:
        """Remember the tail if this is its best epoch, and return what to report."""
        loss, accuracy = held_out
        better = loss < self.loss or math.isnan(loss)
        if better:
            self.epoch, self.loss = epoch, loss
            self._weights = copied(trained_weights(tail))
        return Epoch(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=loss,
            validation_accuracy=accuracy,
            best=better,
        )

    def restore(self, tail: TailScorer) -> None:
        """Put the remembered tensors back; the tail is then frozen."""
        put(self._weights, tail)
        tail.eval().requires_grad_(False)
