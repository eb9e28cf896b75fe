"""The tiny models that ours are compared with: one line for each family and each variant of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_COMMON: dict[str, Any] = {"vocab_size": 97, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
_LLAMA: dict[str, Any] = {
    **_COMMON,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


_ENCODER: dict[str, Any] = {"vocab_size": 97, "pad_token_id": 0}

_LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.5],
    "long_factor": [1.0, 2.0, 4.0, 8.0],
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A tiny model of the reference library.

    Attributes:
        family: What the matrix in the documentation calls it.
        variant: What is special about this one; "" for the family as it usually is.
        name: Of its config's class, without ``Config``.
        settings: Of its config.
        encoder: It has no causal language model.
        lengths: Tokens of the texts it is compared on.
    """

    family: str
    name: str
    settings: dict[str, Any]
    variant: str = ""
    encoder: bool = False
    lengths: tuple[int, ...] = (5, 1, 9, 5, 2, 17)

    @property
    def model_type(self) -> str:
        """What config.json calls it."""
        import transformers

        found: str = getattr(transformers, f"{self.name}Config").model_type
        return found

    def build(self) -> Any:
        """Return a random model."""
        import transformers

        config = getattr(transformers, f"{self.name}Config")(**self.settings)
        kind = transformers.AutoModel if self.encoder else transformers.AutoModelForCausalLM
        return kind.from_config(config, attn_implementation="eager").eval()


def _like_llama(family: str, name: str, variant: str = "", **changes: Any) -> Architecture:
    return Architecture(family=family, name=name, variant=variant, settings={**_LLAMA, **changes})


def _encoder(family: str, name: str, variant: str = "", **settings: Any) -> Architecture:
    return Architecture(family=family, name=name, variant=variant, settings={**_ENCODER, **settings}, encoder=True)


_BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "max_position_embeddings": 64,
}
_GEMMA: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 20}
_NEOX = {**_LLAMA, "hidden_act": "gelu"}
_GPT2 = {**_COMMON, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
_OPT = {
    **_COMMON,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}

ARCHITECTURES: dict[str, Architecture] = {
    "gpt2": Architecture(family="GPT-2", name="GPT2", settings=_GPT2),
    "llama": _like_llama("Llama", "Llama", num_key_value_heads=4),
    "llama-grouped": _like_llama(
        "Llama", "Llama", "shared keys, tied head", num_key_value_heads=2, tie_word_embeddings=True
    ),
    "llama-one-key-head": _like_llama("Llama", "Llama", "one key head", num_key_value_heads=1),
    "llama-biased": _like_llama("Llama", "Llama", "biases", num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    "llama-wide-heads": _like_llama("Llama", "Llama", "wide heads", num_key_value_heads=2, head_dim=16),
    "llama-linear": _like_llama("Llama", "Llama", "rotary: linear", rope_parameters=_LINEAR),
    "llama-dynamic": replace(
        _like_llama("Llama", "Llama", "rotary: dynamic", rope_parameters=_DYNAMIC, max_position_embeddings=8),
        lengths=(5, 1, 9, 5, 2, 17, 30),
    ),
    "llama-llama3": _like_llama("Llama", "Llama", "rotary: llama3", rope_parameters=_LLAMA3),
    "llama-yarn": _like_llama("Llama", "Llama", "rotary: yarn", rope_parameters=_YARN),
    "llama-yarn-scaled": _like_llama(
        "Llama",
        "Llama",
        "rotary: yarn, mscale",
        rope_parameters={**_YARN, "mscale": 0.8, "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 2},
    ),
    "mistral": _like_llama("Mistral", "Mistral", num_key_value_heads=2, sliding_window=None),
    "mistral-window": _like_llama("Mistral", "Mistral", "sliding window", num_key_value_heads=2, sliding_window=4),
    "smollm3": _like_llama("SmolLM3", "SmolLM3", num_key_value_heads=2, no_rope_layer_interval=2),
    "smollm3-window": _like_llama(
        "SmolLM3",
        "SmolLM3",
        "sliding window",
        num_key_value_heads=2,
        no_rope_layer_interval=2,
        use_sliding_window=True,
        sliding_window=4,
    ),
    "qwen2": _like_llama("Qwen2, Qwen2.5", "Qwen2", num_key_value_heads=2),
    "qwen2-window": _like_llama(
        "Qwen2, Qwen2.5",
        "Qwen2",
        "sliding window in upper blocks",
        num_key_value_heads=2,
        use_sliding_window=True,
        sliding_window=4,
        max_window_layers=1,
    ),
    "qwen3": _like_llama("Qwen3", "Qwen3", num_key_value_heads=2, head_dim=16),
    "gemma2": _like_llama("Gemma 2", "Gemma2", **_GEMMA),
    "gemma2-uncapped": _like_llama("Gemma 2", "Gemma2", "no cap", **_GEMMA, attn_logit_softcapping=None),
    "gemma3": _like_llama("Gemma 3", "Gemma3Text", **_GEMMA, sliding_window_pattern=2),
    "gemma3-linear": _like_llama(
        "Gemma 3",
        "Gemma3Text",
        "rotary: linear, global blocks",
        **_GEMMA,
        sliding_window_pattern=2,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "gpt-neox": Architecture(family="GPT-NeoX (Pythia)", name="GPTNeoX", settings=_NEOX),
    "gpt-neox-serial": Architecture(
        family="GPT-NeoX (Pythia)",
        name="GPTNeoX",
        variant="attention before MLP, all rotated",
        settings={**_NEOX, "use_parallel_residual": False, "rotary_pct": 1.0},
    ),
    "olmo2": _like_llama("OLMo 2", "Olmo2", num_key_value_heads=2),
    "phi3": _like_llama("Phi-3", "Phi3", num_key_value_heads=2, sliding_window=None),
    "phi3-window": _like_llama("Phi-3", "Phi3", "sliding window", num_key_value_heads=2, sliding_window=4),
    "phi3-longrope": _like_llama(
        "Phi-3",
        "Phi3",
        "rotary: longrope",
        num_key_value_heads=2,
        original_max_position_embeddings=8,
        rope_parameters=_LONGROPE,
    ),
    "phi3-partial": _like_llama("Phi-3", "Phi3", "part of each head rotated", partial_rotary_factor=0.5),
    "opt": Architecture(family="OPT", name="OPT", settings=_OPT),
    "bloom": Architecture(
        family="BLOOM", name="Bloom", settings={**_COMMON, "hidden_size": 32, "n_layer": 3, "n_head": 4}
    ),
    "bloom-six-heads": Architecture(
        family="BLOOM",
        name="Bloom",
        variant="heads no power of two",
        settings={**_COMMON, "hidden_size": 48, "n_layer": 3, "n_head": 6},
    ),
    "bert": _encoder("BERT (MiniLM)", "Bert", **_BERT),
    "roberta": _encoder("RoBERTa", "Roberta", **{**_BERT, "pad_token_id": 1, "type_vocab_size": 1}),
    "distilbert": _encoder(
        "DistilBERT", "DistilBert", dim=32, n_layers=3, n_heads=4, hidden_dim=56, max_position_embeddings=64
    ),
    "modernbert": _encoder("ModernBERT", "ModernBert", **_BERT, local_attention=6),
    "modernbert-biased": _encoder(
        "ModernBERT",
        "ModernBert",
        "biases",
        **_BERT,
        local_attention=6,
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
    ),
}
