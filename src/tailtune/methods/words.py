"""Classes as words: what a language model's own head says of the next word, as class scores.

Imported by prediction; knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tailtune.features.backbone import Floats, Piece, Wanted
from tailtune.methods.scorers import Pooling, ProbeScorer, Scorer, TailScorer
from tailtune.models.parts import Part


class WordScorer(nn.Module):
    """The final norm and the LM head's rows of some words, read at the last token of a text.

    A class scores the logarithm of the mean probability of its words: more words make no class likelier.

    Args:
        decoder: Holds the final norm, where the family has one, and no blocks; its ``first`` is the depth.
        owners: [W] the class of each word; every class has a word.
        cap: Scores of words are bent into ± this by tanh; None for none.
    """

    prior: Tensor

    def __init__(self, decoder: Part, owners: Sequence[int], *, cap: float | None) -> None:
        super().__init__()
        self.decoder = decoder
        self.owners = tuple(owners)
        self.cap = cap
        self.words = nn.Linear(decoder.config.width, len(self.owners), bias=False)
        # [C] taken off the class scores: what they are of texts that say nothing.
        self.register_buffer("prior", torch.zeros(self.classes))

    @property
    def classes(self) -> int:
        """C."""
        return max(self.owners) + 1

    @property
    def depth(self) -> int:
        """Blocks below."""
        return self.decoder.first

    @property
    def pooling(self) -> Pooling:
        """The one token that is read."""
        return "last"

    @property
    def wanted(self) -> Wanted:
        """Pooled vectors at the top."""
        return Wanted(pooled=(self.depth,))

    def forward(self, states_ND: Tensor) -> Tensor:
        """Return [N, W] the scores of the words, as the language model has them.

        Args:
            states_ND: [N, D] states at the last token, below the final norm.
        """
        norm = self.decoder.final_norm
        scores: Tensor = self.words(states_ND if norm is None else norm(states_ND))
        return scores if self.cap is None else self.cap * torch.tanh(scores / self.cap)

    def logits(self, piece: Piece) -> Floats:
        """Return [N, C] fp32 class scores of the texts of ``piece``, in its order."""
        return self.score(piece.pooled[self.depth])

    @torch.inference_mode()
    def score(self, pooled: Floats) -> Floats:
        """Return [N, C] fp32 class scores.

        Args:
            pooled: [N, 2, D] vectors at the top, the state at the last token first.
        """
        states = torch.from_numpy(np.ascontiguousarray(pooled[:, 0]))
        scores = self(states.to(self.words.weight.device)).float()
        owners = torch.tensor(self.owners, device=scores.device)
        of_classes = [scores[:, owners == number] for number in range(self.classes)]
        means = [own.logsumexp(dim=1) - np.log(own.shape[1]) for own in of_classes]
        found: Floats = (torch.stack(means, dim=1) - self.prior).cpu().numpy()
        return found

    def rows(self) -> Tensor:
        """Return [C, D], the mean row of each class's words, less what all have in common: where a head starts.

        The softmax does not see what all rows share, but weight decay would pull at it.
        """
        owners = torch.tensor(self.owners)
        weight = self.words.weight.detach().cpu()
        rows = torch.stack([weight[owners == number].mean(dim=0) for number in range(self.classes)])
        return rows - rows.mean(dim=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidedProbe:
    """A probe on top of what the words score: where it knows nothing, the language model's word counts.

    Attributes:
        probe: Its class scores are added to those of the words.
        words: Read at the top.
        strength: The words' scores are multiplied by it.
    """

    probe: ProbeScorer
    words: WordScorer
    strength: float

    @property
    def depth(self) -> int:
        """Blocks below."""
        return max(self.probe.depth, self.words.depth)

    @property
    def wanted(self) -> Wanted:
        """Pooled vectors of both."""
        return self.probe.wanted | self.words.wanted

    @property
    def pooling(self) -> Pooling:
        """Which tokens the probe reads."""
        return self.probe.pooling

    def logits(self, piece: Piece) -> Floats:
        """Return [N, C] fp32 class scores of the texts of ``piece``, in its order."""
        return self.probe.logits(piece) + np.float32(self.strength) * self.words.logits(piece)


def method_of(scorer: Scorer) -> str:
    """Return what made ``scorer``: probe, tail, lora, full or zero-shot; a guided probe is a probe."""
    if isinstance(scorer, WordScorer):
        return "zero-shot"
    return scorer.kind if isinstance(scorer, TailScorer) else "probe"
