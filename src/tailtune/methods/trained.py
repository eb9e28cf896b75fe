"""Training a part of a decoder: its top blocks, or all from some depth up, whole or through updates of low rank.

One call for all of them, and an ordinary tail as the result. A step reads stored states of the frozen blocks; where no
block is frozen it reads token ids, through embeddings that are trained too ("full") or looked up ("lora").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tailtune.errors import ConfigError, TrainingDiverged
from tailtune.features.backbone import Backbone
from tailtune.features.store import Features, Indices
from tailtune.methods.descent import Epoch, Step, TailSettings, fit_tail
from tailtune.methods.finder import Found, settle_rate
from tailtune.methods.lora import (
    Adapter,
    LoraSettings,
    adapter_of,
    add_lora,
    merged,
    products_of,
    require_peft,
)
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import Kind, Pooling, TailScorer, score_features
from tailtune.methods.tail import new_tail, split_embeddings
from tailtune.models.mapped import shapes_of
from tailtune.models.parts import Part, Shape
from tailtune.models.shape import DecoderConfig
from tailtune.progress import Progress, silent

# How far class scores may move when updates are added to the weights, relative to the largest: sums in another order.
SAME = 1e-4
# Texts that this is checked on.
_CHECKED = 64
_TITLES = {"lora": "LoRA", "dora": "DoRA", "rslora": "rsLoRA"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trained part of a decoder.

    Attributes:
        scorer: Frozen, updates of LoRA added to its weights.
        curves: Steps and epochs, for metrics.json.
        backbone: Embeddings that were trained, with no block; None where those of the pretrained model stay.
        trained: Weights that were trained.
        weights: Weights of embeddings, blocks, final norm and head in all.
        first: Blocks below it.
        adapter: What LoRA trained; None for others.
        rate: How the learning rate was found; None where it was given.
    """

    scorer: TailScorer
    curves: dict[str, Any]
    backbone: Part | None
    trained: int
    weights: int
    first: int
    adapter: Adapter | None = None
    rate: Found | None = None

    def features(self, features: Features) -> Features:
        """Return the features that ``scorer`` reads: ``features``, with its own embeddings where it has them."""
        if self.backbone is None:
            return features
        return features.embedded_by(Backbone(self.backbone, device=self.scorer.head.weight.device))

    @property
    def said(self) -> str:
        """What was trained, in words."""
        depth, share = self.scorer.depth, f"{self.trained:,} of {self.weights:,} weights trained"
        if self.scorer.kind == "tail":
            return f"a tail of {depth - self.first} trained block(s) at depth {depth}"
        above = f"on blocks {self.first + 1} to {depth}"
        if self.adapter is None:
            return f"full training {above}{' and the embeddings' if self.backbone else ''}, {share}"
        settings = self.adapter.settings
        return f"{_TITLES[settings.kind]} of rank {settings.rank} {above}, {share}"

    def as_json(self) -> dict[str, Any]:
        """Return what metrics.json says of it."""
        settings = None if self.adapter is None else self.adapter.settings
        described = {"first": self.first, "trained_weights": self.trained, "weights": self.weights}
        return described if settings is None else {**described, "rank": settings.rank, "kind": settings.kind}


def require_trainable(kind: Kind, shape: Shape, *, first: int, lora: LoraSettings) -> None:
    """Return if a model of that shape can be trained so.

    Args:
        kind: See ``train_part``.
        shape: Of the model.
        first: Blocks below those that are trained.
        lora: Of "lora" alone.

    Raises:
        ConfigError: If the model has no native family and its embeddings or LoRA are asked for, or LoRA's targets do
            not fit it.
        SetupError: If LoRA is asked for and peft is not installed.
    """
    if kind == "lora":
        products_of(shape, lora.targets)
        require_peft()
    if kind == "full" and first == 0 and not isinstance(shape, DecoderConfig):
        said = f"--method full: the embeddings of {shape.title}, which runs through transformers, are not trained"
        raise ConfigError(said, hint="give --from-depth 1 or more")


