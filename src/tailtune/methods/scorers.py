"""From features to class scores: what a fitted method leaves behind.

Imported by prediction; knows nothing of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tailtune.errors import ConfigError
from tailtune.features.backbone import Floats, Piece, Wanted, mean_states
from tailtune.features.store import Features, Indices
from tailtune.label_rules import sigmoid
from tailtune.models.decoder import Packed
from tailtune.models.parts import Part
from tailtune.rules import softmax
from tailtune.text.packing import batches

Pooling = Literal["last", "first", "mean", "last+mean", "first+mean"]
Kind = Literal["tail", "lora", "full"]
# Packed tokens per scoring batch of a tail; see features.backbone.TOKEN_BUDGET.
SCORING_TOKENS = 2048


class Scorer(Protocol):
    """A fitted classifier above a cut."""

    @property
    def depth(self) -> int:
        """Blocks in all: below the cut, and in a tail above it."""

    @property
    def wanted(self) -> Wanted:
        """The features it reads."""

    @property
    def pooling(self) -> Pooling:
        """Which tokens of a text it reads at the end."""

    def logits(self, piece: Piece) -> Floats:
        """Return [N, C] class scores of the texts of ``piece``, in its order."""


def own_pooling(*, causal: bool) -> Pooling:
    """Return the one token that a text is read at: a decoder's last, which has seen the others, an encoder's first."""
    return "last" if causal else "first"


def pooling_of(asked: Pooling | Literal["auto"], *, causal: bool, trained: bool = False) -> Pooling:
    """Return what is read: what was asked for, or the mean and the token that a text is read at; that one alone above
    trained blocks, which can bring to it what it lacks.

    Args:
        asked: As in the settings.
        causal: Whether a token sees only those before it: a decoder is read at its last token, an encoder at its first.
        trained: Whether the blocks below are trained: of a tail, not of a probe.

    Raises:
        ConfigError: If the other end is asked for.
    """
    own, other = own_pooling(causal=causal), own_pooling(causal=not causal)
    if asked == "auto":
        return own if trained else cast("Pooling", f"{own}+mean")
    if asked.startswith(other):
        why = (
            "the model is a decoder, whose first token has seen nothing of the text"
            if causal
            else "the model is an encoder, which is read at its first token"
        )
        raise ConfigError(f"--pooling {asked}: {why}", hint=f"give {own}, mean or {own}+mean")
    return asked


def vectors_of(pooling: Pooling) -> int:
    """Return how many pooled vectors of a text are read side by side."""
    return 2 if pooling.endswith("+mean") else 1


def pool(pooled: Floats, pooling: Pooling) -> Floats:
    """Return [N, D] or [N, 2 D], the chosen pooled vectors.

    Args:
        pooled: [N, 2, D], the state of each text at the token that is read, its first or its last, and the mean.
        pooling: Which of them.
    """
    if vectors_of(pooling) == 2:
        return pooled.reshape(len(pooled), -1)
    return pooled[:, 1 if pooling == "mean" else 0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeScorer:
    """Linear heads on standardised pooled vectors of several depths, averaged: one linear function of all of them.

    The lower depths cost nothing, the backbone passes them on its way to the cut.

    Attributes:
        depths: [K] depths that are read, ascending; the last one is the cut.
        pooling: Which pooled vectors are read.
        mean: [K, F] subtracted.
        scale: [K, F] divided by.
        weight: [K, C, F].
        bias: [C].
    """

    depths: tuple[int, ...]
    pooling: Pooling
    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    @property
    def depth(self) -> int:
        """Blocks below the cut."""
        return self.depths[-1]

    @property
    def wanted(self) -> Wanted:
        """Pooled vectors at every depth that is read."""
        return Wanted(pooled=self.depths)

    def logits(self, piece: Piece) -> Floats:
        """Return [N, C] fp32 class scores of the texts of ``piece``, in its order."""
        scores = np.tile(self.bias, (len(piece.batch.texts), 1))
        for depth, mean, scale, weight in zip(self.depths, self.mean, self.scale, self.weight, strict=True):
            scores += ((pool(piece.pooled[depth], self.pooling) - mean) / scale) @ weight.T
        return scores


class TailScorer(nn.Module):
    """The blocks above the cut, the final norm and a bias-free linear head, read at the last token of a text.

    An encoder's are read at the first one. Without a bias the head fits the ``score`` layer of the reference library's
    sequence classifiers. The mean of all tokens, alone or beside that one, costs the top block for every token.

    Args:
        decoder: Holds the blocks above the cut and the final norm; with embeddings it reads token ids.
        classes: C.
        pooling: Which tokens are read; default the last one, of an encoder the first one.
        kind: How it was trained, for people.
    """

    def __init__(self, decoder: Part, classes: int, *, pooling: Pooling | None = None, kind: Kind = "tail") -> None:
        super().__init__()
        self.decoder = decoder
        self.pooling: Pooling = pooling or own_pooling(causal=decoder.config.causal)
        self.kind: Kind = kind
        self.head = nn.Linear(decoder.config.width * vectors_of(self.pooling), classes, bias=False)

    @property
    def cut(self) -> int:
        """Blocks below the tail."""
        return self.decoder.first

    @property
    def depth(self) -> int:
        """Blocks in all: below the cut and in the tail."""
        return self.cut + len(self.decoder.blocks)

    @property
    def wanted(self) -> Wanted:
        """Token states at the cut, or token ids."""
        return Wanted(ids=True) if self.decoder.has_embeddings else Wanted(states=(self.cut,))

    def inputs(self, features: Features, texts: Indices) -> Tensor:
        """Return what it reads of the given texts, packed in that order: [T, D] token states, or [T] token ids."""
        read = features.ids(texts) if self.decoder.has_embeddings else features.states(self.cut, texts)
        return torch.from_numpy(read).to(self.head.weight.device)

    def forward(self, inputs: Tensor, layout: Packed) -> Tensor:
        """Return [N, C] fp32 class scores.

        Args:
            inputs: [T, D] packed token states at the cut, or [T] packed token ids.
            layout: Their layout.
        """
        states_TD = self.decoder.embed(inputs, layout) if self.decoder.has_embeddings else inputs
        scores: Tensor = self.head(self._pooled(states_TD, layout))
        return scores.float()

    def _pooled(self, states_TD: Tensor, layout: Packed) -> Tensor:
        if self.pooling in ("last", "first"):
            return self.decoder.read_rows(states_TD, layout)
        top_TD = self.decoder.top_states(states_TD, layout)
        mean_ND = mean_states(top_TD, layout.groups)
        return mean_ND if self.pooling == "mean" else torch.cat((top_TD[layout.read], mean_ND), dim=1)

    @torch.inference_mode()
    def logits(self, piece: Piece) -> Floats:
        """Return [N, C] fp32 class scores of the texts of ``piece``, in its order."""
        device = self.head.weight.device
        read = piece.states[self.cut] if piece.ids is None else piece.ids
        layout = self.decoder.layout(piece.batch, device)
        scores: Floats = self(torch.from_numpy(read).to(device), layout).cpu().numpy()
        return scores


def score_features(scorer: Scorer, features: Features, texts: Indices) -> Floats:
    """Return [texts, C] class scores from stored features, in the order asked for; those of windows are merged.

    Args:
        scorer: Fitted.
        features: Hold what it wants.
        texts: Which of them.
    """
    wanted = scorer.wanted
    pooled = {depth: features.pooled(depth) for depth in wanted.pooled}
    pieces: list[tuple[Indices, Floats]] = []
    windows = features.windows.of(texts)
    for batch in batches(features.lengths[windows], token_budget=SCORING_TOKENS):
        rows = windows[batch.texts]
        piece = Piece(
            batch=batch,
            pooled={depth: vectors[rows] for depth, vectors in pooled.items()},
            states={depth: features.states(depth, rows) for depth in wanted.states},
            ids=features.ids(rows) if wanted.ids else None,
        )
        pieces.append((batch.texts, scorer.logits(piece)))
    return features.windows.merged(in_order(pieces), texts)


def in_order(pieces: list[tuple[Indices, Floats]]) -> Floats:
    """Return the rows of all pieces, put back at the places they came from.

    Args:
        pieces: (places [N], rows [N, C]) that cover 0..texts once.
    """
    places = np.concatenate([places for places, _ in pieces])
    out = np.empty((len(places), pieces[0][1].shape[1]), dtype=np.float32)
    out[places] = np.concatenate([rows for _, rows in pieces])
    return out


def probabilities(logits: Floats, *, several: bool = False) -> NDArray[np.float64]:
    """Return [N, C] float64 probabilities: the softmax of each row, or the sigmoid of each score.

    Args:
        logits: [N, C].
        several: Whether a text can have several labels, so that each has a probability by itself.
    """
    return (sigmoid if several else softmax)(logits.astype(np.float64))
