"""What the catalogue says of each model is what the reference library makes of the model's published config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from tailtune.models.sources.catalog import entries, find_entry

# The sizes in each model's config.json.
_SMOLLM2_135M = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
_SMOLLM2_360M = {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15}
_SMOLLM2_1700M = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32}
_QWEN3 = {
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
_GEMMA3 = {
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262_144,
    "max_position_embeddings": 32_768,
}  # fmt: skip


def _gpt2(width: int, blocks: int) -> tuple[str, dict[str, Any]]:
    return "gpt2", {"n_embd": width, "n_layer": blocks, "n_head": width // 64, "n_positions": 1024}


def _smollm2(sizes: Mapping[str, int], key_value_heads: int) -> tuple[str, dict[str, Any]]:
    rest = {"num_key_value_heads": key_value_heads, "vocab_size": 49_152, "max_position_embeddings": 8192}
    return "llama", {**sizes, **rest, "tie_word_embeddings": True}


def _qwen3(width: int, context: int) -> tuple[str, dict[str, Any]]:
    sizes = {"hidden_size": width, "intermediate_size": 3 * width, "max_position_embeddings": context}
    return "qwen3", {**_QWEN3, **sizes}


def _pythia(width: int, blocks: int, heads: int) -> tuple[str, dict[str, Any]]:
    sizes = {"hidden_size": width, "num_hidden_layers": blocks, "num_attention_heads": heads}
    rest = {"intermediate_size": 4 * width, "vocab_size": 50_304, "max_position_embeddings": 2048}
    return "gpt_neox", {**sizes, **rest, "tie_word_embeddings": False}


_CONFIGS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "smollm2-135m-instruct": _smollm2(_SMOLLM2_135M, 3),
    "smollm2-135m": _smollm2(_SMOLLM2_135M, 3),
    "smollm2-360m": _smollm2(_SMOLLM2_360M, 5),
    "smollm2-360m-instruct": _smollm2(_SMOLLM2_360M, 5),
    "smollm2-1.7b": _smollm2(_SMOLLM2_1700M, 32),
    "smollm2-1.7b-instruct": _smollm2(_SMOLLM2_1700M, 32),
    "gpt2": _gpt2(768, 12),
    "gpt2-medium": _gpt2(1024, 24),
    "gpt2-large": _gpt2(1280, 36),
    "gpt2-xl": _gpt2(1600, 48),
    "qwen3-0.6b": _qwen3(1024, 40_960),
    "qwen3-0.6b-base": _qwen3(1024, 32_768),
    "qwen3-1.7b": _qwen3(2048, 40_960),
    "qwen3-1.7b-base": _qwen3(2048, 32_768),
    "llama-3.2-1b": (
        "llama",
        {
            "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128_256, "max_position_embeddings": 131_072,
            "tie_word_embeddings": True,
        },
    ),
    "gemma-3-270m": (
        "gemma3_text", {**_GEMMA3, "hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18},
    ),
    "gemma-3-1b": (
        "gemma3_text", {**_GEMMA3, "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26},
    ),
    "pythia-14m": _pythia(128, 6, 4),
    "pythia-31m": _pythia(256, 6, 8),
    "pythia-70m": _pythia(512, 6, 8),
    "pythia-160m": _pythia(768, 12, 12),
    "pythia-410m": _pythia(1024, 24, 16),
    "pythia-1b": _pythia(2048, 16, 8),
    "olmo-2-1b": (
        "olmo2",
        {
            "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 16,
            "num_key_value_heads": 16, "vocab_size": 100_352, "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
        },
    ),
    "minilm-l6": (
        "bert",
        {
            "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12,
            "vocab_size": 30_522, "max_position_embeddings": 512,
        },
    ),
}  # fmt: skip


def test_every_model_is_checked() -> None:
    """An entry without a config here is not in the catalogue."""
    assert _CONFIGS.keys() == {entry.name for entry in entries()}


@pytest.mark.parametrize("name", list(_CONFIGS))
def test_counts_are_those_of_the_reference_library(name: str) -> None:
    """Weights, those of the products in the blocks, blocks, width, context; built on the meta device."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    kind, sizes = _CONFIGS[name]
    config = AutoConfig.for_model(kind, **sizes)
    with torch.device("meta"):
        model = (AutoModel if kind == "bert" else AutoModelForCausalLM).from_config(config)
    weights = dict(model.named_parameters())
    products = [weight for part, weight in weights.items() if weight.ndim == 2 and re.search(r"\.\d+\.", part)]
    entry = find_entry(name)
    assert entry is not None
    assert entry.parameters == sum(weight.numel() for weight in weights.values())
    assert entry.block_weights == sum(weight.numel() for weight in products)
    shape = (config.num_hidden_layers, config.hidden_size, config.max_position_embeddings)
    assert (entry.blocks, entry.width, entry.context) == shape
