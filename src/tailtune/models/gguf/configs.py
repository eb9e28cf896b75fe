"""config.json out of the metadata of a GGUF file, for each architecture in the words of its own family.

What a file does not say, because llama.cpp holds it in its code, is said here (SmolLM3's layers without angles, the
scale of Gemma's queries). Knows nothing about tensors but their sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tailtune.errors import ModelError
from tailtune.models.gguf.metadata import Metadata
from tailtune.models.gguf.tensors import Sizes

# Fields that change what is computed, and the only values that the families here have.
_ONLY: Mapping[str, tuple[float, ...]] = {
    "expert_count": (0,),
    "logit_scale": (0, 1),
    "residual_scale": (0, 1),
    "embedding_scale": (0, 1),
    "attention.scale": (0,),
    "attention.clamp_kqv": (0,),
    "rope.scaling.yarn_ext_factor": (1,),
    "rope.scaling.yarn_log_multiplier": (0,),
}
_ENCODERS = {"bert"}
_UNROTATED = {"gpt2", "bloom", "bert"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What is known of a file when its config is written.

    Attributes:
        metadata: Its fields.
        architecture: Before the keys.
        sizes: Of the decoder.
        rotary: ``rope_theta`` and ``rope_scaling``.
        groups: Optional groups of tensors that are there.
    """

    metadata: Metadata
    architecture: str
    sizes: Sizes
    rotary: Mapping[str, Any]
    groups: frozenset[str]

    def key(self, name: str) -> str:
        """Return the whole name of an architecture's own key."""
        return f"{self.architecture}.{name}"


def read_sizes(metadata: Metadata, architecture: str, vocabulary: int) -> Sizes:
    """Return the sizes that the fields tell.

    Raises:
        ModelError: If one is missing, is no positive whole number, or a field asks for what no family here does.
    """

    def size(name: str, *default: int) -> int:
        value = metadata.whole(f"{architecture}.{name}", *default)
        if value < 1:
            raise ModelError(f"{metadata.source}: {architecture}.{name} is {value}, expected at least 1")
        return value

    for name, accepted in _ONLY.items():
        if (got := metadata.real(f"{architecture}.{name}", accepted[0])) not in accepted:
            raise ModelError(f"{metadata.source}: {architecture}.{name} = {got:g} is not supported")
    if architecture not in _ENCODERS and not metadata.flag(f"{architecture}.attention.causal", True):
        raise ModelError(f"{metadata.source}: reads both ways ({architecture}.attention.causal is false), no decoder")
    heads, width = size("attention.head_count"), size("embedding_length")
    key_heads = size("attention.head_count_kv", heads)
    told = metadata.has(f"{architecture}.attention.key_length")
    if heads % key_heads or (width % heads and not told):
        raise ModelError(
            f"{metadata.source}: impossible decoder: width {width}, {heads} heads, {key_heads} key and value heads"
        )
    head = size("attention.key_length", width // heads)
    if (values := size("attention.value_length", head)) != head:
        raise ModelError(f"{metadata.source}: keys are {head} wide and values {values}, expected the same")
    return Sizes(
        vocabulary=vocabulary,
        width=width,
        blocks=size("block_count"),
        heads=heads,
        key_heads=key_heads,
        head=head,
        mlp=size("feed_forward_length"),
        context=size("context_length"),
        token_types=metadata.whole("tokenizer.ggml.token_type_count", 1),
    )


def rotated(metadata: Metadata, architecture: str, sizes: Sizes) -> int:
    """Return how much of a head is rotated.

    Raises:
        ModelError: If it is not an even part of the head, or not the whole of it where the family knows no less.
    """
    if architecture in _UNROTATED:
        return sizes.head
    width = metadata.whole(f"{architecture}.rope.dimension_count", sizes.head)
    fits = 0 < width <= sizes.head and width % 2 == 0
    if not fits or (width < sizes.head and architecture not in ("gptneox", "phi3")):
        raise ModelError(f"{metadata.source}: {architecture}.rope.dimension_count is {width}, heads are {sizes.head}")
    return width


def _tokens(metadata: Metadata) -> dict[str, int | None]:
    keys = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {name: metadata.whole(f"tokenizer.ggml.{key}_token_id", None) for name, key in keys.items()}


def _named(kind: str, model_type: str) -> dict[str, Any]:
    return {"architectures": [f"{kind}ForCausalLM"], "model_type": model_type}


def _rms(found: Found) -> dict[str, Any]:
    """What Llama and all who came after it call their sizes."""
    sizes = found.sizes
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp,
        "num_hidden_layers": sizes.blocks,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "head_dim": sizes.head,
        "max_position_embeddings": sizes.context,
        "rms_norm_eps": found.metadata.real(found.key("attention.layer_norm_rms_epsilon")),
        **found.rotary,
        **_tokens(found.metadata),
    }


