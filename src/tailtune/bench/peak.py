"""How near the backbone pass comes to this machine's own fp32 matrix products of the same shapes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tailtune.bench.material import load_material
from tailtune.bench.timing import spread, timed
from tailtune.features.backbone import TOKEN_BUDGET, Backbone, Wanted
from tailtune.features.cost import products_seconds
from tailtune.models.decoder import Decoder
from tailtune.models.weights import load_decoder
from tailtune.runs import peak_rss_mib
from tailtune.text.packing import batches
from tailtune.text.tokenizer import Tokens

# Repetitions of each product, before the pass and after it; the fastest one counts.
REPEATS = 20


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return GFLOP/s of the pass, counting its products only, and of these products alone, and the share.

    Args:
        request: That of ``load_material``; ``batches`` is how many to pass, spread over all lengths.
    """
    material = load_material(request)
    decoder = load_decoder(material.model)
    backbone = Backbone(decoder.below(decoder.config.blocks - 1), device=torch.device("cpu"))
    tokens = material.tokenizer().encode(list(dict.fromkeys(material.seen.texts)))
    packed = [batch.texts for batch in batches(tokens.lengths, token_budget=TOKEN_BUDGET)]
    chosen = [packed[place] for place in spread(len(packed), request["batches"])]
    counts = [int(tokens.lengths[texts].sum()) for texts in chosen]
    rows = int(np.median(counts))
    shapes = product_shapes(decoder)
    per_row = 2 * backbone.depth * sum(outputs * inputs for outputs, inputs in shapes)
    passed = Wanted(states=(backbone.depth,))
    works = [functools.partial(_pass, backbone, tokens.take(texts), passed) for texts in chosen]
    works[0]()
    before = products_seconds(shapes, rows, REPEATS)
    seconds = [timed(work)[0] for work in works]
    after = products_seconds(shapes, rows, REPEATS)
    own = per_row * sum(counts) / sum(seconds)
    alone = [per_row / backbone.depth * rows / taken for taken in (before, after)]
    return {
        "shapes": shapes,
        "rows": rows,
        "blocks": backbone.depth,
        "batches": len(chosen),
        "tokens": sum(counts),
        "seconds": sum(seconds),
        "pass_gflops": own / 1e9,
        "products_gflops": {"before": alone[0] / 1e9, "after": alone[1] / 1e9},
        "share": own / max(alone),
        "peak_mib": peak_rss_mib(),
    }


def product_shapes(decoder: Decoder) -> list[tuple[int, int]]:
    """Return (outputs, inputs) of the products of one block, in order."""
    block = next(iter(decoder.blocks.values()))
    return [(layer.out_features, layer.in_features) for layer in block.children() if isinstance(layer, nn.Linear)]


def _pass(backbone: Backbone, tokens: Tokens, wanted: Wanted) -> None:
    for _ in backbone.run(tokens, wanted):
        pass
