"""What this machine gives: milliseconds and bytes of one depth, seconds of plain matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from tailtune.features.backbone import Backbone, Wanted
from tailtune.models.mapped import shapes_of
from tailtune.models.onednn import fastest_linear
from tailtune.text.packing import pack
from tailtune.text.tokenizer import Tokens
from tailtune.text.windows import Windows

_REPEATS = 9
# Of these so many are read to tell the speed of a pass.
_SPEED_TOKENS, _SPEED_BLOCKS = 2048, 4


def middling(tokens: Tokens, windows: Windows) -> tuple[Tokens, int]:
    """Return the first window of the text whose length is the median, and how many windows it has.

    Args:
        tokens: Of the windows.
        windows: Which belong to which text.
    """
    order = np.argsort(windows.lengths, kind="stable")
    text = order[len(order) // 2 :][:1]
    return tokens.take(windows.of(text)[:1]), int(windows.counts[text].sum())


@torch.inference_mode()
def milliseconds(backbone: Backbone, text: Tokens, depths: Sequence[int]) -> dict[int, float]:
    """Return depth -> median milliseconds from token ids to the states, one text at a time.

    Args:
        backbone: Holds every depth asked for.
        text: One text.
        depths: At least 1 each.
    """
    batch = pack(np.zeros(1, dtype=np.int64), text.lengths)
    measured: dict[int, list[float]] = {depth: [] for depth in depths}
    for _ in range(_REPEATS + 1):
        started = time.perf_counter()
        for depth, above in backbone.climb(text, batch):
            if depth in measured:
                above[-1].cpu()  # an accelerator has answered only then
                measured[depth].append(1000 * (time.perf_counter() - started))
            if depth == max(depths):
                break
    return {depth: statistics.median(found[1:]) for depth, found in measured.items()}


def blocks_per_second(backbone: Backbone, tokens: Tokens, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return tokens times blocks per second of a forward pass over some of the texts.

    Args:
        backbone: Holds at least one block.
        tokens: Of all texts.
        clock: Returns seconds; only differences matter.
    """
    some = tokens.take(np.flatnonzero(np.cumsum(tokens.lengths) <= _SPEED_TOKENS) if len(tokens) else np.arange(0))
    some = some if len(some) else tokens.take(np.zeros(1, dtype=np.int64))
    wanted = Wanted(pooled=(min(_SPEED_BLOCKS, backbone.depth),))
    for _ in backbone.run(some, wanted):  # the first pass makes what later ones find
        pass
    started = clock()
    for _ in backbone.run(some, wanted):
        pass
    return float(some.offsets[-1]) * wanted.depth / max(clock() - started, 1e-6)


def stored_bytes(backbone: Backbone, depths: Sequence[int]) -> Mapping[int, int]:
    """Return depth -> bytes of the embeddings and the blocks below it, as a bundle stores them."""
    sizes = {name: tensor.nbytes for name, tensor in shapes_of(backbone.decoder).items()}
    blocks = {name: size for name, size in sizes.items() if name.startswith("blocks.")}
    below = sum(sizes.values()) - sum(blocks.values())
    return {depth: below + sum(s for name, s in blocks.items() if int(name.split(".")[1]) < depth) for depth in depths}


@torch.inference_mode()
def products_seconds(
    shapes: Sequence[tuple[int, int]], rows: int, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the seconds of one fp32 product of each shape: the fastest of ``repeats`` each, of MKL and oneDNN.

    Args:
        shapes: (outputs, inputs).
        rows: Of the other factor.
        repeats: At least 1.
        clock: Returns seconds; only differences matter.
    """
    total = 0.0
    for outputs, inputs in shapes:
        x, layer = torch.randn(rows, inputs), nn.Linear(inputs, outputs, bias=False)
        ways = (layer, fastest_linear(layer))
        total += min(_seconds(way, x, clock) for way in ways for _ in range(repeats))
    return total


def update_seconds(weights: float) -> float:
    """Return the seconds that AdamW takes to change so many weights: 28 bytes of each, 10 GB a second."""
    return weights * 28 / 10e9


def _seconds(way: nn.Module, x: torch.Tensor, clock: Callable[[], float]) -> float:
    started = clock()
    way(x)
    return clock() - started
