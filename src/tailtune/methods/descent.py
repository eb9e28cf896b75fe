"""Training by gradient descent: blocks, the final norm and the head, on stored token states of the frozen backbone.

A loop that yields what happens; consoles, files and tests are its readers. Evaluation never touches the training order.
Each window of a long text is trained on by itself, its loss weighing 1 / the number of the text's windows: a step needs
no more memory than with short texts, and every text counts the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailtune.errors import TrainingDiverged
from tailtune.features.store import Features, Indices
from tailtune.methods.losses import Objective
from tailtune.methods.scorers import TailScorer, score_features
from tailtune.methods.tasks import task_of
from tailtune.text.packing import pack

Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TailSettings:
    """How a tail is trained.

    Attributes:
        epochs: Passes over the training texts.
        batch_size: Texts, or windows of long ones, per step.
        learning_rate: Peak rate of AdamW.
        weight_decay: AdamW's, on every trained tensor.
        clip_norm: Largest norm of the whole gradient; None does not clip.
        warmup_fraction: Share of all steps over which the rate rises from 0.
        schedule: What the rate does after that; linear and cosine end at 0.
        patience: Epochs without a better validation loss before stopping; None runs all.
        seed: Of the head's start and the order of texts.
        objective: The loss of a batch.
    """

    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 5e-5
    weight_decay: float = 0.1
    clip_norm: float | None = None
    warmup_fraction: float = 0.0
    schedule: Schedule = "constant"
    patience: int | None = None
    seed: int = 0
    objective: Objective = field(default_factory=Objective)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One optimiser step.

    Attributes:
        step: From 1.
        steps: Steps planned.
        loss: Of the batch before the step, in nats: the mean cross-entropy, unless another objective was asked for.
        learning_rate: Used in this step.
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
) -> Iterator[Step | Epoch]:
    """Train ``tail`` in place, yielding every Step and Epoch; it ends at its best validation loss.

    Args:
        tail: From ``new_tail``.
        features: Token states at the tail's cut.
        labels: [texts] class ids of all texts of ``features``, or [texts, C] 0/1.
        train: Texts to learn from.
        validation: Texts to choose the epoch by; when empty the last epoch is kept.
        settings: How.
        class_weights: [C] weights of the classes in the training loss.

    Raises:
        TrainingDiverged: If the loss stops being finite, in training or on the validation texts; it names the step.
    """
    windows = features.windows.of(train)
    taught = _taught(features, labels, most=len(windows) / max(1, len(train)))
    steps = settings.epochs * math.ceil(len(windows) / settings.batch_size)
    trained = [parameter for parameter in tail.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps, settings))
    weights = None if class_weights is None else torch.from_numpy(class_weights).to(tail.head.weight.device)
    objective = partial(settings.objective, weights=weights)
    order = np.random.default_rng(settings.seed)
    best = _Best()
    step = 0
    for epoch in range(1, settings.epochs + 1):
        losses = []
        shuffled = order.permutation(windows)
        for start in range(0, len(shuffled), settings.batch_size):
            rate = float(schedule.get_last_lr()[0])
            texts = shuffled[start : start + settings.batch_size]
            loss = _loss(tail, features, taught, texts, objective)
            _descend(tail, optimizer, loss, settings.clip_norm)
            schedule.step()
            step += 1
            losses.append(_finite(loss.item(), "training", step))
            yield Step(step=step, steps=steps, loss=losses[-1], learning_rate=rate)
        held_out = _held_out(tail, features, labels, validation)
        if len(validation):
            _finite(held_out[0], "validation", step)
        yield best.after(epoch, float(np.mean(losses)), tail, held_out)
        if settings.patience is not None and epoch - best.epoch >= settings.patience:
            break
    best.restore(tail)


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


Taught = tuple[Indices, NDArray[np.float32] | None]


def _taught(features: Features, labels: Indices, *, most: float) -> Taught:
    """[windows] class ids, and weights whose mean over the training windows is 1; None where every text is one window.

    Args:
        features: Of the windows of all texts.
        labels: [texts] class ids, or [texts, C] 0/1.
        most: Weight of a text's only window: training windows per training text.
    """
    if features.windows.single:
        return labels, None
    counts = features.windows.counts
    return np.repeat(labels, counts, axis=0), np.repeat(most / counts, counts).astype(np.float32)


def _loss(
    tail: TailScorer, features: Features, taught: Taught, windows: Indices, objective: Callable[..., Tensor]
) -> Tensor:
    labels, shares = taught
    device = tail.head.weight.device
    batch = pack(windows, features.lengths[windows])
    inputs = tail.train().inputs(features, batch.texts)
    targets = torch.from_numpy(labels[batch.texts]).to(device)
    scores = tail(inputs, tail.decoder.layout(batch, device))
    shared = None if shares is None else torch.from_numpy(shares[batch.texts]).to(device)
    return objective(scores, targets, shares=shared)


def _descend(tail: TailScorer, optimizer: torch.optim.Optimizer, loss: Tensor, clip_norm: float | None) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(tail.parameters(), clip_norm)
    optimizer.step()


def _finite(loss: float, kind: str, step: int) -> float:
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the {kind} loss became {loss} in step {step}", hint="try a lower --learning-rate")
    return loss


def _held_out(tail: TailScorer, features: Features, labels: Indices, validation: Indices) -> tuple[float, float]:
    """Validation loss and accuracy; both NaN without validation texts."""
    if not len(validation):
        return math.nan, math.nan
    logits = score_features(tail.eval(), features, validation).astype(np.float64)
    losses, correct = task_of(labels).judge(logits, labels[validation])
    return float(losses.mean()), float(correct.mean())


class _Best:
    """Remembers the tail at its best validation loss."""

    def __init__(self) -> None:
        self.epoch = 0
        self.loss = math.inf
        self._state: dict[str, Tensor] = {}

    def after(self, epoch: int, train_loss: float, tail: TailScorer, held_out: tuple[float, float]) -> Epoch:
        """Remember the tail if this is its best epoch, and return what to report."""
        loss, accuracy = held_out
        better = loss < self.loss or math.isnan(loss)
        if better:
            self.epoch, self.loss = epoch, loss
            trained = (item for item in tail.named_parameters() if item[1].requires_grad)
            self._state = {name: parameter.detach().clone() for name, parameter in trained}
        return Epoch(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=loss,
            validation_accuracy=accuracy,
            best=better,
        )

    def restore(self, tail: TailScorer) -> None:
        """Put the remembered tensors back; the tail is then frozen."""
        tail.load_state_dict(self._state, strict=False)
        tail.eval().requires_grad_(False)
