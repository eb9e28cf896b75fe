"""Starting points: which blocks are trained, from which weights, under which head."""

from __future__ import annotations

import math

import torch

from tailtune.methods.scorers import Kind, Pooling, TailScorer
from tailtune.models.mapped import tensors_of
from tailtune.models.parts import Part, make_part


def new_tail(
    decoder: Part,
    *,
    blocks: int,
    depth: int,
    classes: int,
    seed: int,
    pooling: Pooling | None = None,
    embeddings: bool = False,
    kind: Kind = "tail",
) -> TailScorer:
    """Return a trainable tail: copies of the top ``blocks`` below ``depth``, of the final norm, and a fresh head.

    Args:
        decoder: Pretrained, holds at least ``depth`` blocks and the final norm; it is not touched.
        blocks: Trainable blocks, at least 1.
        depth: Blocks in all, cut included.
        classes: C.
        seed: The head starts uniform in ±1/sqrt(D), the usual start of a linear layer of D inputs.
        pooling: Which tokens are read; default the last one, of an encoder the first one.
        embeddings: Train a copy of the embeddings too, where all blocks are trained; token ids are read then.
        kind: How it is trained, for people.
    """
    part = make_part(decoder.config, first=depth - blocks, blocks=blocks, embeddings=embeddings)
    source = tensors_of(decoder)
    part.load_state_dict({name: source[name].float().clone() for name in part.state_dict()}, assign=True)
    tail = TailScorer(part, classes, pooling=pooling, kind=kind)
    bound = 1.0 / math.sqrt(tail.head.in_features)
    with torch.no_grad():
        tail.head.weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
    device = next(decoder.parameters()).device
    return tail.to(device).requires_grad_(True)


def split_embeddings(tail: TailScorer) -> tuple[TailScorer, Part]:
    """Return the tail without its embeddings, and a backbone of no blocks that holds them; both share its tensors.

    Args:
        tail: From ``new_tail`` with embeddings; trained.
    """
    whole = tail.decoder
    part = make_part(whole.config, blocks=len(whole.blocks), embeddings=False)
    state = whole.state_dict()
    part.load_state_dict({name: state[name] for name in part.state_dict()}, assign=True)
    rest = TailScorer(part, tail.head.out_features, pooling=tail.pooling, kind=tail.kind)
    rest.head = tail.head
    return rest.eval().requires_grad_(False), whole.below(0)
