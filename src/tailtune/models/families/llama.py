"""Llama and the families that differ from it by a few settings: SmolLM3, Mistral, Qwen, Phi-3, OLMo 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tailtune.models.family import Family, Raw, Weight, with_bias
from tailtune.models.rotary_config import read_rotary
from tailtune.models.shape import DecoderConfig


def read_llama_like(raw: Raw, family: str, *, theta: float = 10000.0, layers: str | None = None) -> DecoderConfig:
    """Return the shape of a model that names its settings as Llama does.

    Args:
        raw: The config.
        family: Key into the table of families.
        theta: Base of the rotary angles where the file names none.
        layers: Whose rotary settings are read where there are two kinds, as for ``read_rotary``.
    """
    width, heads = raw.count("hidden_size"), raw.count("num_attention_heads")
    head_width = int(raw.get("head_dim", width // heads))
    rotary = read_rotary(raw, theta=theta, layers=layers)
    attention_bias = bool(raw.get("attention_bias", False))
    return DecoderConfig(
        family=family,
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=raw.blocks("num_hidden_layers"),
        heads=heads,
        key_value_heads=int(raw.get("num_key_value_heads", heads)),
        head_width=head_width,
        mlp_width=raw.count("intermediate_size"),
        context=rotary.context,
        norm="rms",
        norm_epsilon=float(raw.get("rms_norm_eps", 1e-6)),
        rotary_theta=rotary.theta,
        rotary_width=rotary.width(head_width),
        rotary_scaling=rotary.scaling,
        gated=True,
        activation=raw.activation("hidden_activation" if raw.get("hidden_activation") else "hidden_act", "silu"),
        attention_bias=attention_bias,
        output_bias=attention_bias,
        mlp_bias=bool(raw.get("mlp_bias", False)),
    )


def windowed(raw: Raw, config: DecoderConfig, local: tuple[int, ...]) -> DecoderConfig:
    """Return ``config`` with the sliding window of the file.

    Args:
        raw: The config file.
        config: Without a window.
        local: The blocks that have it, where the file does not list the kind of each under ``layer_types``.
    """
    window, kinds = raw.get("sliding_window"), raw.get("layer_types")
    raw.know("use_sliding_window", "max_window_layers")
    if kinds is not None:
        local = tuple(number for number, kind in enumerate(kinds) if kind == "sliding_attention")
    if not window or not local:
        return config
    return replace(config, window=int(window), local_blocks=local)


def _read_llama(raw: Raw) -> DecoderConfig:
    return read_llama_like(raw, "llama")


def _read_mistral(raw: Raw) -> DecoderConfig:
    config = read_llama_like(raw, "mistral")
    return windowed(raw, config, tuple(range(config.blocks)))


def _read_smollm3(raw: Raw) -> DecoderConfig:
    config = read_llama_like(raw, "smollm3", theta=2000000.0)
    every = int(raw.get("no_rope_layer_interval", 4))
    rotated = raw.get("no_rope_layers", [(number + 1) % every for number in range(config.blocks)])
    unrotated = tuple(number for number, turned in enumerate(rotated) if not turned)
    local = unrotated if raw.get("use_sliding_window") else ()
    return replace(windowed(raw, config, local), unrotated_blocks=unrotated)


def _read_qwen2(raw: Raw) -> DecoderConfig:
    raw.only("use_mrope", False, False)
    config = replace(read_llama_like(raw, "qwen2"), attention_bias=True, output_bias=False)
    return _qwen_windows(raw, config)


def _read_qwen3(raw: Raw) -> DecoderConfig:
    return _qwen_windows(raw, replace(read_llama_like(raw, "qwen3"), query_key_norm="head"))


def _qwen_windows(raw: Raw, config: DecoderConfig) -> DecoderConfig:
    if not raw.get("use_sliding_window", False):
        raw.know("layer_types", "max_window_layers", "sliding_window")
        return config
    return windowed(raw, config, tuple(range(int(raw.get("max_window_layers", 28)), config.blocks)))


def _read_phi3(raw: Raw) -> DecoderConfig:
    config = replace(read_llama_like(raw, "phi3"), attention_bias=False, output_bias=False)
    return windowed(raw, config, tuple(range(config.blocks)))


def _read_olmo2(raw: Raw) -> DecoderConfig:
    return replace(read_llama_like(raw, "olmo2"), norms="after", query_key_norm="all")


_ATTENTION = {
    "query_key_value.weight": Weight(
        names=tuple(f"layers.{{}}.self_attn.{part}_proj.weight" for part in ("q", "k", "v"))
    ),
    "attention_output.weight": Weight(names=("layers.{}.self_attn.o_proj.weight",)),
}
_MLP = {
    "mlp_in.weight": Weight(names=("layers.{}.mlp.gate_proj.weight", "layers.{}.mlp.up_proj.weight")),
    "mlp_out.weight": Weight(names=("layers.{}.mlp.down_proj.weight",)),
}
_NORMS = {
    "attention_norm.weight": Weight(names=("layers.{}.input_layernorm.weight",)),
    "mlp_norm.weight": Weight(names=("layers.{}.post_attention_layernorm.weight",)),
}
QUERY_KEY_NORMS = {
    "query_norm.weight": Weight(names=("layers.{}.self_attn.q_norm.weight",)),
    "key_norm.weight": Weight(names=("layers.{}.self_attn.k_norm.weight",)),
}
BLOCK = with_bias({**_ATTENTION, **_MLP}) | _NORMS


def llama_family(
    title: str,
    *model_types: str,
    read: Callable[[Raw], DecoderConfig],
    block: Mapping[str, Weight] = BLOCK,
) -> Family:
    """Return a family whose weights are called as Llama's.

    Args:
        title: What people call it.
        model_types: Values of ``model_type``.
        read: Its config reader.
        block: Its tensors inside a block.
    """
    once = {
        "embedding.weight": Weight(names=("embed_tokens.weight",)),
        "final_norm.weight": Weight(names=("norm.weight",)),
    }
    ignored = ("lm_head.weight", "score.weight", "*.rotary_emb.inv_freq")
    return Family(
        title=title,
        model_types=model_types,
        prefix="model.",
        read=read,
        weights=once,
        block_weights=block,
        ignored=ignored,
    )


LLAMA = llama_family("Llama (1 to 3.3, SmolLM2, TinyLlama)", "llama", read=_read_llama)
MISTRAL = llama_family("Mistral", "mistral", read=_read_mistral)
SMOLLM3 = llama_family("SmolLM3", "smollm3", read=_read_smollm3)
QWEN2 = llama_family("Qwen2, Qwen2.5", "qwen2", read=_read_qwen2)
QWEN3 = llama_family("Qwen3", "qwen3", read=_read_qwen3, block={**BLOCK, **QUERY_KEY_NORMS})
PHI3 = llama_family(
    "Phi-3, Phi-4",
    "phi3",
    read=_read_phi3,
    block={
        **BLOCK,
        "query_key_value.weight": Weight(names=("layers.{}.self_attn.qkv_proj.weight",)),
        "mlp_in.weight": Weight(names=("layers.{}.mlp.gate_up_proj.weight",)),
    },
)
OLMO2 = llama_family(
    "OLMo 2",
    "olmo2",
    read=_read_olmo2,
    block={
        **with_bias({**_ATTENTION, **_MLP}),
        **QUERY_KEY_NORMS,
        "attention_after.weight": Weight(names=("layers.{}.post_attention_layernorm.weight",)),
        "mlp_after.weight": Weight(names=("layers.{}.post_feedforward_layernorm.weight",)),
    },
)
