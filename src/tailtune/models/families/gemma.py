"""Gemma 2 and Gemma 3 (text)."""

from __future__ import annotations

import math
from dataclasses import replace

from tailtune.models.families.llama import BLOCK, QUERY_KEY_NORMS, llama_family, read_llama_like, windowed
from tailtune.models.family import Raw, Weight
from tailtune.models.rotary_config import read_rotary
from tailtune.models.shape import DecoderConfig


def _read(raw: Raw, family: str, config: DecoderConfig, *, cap: float | None, every: int) -> DecoderConfig:
    """What both have in common; ``every`` such block sees the whole text, the others a window."""
    raw.only("use_bidirectional_attention", False, False)
    local = tuple(number for number in range(config.blocks) if (number + 1) % every)
    return replace(
        windowed(raw, config, local),
        family=family,
        activation=raw.activation("hidden_activation", "gelu_pytorch_tanh"),
        norms="both",
        norm_plus_one=True,
        embedding_scale=math.sqrt(config.width),
        attention_scale=float(raw.get("query_pre_attn_scalar", 256)) ** -0.5,
        attention_cap=raw.exact("attn_logit_softcapping", cap),
    )


def _read_gemma2(raw: Raw) -> DecoderConfig:
    return _read(raw, "gemma2", read_llama_like(raw, "gemma2"), cap=50.0, every=2)


def _read_gemma3(raw: Raw) -> DecoderConfig:
    whole = read_llama_like(raw, "gemma3", theta=1000000.0, layers="full_attention")
    near = read_rotary(raw, theta=10000.0, layers="sliding_attention")
    every = int(raw.get("sliding_window_pattern", raw.get("_sliding_window_pattern", 6)))
    local_theta = float(raw.get("rope_local_base_freq", near.theta if raw.get("rope_parameters") else 10000.0))
    config = replace(whole, query_key_norm="head", local_rotary_theta=local_theta)
    return _read(raw, "gemma3", config, cap=None, every=every)


_BLOCK = {
    **BLOCK,
    "attention_after.weight": Weight(names=("layers.{}.post_attention_layernorm.weight",)),
    "mlp_norm.weight": Weight(names=("layers.{}.pre_feedforward_layernorm.weight",)),
    "mlp_after.weight": Weight(names=("layers.{}.post_feedforward_layernorm.weight",)),
}
GEMMA2 = replace(llama_family("Gemma 2", "gemma2", read=_read_gemma2, block=_BLOCK), head_cap=30.0)
GEMMA3 = llama_family("Gemma 3 (text)", "gemma3_text", read=_read_gemma3, block={**_BLOCK, **QUERY_KEY_NORMS})
