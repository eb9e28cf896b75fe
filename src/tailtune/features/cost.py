"""What one depth costs on this machine: milliseconds for a single text, bytes on the disk."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from tailtune.features.backbone import Backbone
from tailtune.models.mapped import shapes_of
from tailtune.text.packing import pack
from tailtune.text.tokenizer import Tokens
from tailtune.text.windows import Windows

_REPEATS = 9


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
    """Return depth -> median milliseconds from token ids to the state of the last token, one text at a time.

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


def stored_bytes(backbone: Backbone, depths: Sequence[int]) -> Mapping[int, int]:
    """Return depth -> bytes of the embeddings and the blocks below it, as a bundle stores them."""
    sizes = {name: tensor.nbytes for name, tensor in shapes_of(backbone.decoder).items()}
    blocks = {name: size for name, size in sizes.items() if name.startswith("blocks.")}
    below = sum(sizes.values()) - sum(blocks.values())
    return {depth: below + sum(s for name, s in blocks.items() if int(name.split(".")[1]) < depth) for depth in depths}
