"""What a row trains: a tail that may be read at any position, under a head with a bias, as the book's has one.

The product's tail reads the one token that has seen the others. The book's rows read others, to show what that costs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from tailtune.features.backbone import mean_states
from tailtune.methods.scorers import TailScorer
from tailtune.models.decoder import Decoder, Packed
from tailtune.models.mapped import tensors_of
from tailtune.models.parts import Part, make_part
from tailtune.text.packing import Batch

Place = Literal["last", "first", "mean"]


class RowScorer(TailScorer):
    """Blocks, final norm and head, read at one position of what is there, pads or not.

    Args:
        decoder: Holds the trained blocks, none for a head alone, and the final norm.
        classes: C.
        place: The last position, the first, or the mean over all of them.
    """

    def __init__(self, decoder: Part, classes: int, *, place: Place) -> None:
        super().__init__(decoder, classes)
        self.head = nn.Linear(decoder.config.width, classes)
        self.place = place

    @property
    def trained(self) -> int:
        """Weights above the cut that training changes."""
        held = [*self.head.parameters(), *(self.decoder.parameters() if self.decoder.blocks else ())]
        return sum(tensor.numel() for tensor in held)

    def forward(self, states_TD: Tensor, layout: Packed) -> Tensor:
        """Return [N, C] fp32 class scores.

        Args:
            states_TD: [T, D] packed token states at the cut.
            layout: Their layout.
        """
        read = self._mean if self.place == "mean" else self._row
        scores: Tensor = self.head(read(states_TD, layout))
        return scores.float()

    def _row(self, states_TD: Tensor, layout: Packed) -> Tensor:
        layout = replace(layout, read=_rows(layout, self.place))
        if self.decoder.blocks and _one_row_is_enough(self.decoder):
            return self.decoder.read_rows(states_TD, layout)
        return self._normed(self._top(states_TD, layout)[layout.read])

    def _mean(self, states_TD: Tensor, layout: Packed) -> Tensor:
        # The mean of the scores of all positions, which the book takes, is the score of their mean: the head is linear.
        normed = self._normed(self._top(states_TD, layout))
        return mean_states(normed, Batch(texts=torch.arange(len(layout.read)).numpy(), groups=layout.groups))

    def _top(self, states_TD: Tensor, layout: Packed) -> Tensor:
        for _, above in self.decoder.climb(states_TD, layout):
            states_TD = above
        return states_TD

    def _normed(self, states: Tensor) -> Tensor:
        norm = self.decoder.final_norm
        return states if norm is None else norm(states)


def _one_row_is_enough(decoder: Part) -> bool:
    """Whether the top block can be computed for any one row: with windows and slopes the distance to it would count."""
    if not isinstance(decoder, Decoder):
        return False
    return decoder.config.causal or not (decoder.config.window or decoder.config.alibi)


def _rows(layout: Packed, place: Place) -> Tensor:
    lengths = torch.tensor([length for count, length in layout.groups for _ in range(count)])
    last = lengths.cumsum(0) - 1
    return (last if place == "last" else last - lengths + 1).to(layout.read.device)


def new_scorer(decoder: Part, *, blocks: int, place: Place, classes: int, seed: int) -> RowScorer:
    """Return copies of the top ``blocks`` of ``decoder`` and of its final norm under a fresh head, to be trained.

    Without blocks the head alone is trained, as in the book: the final norm stays as it was.

    Args:
        decoder: Whole; it is not touched.
        blocks: At least 0.
        place: Which position is read.
        classes: C.
        seed: Of the head, uniform in ±1/sqrt(D), the usual start of a linear layer.
    """
    depth = len(decoder.blocks)
    part = make_part(decoder.config, first=depth - blocks, blocks=blocks, embeddings=False)
    source = tensors_of(decoder)
    part.load_state_dict({name: source[name].float().clone() for name in part.state_dict()}, assign=True)
    scorer = RowScorer(part, classes, place=place)
    bound, random = 1.0 / math.sqrt(decoder.config.width), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (scorer.head.weight, scorer.head.bias):
            tensor.uniform_(-bound, bound, generator=random)
    device = next(decoder.parameters()).device
    scorer.to(device).requires_grad_(True)
    if not blocks:
        scorer.decoder.requires_grad_(False)
    return scorer


def without_mask(decoder: Decoder) -> Decoder:
    """Return ``decoder`` with every token seeing all of its text; it shares the tensors."""
    config = replace(decoder.config, causal=False)
    with torch.device("meta"):
        other = Decoder(config, blocks=len(decoder.blocks))
    other.load_state_dict({name: tensor.float() for name, tensor in tensors_of(decoder).items()}, assign=True)
    return other.eval().requires_grad_(False)