def _silu(found: Found) -> dict[str, Any]:
    return {**_rms(found), "hidden_act": "silu"}


def _biased(found: Found) -> dict[str, Any]:
    return {group: group in found.groups for group in ("attention_bias", "mlp_bias")}


def _llama(found: Found) -> dict[str, Any]:
    window = found.metadata.whole(found.key("attention.sliding_window"), 0)
    if window and not found.groups & {"attention_bias", "mlp_bias"}:
        return {**_silu(found), **_named("Mistral", "mistral"), "sliding_window": window}
    return {**_silu(found), **_named("Llama", "llama"), **_biased(found)}


def _smollm3(found: Found) -> dict[str, Any]:
    interval = 4
    return {
        **_silu(found),
        **_named("SmolLM3", "smollm3"),
        **_biased(found),
        "no_rope_layer_interval": interval,
        "no_rope_layers": [int((block + 1) % interval != 0) for block in range(found.sizes.blocks)],
        "use_sliding_window": False,
    }


def _qwen(kind: str, model_type: str) -> Callable[[Found], dict[str, Any]]:
    def config(found: Found) -> dict[str, Any]:
        return {**_silu(found), **_named(kind, model_type), "use_sliding_window": False}

    return config


def _layer_types(found: Found, period: int) -> list[str]:
    """Every ``period``-th block sees the whole text, the others a window, unless the file says otherwise."""
    metadata, key, blocks = found.metadata, found.key("attention.sliding_window_pattern"), found.sizes.blocks
    if metadata.is_list(key):
        windowed = [bool(value) for value in metadata.wholes(key)]
        if len(windowed) != blocks:
            raise ModelError(f"{metadata.source}: {key} lists {len(windowed)} blocks, the model has {blocks}")
    else:
        every = max(1, metadata.whole(key, period))
        windowed = [(block + 1) % every != 0 for block in range(blocks)]
    return ["sliding_attention" if window else "full_attention" for window in windowed]


def _gemma(found: Found, *, period: int, largest: int, window: int | None) -> dict[str, Any]:
    """Gemma 2 and 3; in the largest of each the queries are scaled by another width than the head's."""
    sizes = found.sizes
    wide = _window(found, window)
    return {
        **_rms(found),
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": sizes.width // sizes.heads if sizes.blocks == largest else sizes.head,
        "sliding_window": wide,
        "layer_types": _layer_types(found, period) if wide else ["full_attention"] * sizes.blocks,
    }


def _window(found: Found, default: int | None) -> int | None:
    """The tokens that a window holds; None where nothing is windowed."""
    return found.metadata.whole(found.key("attention.sliding_window"), default) or None


def _gemma2(found: Found) -> dict[str, Any]:
    return {
        **_gemma(found, period=2, largest=46, window=4096),
        **_named("Gemma2", "gemma2"),
        "attn_logit_softcapping": found.metadata.real(found.key("attn_logit_softcapping"), 50.0),
        "final_logit_softcapping": found.metadata.real(found.key("final_logit_softcapping"), 30.0),
    }


def _gemma3(found: Found) -> dict[str, Any]:
    return {
        **_gemma(found, period=6, largest=62, window=None),
        **_named("Gemma3", "gemma3_text"),
        "rope_local_base_freq": found.metadata.real(found.key("rope.freq_base_swa"), 10000.0),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": found.metadata.real(found.key("final_logit_softcapping"), None),
        "use_bidirectional_attention": False,
    }


