"""Which trained tensor learns how fast, and which decays: the parameter groups of the optimiser."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from tailtune.methods.scorers import TailScorer

Decayed = Literal["all", "matrices"]


def parameter_groups(
    tail: TailScorer,
    *,
    rate: float,
    layer_decay: float,
    head_factor: float,
    weight_decay: float,
    decayed: Decayed,
) -> list[dict[str, Any]]:
    """Return the trained tensors, in their order, in one group per rate and weight decay.

    Args:
        tail: What is trained of it has a gradient.
        rate: Of the top block, the final norm and, but for its factor, the head.
        layer_decay: Each block learns at so much of the rate of the one above it, the embeddings below the lowest.
        head_factor: The head learns so much faster.
        weight_decay: AdamW's.
        decayed: All tensors, or those of two dimensions and more: not the gains of norms and not biases, which are few
            and whose size means something by itself.
    """
    levels, heads = _levels(tail), {id(tensor) for tensor in tail.head.parameters()}
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for tensor in tail.parameters():
        if tensor.requires_grad:
            share = head_factor if id(tensor) in heads else layer_decay ** levels.get(id(tensor), 0)
            decay = weight_decay if decayed == "all" or tensor.ndim > 1 else 0.0
            groups.setdefault((rate * share, decay), []).append(tensor)
    return [{"params": tensors, "lr": own, "weight_decay": decay} for (own, decay), tensors in groups.items()]


def _levels(tail: TailScorer) -> dict[int, int]:
    """Blocks between each tensor of the decoder and the top, by the tensor's id; a tensor of two blocks is the upper's.

    What stands in no block is in the embeddings, or is the final norm, at the top.
    """
    decoder, count = tail.decoder, len(tail.decoder.blocks)
    levels = {id(tensor): count for tensor in decoder.parameters()}
    for place, (_, block) in enumerate(decoder.blocks.items()):
        levels |= {id(tensor): count - 1 - place for tensor in block.parameters()}
    if decoder.final_norm is not None:
        levels |= {id(tensor): 0 for tensor in decoder.final_norm.parameters()}
    return levels