def train_part(
    kind: Kind,
    decoder: Part,
    features: Features,
    rows: Rows,
    *,
    first: int,
    depth: int,
    pooling: Pooling,
    settings: TailSettings,
    lora: LoraSettings | None = None,
    progress: Progress = silent,
    happened: Callable[[Step | Epoch], None] = lambda event: None,
) -> Trained:
    """Return blocks ``first`` to ``depth`` trained on the training rows, at their best epoch on the validation rows.

    Args:
        kind: "tail" and "full" train every weight of the blocks and the final norm, "full" from depth 0 the embeddings
            too; "lora" trains updates of low rank. All train the head.
        decoder: Pretrained, holds ``depth`` blocks and the final norm; it is not touched.
        features: Token states at ``first``; from depth 0 up the token ids.
        rows: What may be seen.
        first: Blocks below, frozen.
        depth: Blocks in all.
        pooling: Which tokens are read.
        settings: How.
        lora: Of "lora" alone; default its defaults.
        progress: Told steps.
        happened: Told every step and epoch.

    Raises:
        TrainingDiverged: If the loss stops being finite, or merged updates give other scores.
        ConfigError: See ``require_trainable``.
        SetupError: See ``require_trainable``.
    """
    lora = lora or LoraSettings()
    require_trainable(kind, decoder.config, first=first, lora=lora)
    embeddings = kind == "full" and first == 0
    tail = new_tail(
        decoder,
        blocks=depth - first,
        depth=depth,
        classes=rows.classes,
        seed=settings.seed,
        pooling=pooling,
        embeddings=embeddings,
        kind=kind,
    )
    if kind == "lora":
        add_lora(tail, lora, seed=settings.seed)
    trained = sum(parameter.numel() for parameter in tail.parameters() if parameter.requires_grad)
    curves, rate = _fit(tail, features, rows, settings=settings, progress=progress, happened=happened)
    adapter, backbone = None, None
    if kind == "lora":
        adapter = adapter_of(tail, lora)
        tail = merged_alike(tail, features, rows.validation if len(rows.validation) else rows.train)
    if embeddings:
        tail, backbone = split_embeddings(tail)
    weights = _weights(decoder, depth) + tail.head.weight.numel()
    return Trained(
        scorer=tail,
        curves=curves,
        backbone=backbone,
        trained=trained,
        weights=weights,
        first=first,
        adapter=adapter,
        rate=rate,
    )


def _fit(
    tail: TailScorer,
    features: Features,
    rows: Rows,
    *,
    settings: TailSettings,
    progress: Progress,
    happened: Callable[[Step | Epoch], None],
) -> tuple[dict[str, Any], Found | None]:
    weights = None if rows.weights is None else rows.weights.astype(np.float32)
    targets = None if rows.targets is None else rows.targets.astype(np.float32)
    steps: list[Step] = []
    epochs: list[Epoch] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)  # of LoRA's dropout, the only draw from it
        settings, rate = settle_rate(
            tail,
            features,
            rows.labels,
            train=rows.train,
            settings=settings,
            class_weights=weights,
            targets=targets,
            progress=progress,
        )
        for event in fit_tail(
            tail,
            features,
            rows.labels,
            train=rows.train,
            validation=rows.validation,
            settings=settings,
            class_weights=weights,
            targets=targets,
        ):
            happened(event)
            if isinstance(event, Step):
                steps.append(event)
                progress(tail.kind, event.step, event.steps, "steps")
            else:
                epochs.append(event)
    return _curves(steps, epochs), rate


def _curves(steps: Sequence[Step], epochs: Sequence[Epoch]) -> dict[str, Any]:
    held_out = all(np.isfinite(epoch.validation_loss) for epoch in epochs)
    curves: dict[str, Any] = {
        "steps": {"step": [s.step for s in steps], "loss": [s.loss for s in steps]},
        "epochs": {"epoch": [e.epoch for e in epochs], "train_loss": [e.train_loss for e in epochs]},
    }
    if held_out:
        curves["epochs"]["validation_loss"] = [e.validation_loss for e in epochs]
        curves["epochs"]["validation_accuracy"] = [e.validation_accuracy for e in epochs]
    return curves


def merged_alike(tail: TailScorer, features: Features, texts: Indices) -> TailScorer:
    """Return the plain tail that computes the same as one with adapters, compared with it on some texts.

    Args:
        tail: After ``add_lora``, not to be used any more.
        features: What it reads.
        texts: Some of these are scored by both.

    Raises:
        TrainingDiverged: If a score moves by more than SAME of the largest.
    """
    checked = texts[:_CHECKED]
    expected = score_features(tail, features, checked)
    plain = merged(tail)
    off = float(np.abs(score_features(plain, features, checked) - expected).max())
    if not off <= SAME * max(1.0, float(np.abs(expected).max())):  # NaN too
        raise TrainingDiverged(
            f"LoRA's updates added to the weights give other class scores, off by {off:.2g} on {len(checked)} texts",
            hint="its updates are too large: try a lower --learning-rate or --lora-alpha",
        )
    return plain


def _weights(decoder: Part, depth: int) -> int:
    shapes = shapes_of(decoder).items()
    return sum(t.numel() for name, t in shapes if not name.startswith("blocks.") or int(name.split(".")[1]) < depth)
