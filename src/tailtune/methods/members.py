"""A language model or encoder with a scorer of its own, as a member of a blend. Imported by prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tailtune.features.backbone import Backbone, choose_device
from tailtune.methods.blend import Doubles
from tailtune.methods.scorers import Scorer, TailScorer, score_tokens
from tailtune.methods.words import GuidedProbe, WordScorer
from tailtune.models.int8 import Precision
from tailtune.models.parts import Part
from tailtune.progress import Progress, silent
from tailtune.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneMember:
    """A backbone, what reads its features and what reads texts for it.

    Attributes:
        model: What people call the model.
        decoder: Embeddings and the blocks below the cut.
        precision: Of their products.
        scorer: What turns features into class scores.
        tokenizer: Its own, with its own rule for long texts.
        backbone: The decoder where it computes; None where it has not been placed.
    """

    model: str
    decoder: Part
    precision: Precision
    scorer: Scorer
    tokenizer: Tokenizer
    backbone: Backbone | None = None

    @property
    def name(self) -> str:
        """What people call it, such as "minilm-l6 probe at depth 6"."""
        return f"{self.model} {self.method} at depth {self.scorer.depth}"

    @property
    def method(self) -> str:
        """What it is."""
        return self.scorer.kind if isinstance(self.scorer, TailScorer) else "probe"

    def on(self, device: str) -> Self:
        """Return the same where it computes on ``device``.

        Raises:
            SetupError: If the device is not there or cannot compute that way.
        """
        return replace(self, backbone=place(self.decoder, self.scorer, device=device, precision=self.precision))

    def scores(self, texts: Sequence[str], progress: Progress = silent) -> Doubles:
        """Return [N, C] class scores of N >= 1 texts, on the processor where it has not been placed."""
        backbone = self.backbone or place(self.decoder, self.scorer, device="cpu", precision=self.precision)
        tokens, windows = self.tokenizer.read(texts)
        stage = f"predict, {self.model}"
        scores = score_tokens(self.scorer, backbone, tokens, windows, progress=progress, stage=stage)
        return scores.astype(np.float64)


def place(decoder: Part, scorer: Scorer, *, device: str, precision: Precision) -> Backbone:
    """Return the backbone where it computes; the blocks of a tail or the words of an LM head go there too.

    Args:
        decoder: Embeddings and the blocks below the cut.
        scorer: Above it.
        device: "auto", "cpu", "cuda" or "mps".
        precision: Of the products below the cut.

    Raises:
        SetupError: If the device is not there or cannot compute that way.
    """
    backbone = Backbone(decoder, device=choose_device(device, precision))
    moved = scorer.words if isinstance(scorer, GuidedProbe) else scorer
    if isinstance(moved, TailScorer | WordScorer):
        moved.to(backbone.device)
    return backbone
