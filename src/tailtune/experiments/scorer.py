"""What a row trains: a tail that may be read at any position, under a head with a bias, as the book's has one.

The product's tails read the token that has seen the others, or the mean of the text. The book's rows read others too,
to show what that costs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from tailtune.features.backbone import mean_states
from tailtune.methods.lora import LoraSettings, add_lora
from tailtune.methods.scorers import TailScorer
from tailtune.models.decoder import Decoder, OnePlusRMSNorm, Packed
from tailtune.models.mapped import tensors_of
from tailtune.models.parts import Part, Shape, make_part

Place = Literal["last", "first", "mean"]


class RowScorer(TailScorer):
    """Blocks, final norm and head, read at one position of what is there, pads or not.

    Args:
        decoder: Holds the trained blocks, none for a head alone, and the final norm; with embeddings it reads ids.
        classes: C.
        place: The last position, the first, or the mean over all of them.
    """

    def __init__(self, decoder: Part, classes: int, *, place: Place) -> None:
        super().__init__(decoder, classes)
        self.head = nn.Linear(decoder.config.width, classes)
        self.place = place

    def _pooled(self, states_TD: Tensor, layout: Packed) -> Tensor:
        if self.place == "mean":
            # The mean of the scores of all positions, as in the book, is the score of their mean: the head is linear.
            return mean_states(self.decoder.top_states(states_TD, layout), layout.groups)
        layout = replace(layout, read=_rows(layout, self.place))
        if self.decoder.blocks and _one_row_is_enough(self.decoder):
            return self.decoder.read_rows(states_TD, layout)
        return self.decoder.top_states(states_TD, layout)[layout.read]


def _one_row_is_enough(decoder: Part) -> bool:
    """Whether the top block can be computed for any one row: with windows and slopes the distance to it would count."""
    if not isinstance(decoder, Decoder):
        return False
    return decoder.config.causal or not (decoder.config.window or decoder.config.alibi)


def _rows(layout: Packed, place: Place) -> Tensor:
    lengths = torch.tensor([length for count, length in layout.groups for _ in range(count)])
    last = lengths.cumsum(0) - 1
    return (last if place == "last" else last - lengths + 1).to(layout.read.device)


def new_scorer(
    decoder: Part, *, blocks: int, place: Place, classes: int, seed: int, embeddings: bool = False
) -> RowScorer:
    """Return copies of the top ``blocks`` of ``decoder`` and of its final norm under a fresh head, to be trained.

    Without blocks the head alone is trained, as in the book: the final norm stays as it was.

    Args:
        decoder: Whole; it is not touched.
        blocks: At least 0.
        place: Which position is read.
        classes: C.
        seed: Of the head, uniform in ±1/sqrt(D), the usual start of a linear layer.
        embeddings: Train a copy of the embeddings too, where all blocks are trained.
    """
    depth = len(decoder.blocks)
    part = make_part(decoder.config, first=depth - blocks, blocks=blocks, embeddings=embeddings)
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


def with_updates(scorer: RowScorer, *, rank: int, scale: float, seed: int) -> RowScorer:
    """Return ``scorer`` with low-rank updates beside all its products; they and the head alone are trained.

    Args:
        scorer: From ``new_scorer``; changed in place.
        rank: Of each update.
        scale: What an update is multiplied by: alpha / rank by the method's authors, alpha by the book.
        seed: Of the updates' start.

    Raises:
        ConfigError: If the model has no native family.
        SetupError: If peft is not installed.
    """
    add_lora(scorer, LoraSettings(rank=rank, alpha=scale * rank), seed=seed)
    return scorer


def trained_weights(scorer: RowScorer) -> int:
    """Return how many weights training changes."""
    return sum(tensor.numel() for tensor in scorer.parameters() if tensor.requires_grad)


def without_mask(decoder: Decoder) -> Decoder:
    """Return ``decoder`` with every token seeing all of its text; it shares the tensors."""
    config = replace(decoder.config, causal=False)
    with torch.device("meta"):
        other = Decoder(config, blocks=len(decoder.blocks))
    other.load_state_dict({name: tensor.float() for name, tensor in tensors_of(decoder).items()}, assign=True)
    return other.eval().requires_grad_(False)


def usual_start(shape: Shape, seed: int) -> Part:
    """Return a decoder of that shape whose layers start as PyTorch starts them, as the book's random weights do.

    That is not how language models start: embeddings are normal with deviation 1, GPT-2's with 0.02.

    Args:
        shape: Of a native model.
        seed: Other seeds give other weights.
    """
    part = make_part(shape).to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in part.modules():
            if isinstance(module, OnePlusRMSNorm):
                nn.init.zeros_(module.weight)
            elif isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm | nn.RMSNorm):
                module.reset_parameters()
    return part.eval().requires_grad_(False)
