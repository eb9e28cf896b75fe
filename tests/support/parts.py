"""A small task and a part of a tiny model trained on it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from support.features import rows_of
from support.texts import random_tokens
from tailtune.bundle import Bundle
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.features.store import Features
from tailtune.labels import LabelSet
from tailtune.methods.descent import Step, TailSettings
from tailtune.methods.scorers import Kind, Pooling, own_pooling
from tailtune.methods.trained import Trained, train_part
from tailtune.models.decoder import Decoder
from tailtune.models.parts import Part, load_part
from tailtune.text.tokenizer import Tokenizer, Tokens

LENGTHS = np.random.default_rng(2).integers(1, 14, 48)
TOKENS = random_tokens(LENGTHS.tolist(), seed=9)
LABELS = np.random.default_rng(3).integers(0, 3, 48)
ROWS = rows_of(LABELS, train=32, validation=16)
SETTINGS = TailSettings(epochs=6, batch_size=8, learning_rate=2e-3, seed=6)


def features_of(decoder: Part, root: Path, first: int, tokens: Tokens = TOKENS) -> Features:
    """Return what training from depth ``first`` up reads, through a store under ``root``."""
    passes = Passes(decoder, weights="tiny", store=root, device="cpu")
    return passes.features(tokens, Wanted(states=(first,)), precision="fp32")


def train(
    kind: Kind, model: Path, root: Path, *, first: int, depth: int = 4, **settings: Any
) -> tuple[Trained, Features, list[float]]:
    """Return the trained part of the model in a folder, the features it was trained on, and the loss of every step.

    Args:
        kind: See ``train_part``.
        model: The folder.
        root: Of the feature stores.
        first: Blocks below.
        depth: Blocks in all.
        settings: Further arguments of ``train_part``.
    """
    decoder = load_part(model)
    features = features_of(decoder, root, first)
    losses: list[float] = []
    trained = train_part(
        kind,
        decoder,
        features,
        ROWS,
        first=first,
        depth=depth,
        pooling=settings.pop("pooling", own_pooling(causal=decoder.config.causal)),
        settings=settings.pop("settings", SETTINGS),
        happened=lambda event: losses.append(event.loss) if isinstance(event, Step) else None,
        **settings,
    )
    return trained, features, losses


def tensor_bytes(decoder: Part) -> dict[str, bytes]:
    """Return the bytes of every tensor of a decoder by name."""
    assert isinstance(decoder, Decoder)
    return {name: tensor.numpy().tobytes() for name, tensor in decoder.state_dict().items()}


def trained_bundle(kind: Kind, model: Path, *, first: int, pooling: Pooling | None = None) -> Bundle:
    """Return a classifier of three classes trained from depth ``first`` up, to depth 3."""
    with tempfile.TemporaryDirectory() as root:
        more: dict[str, Any] = {} if pooling is None else {"pooling": pooling}
        trained, _, _ = train(kind, model, Path(root), first=first, depth=3, **more)
    return Bundle(
        decoder=trained.backbone or load_part(model).below(first),
        scorer=trained.scorer,
        tokenizer=Tokenizer.load(model / "tokenizer.json", max_tokens=64),
        labels=LabelSet(names=("ham", "other", "spam")),
        about={"model": {"name": "tiny"}},
    )


def full_bundle(model: Path) -> Bundle:
    """Return a classifier whose embeddings were trained too."""
    return trained_bundle("full", model, first=0)


def lora_bundle(model: Path) -> Bundle:
    """Return a classifier of merged adapters above one frozen block, which reads the mean."""
    return trained_bundle("lora", model, first=1, pooling="mean")
