"""Starting points: which blocks are trained, from which weights, under which head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tailtune.methods.scorers import TailScorer
from tailtune.models.mapped import tensors_of
from tailtune.models.parts import Part, make_part


def new_tail(
    decoder: Part, *, blocks: int, depth: int, classes: int, seed: int, head: Tensor | None = None
) -> TailScorer:
    """Return a trainable tail: copies of the top ``blocks`` below ``depth``, of the final norm, and a head.

    Args:
        decoder: Pretrained, holds at least ``depth`` blocks and the final norm; it is not touched.
        blocks: Trainable blocks, at least 1.
        depth: Blocks in all, cut included.
        classes: C.
        seed: The head starts uniform in ±1/sqrt(D), the usual start of a linear layer.
        head: [C, D] where it starts instead.
    """
    part = make_part(decoder.config, first=depth - blocks, blocks=blocks, embeddings=False)
    source = tensors_of(decoder)
    part.load_state_dict({name: source[name].float().clone() for name in part.state_dict()}, assign=True)
    tail = TailScorer(part, classes)
    bound = 1.0 / math.sqrt(decoder.config.width)
    with torch.no_grad():
        tail.head.weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
        if head is not None:
            tail.head.weight.copy_(head)
    device = next(decoder.parameters()).device
    return tail.to(device).requires_grad_(True)
