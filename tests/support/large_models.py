"""Random Llamas large enough for their weights to show in the memory of a process, in shards with an index."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from support.tiny_models import write_tiny_llama
from tailtune.models.sources.entries import INDEX


def write_large_llama(
    folder: Path,
    *,
    width: int = 512,
    wide: int = 1408,
    vocabulary: int = 8000,
    blocks: int = 16,
    shards: int = 4,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Return ``folder``, now holding a random Llama: by default 51 million weights, 206 MB in fp32.

    Args:
        folder: Created when missing.
        width: Of the hidden states.
        wide: Inner width of the MLP.
        vocabulary: Rows of the embedding; the tokenizer's ids are lower.
        blocks: A multiple of ``shards``.
        shards: Files; the first one holds the embedding too.
        dtype: In which the weights are stored.
    """
    write_tiny_llama(folder, heads=8, kv_heads=4, blocks=1)
    (folder / "model.safetensors").unlink()
    sizes = {"vocab_size": vocabulary, "hidden_size": width, "intermediate_size": wide, "num_hidden_layers": blocks}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **sizes}))
    draw = torch.Generator().manual_seed(0)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        tensors: dict[str, Tensor] = {}
        if shard == 0:
            tensors["model.embed_tokens.weight"] = torch.randn(vocabulary, width, generator=draw)
        for block in range(shard * blocks // shards, (shard + 1) * blocks // shards):
            tensors |= {f"model.layers.{block}.{name}": x for name, x in _block(width, wide, draw).items()}
        if shard == shards - 1:
            tensors["model.norm.weight"] = torch.ones(width)
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, folder / file)
        weight_map |= dict.fromkeys(tensors, file)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return folder


def _block(width: int, wide: int, draw: torch.Generator) -> dict[str, Tensor]:
    shapes = {
        "self_attn.q_proj.weight": (width, width),
        "self_attn.k_proj.weight": (width // 2, width),
        "self_attn.v_proj.weight": (width // 2, width),
        "self_attn.o_proj.weight": (width, width),
        "mlp.gate_proj.weight": (wide, width),
        "mlp.up_proj.weight": (wide, width),
        "mlp.down_proj.weight": (width, wide),
    }
    products = {name: torch.randn(*shape, generator=draw) / shape[1] ** 0.5 for name, shape in shapes.items()}
    return {
        **products,
        "input_layernorm.weight": torch.ones(width),
        "post_attention_layernorm.weight": torch.ones(width),
    }