def _olmo2(found: Found) -> dict[str, Any]:
    if _window(found, None):
        raise ModelError(f"{found.metadata.source}: OLMo 3 (olmo2 with a sliding window) is not supported")
    return {**_silu(found), **_named("Olmo2", "olmo2"), "attention_bias": False}


def _phi3(found: Found) -> dict[str, Any]:
    sizes, metadata = found.sizes, found.metadata
    return {
        **_silu(found),
        **_named("Phi3", "phi3"),
        "sliding_window": _window(found, None),
        "original_max_position_embeddings": metadata.whole(
            found.key("rope.scaling.original_context_length"), sizes.context
        ),
        "partial_rotary_factor": _share(rotated(metadata, found.architecture, sizes), sizes.head),
    }


def _gptneox(found: Found) -> dict[str, Any]:
    sizes, metadata = found.sizes, found.metadata
    return {
        **_named("GPTNeoX", "gpt_neox"),
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp,
        "num_hidden_layers": sizes.blocks,
        "num_attention_heads": sizes.heads,
        "max_position_embeddings": sizes.context,
        "layer_norm_eps": metadata.real(found.key("attention.layer_norm_epsilon")),
        "hidden_act": "gelu",
        "use_parallel_residual": metadata.flag(found.key("use_parallel_residual"), True),
        "attention_bias": True,
        "rotary_pct": _share(rotated(metadata, found.architecture, sizes), sizes.head),
        "rotary_emb_base": found.rotary["rope_theta"],
        **{name: value for name, value in found.rotary.items() if name == "rope_scaling"},
        **_tokens(metadata),
    }


def _share(part: int, whole: int) -> float:
    """A share that gives ``part`` again when it is multiplied by ``whole`` and cut."""
    share = part / whole
    return share if int(whole * share) == part else (part + 0.5) / whole


def _gpt2(found: Found) -> dict[str, Any]:
    sizes = found.sizes
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": sizes.vocabulary,
        "n_embd": sizes.width,
        "n_inner": sizes.mlp,
        "n_layer": sizes.blocks,
        "n_head": sizes.heads,
        "n_positions": sizes.context,
        "n_ctx": sizes.context,
        "layer_norm_epsilon": found.metadata.real(found.key("attention.layer_norm_epsilon")),
        "activation_function": "gelu_new",
        **_tokens(found.metadata),
    }


def _bloom(found: Found) -> dict[str, Any]:
    sizes = found.sizes
    return {
        **_named("Bloom", "bloom"),
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "n_layer": sizes.blocks,
        "n_head": sizes.heads,
        "seq_length": sizes.context,
        "layer_norm_epsilon": found.metadata.real(found.key("attention.layer_norm_epsilon")),
        "apply_residual_connection_post_layernorm": False,
        **_tokens(found.metadata),
    }


def _bert(found: Found) -> dict[str, Any]:
    sizes, metadata = found.sizes, found.metadata
    if metadata.text("tokenizer.ggml.model") != "bert":
        raise ModelError(f"{metadata.source}: of the bert architecture BERT alone is supported, no RoBERTa")
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp,
        "num_hidden_layers": sizes.blocks,
        "num_attention_heads": sizes.heads,
        "max_position_embeddings": sizes.context,
        "type_vocab_size": sizes.token_types,
        "layer_norm_eps": metadata.real(found.key("attention.layer_norm_epsilon")),
        "hidden_act": "gelu",
        "pad_token_id": metadata.whole("tokenizer.ggml.padding_token_id", 0),
    }


CONFIGS: Mapping[str, Callable[[Found], dict[str, Any]]] = {
    "llama": _llama,
    "smollm3": _smollm3,
    "qwen2": _qwen("Qwen2", "qwen2"),
    "qwen3": _qwen("Qwen3", "qwen3"),
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "olmo2": _olmo2,
    "phi3": _phi3,
    "gptneox": _gptneox,
    "gpt2": _gpt2,
    "bloom": _bloom,
    "bert": _bert,
}
"""GGUF architecture -> its config.json, but for the type of the weights and whether the head is tied."""
