"""Tiny random models of architectures without a family here, from the reference library's own config classes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from support.tiny_models import VOCABULARY, tiny_tokenizer

_SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
_LLAMA: dict[str, Any] = {"intermediate_size": 56, "num_key_value_heads": 2, "max_position_embeddings": 64}
_MASKED: dict[str, Any] = {"intermediate_size": 56, "max_position_embeddings": 64, "pad_token_id": 1}
_EXPERTS: dict[str, Any] = {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}
_MPT: dict[str, Any] = {"expansion_ratio": 2, "max_seq_len": 64, "attn_config": {"attn_impl": "eager"}}

DECODERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "biogpt": ("biogpt", {"intermediate_size": 56, "max_position_embeddings": 64}),
    "codegen": ("codegen", {"n_positions": 64, "rotary_dim": 4}),
    "cohere": ("cohere", {**_LLAMA, "use_qk_norm": True}),
    "ctrl": ("ctrl", {"n_positions": 64, "dff": 56}),
    "falcon": ("falcon", {"multi_query": True, "parallel_attn": True}),
    "falcon-alibi": ("falcon", {"alibi": True, "new_decoder_architecture": False, "parallel_attn": False}),
    "falcon-new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "glm": ("glm", {**_LLAMA, "head_dim": 8}),
    "gpt_neo": (
        "gpt_neo",
        {"attention_types": [[["global", "local", "global"], 1]], "window_size": 4, "max_position_embeddings": 64},
    ),
    "gpt_bigcode": ("gpt_bigcode", {"n_positions": 64, "multi_query": True}),
    "gptj": ("gptj", {"n_positions": 64, "rotary_dim": 4}),
    "granite": ("granite", {**_LLAMA, "embedding_multiplier": 3.0, "residual_multiplier": 0.5}),
    "helium": ("helium", {**_LLAMA, "head_dim": 8}),
    "mixtral": ("mixtral", _EXPERTS),
    "mpt": ("mpt", _MPT),
    "nemotron": ("nemotron", {**_LLAMA, "head_dim": 8}),
    "olmoe": ("olmoe", {**_LLAMA, "num_experts": 4, "num_experts_per_tok": 2}),
    "openai-gpt": ("openai-gpt", {"n_positions": 64}),
    "phi": ("phi", {**_LLAMA, "partial_rotary_factor": 0.5}),
    "stablelm": ("stablelm", {**_LLAMA, "partial_rotary_factor": 0.5, "qk_layernorm": True, "use_qkv_bias": True}),
    "starcoder2": ("starcoder2", {**_LLAMA, "use_bias": True, "sliding_window": 4}),
    "qwen3_moe": (
        "qwen3_moe",
        {**_LLAMA, "head_dim": 8, "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2},
    ),
    "xglm": ("xglm", {"ffn_dim": 56, "max_position_embeddings": 64, "pad_token_id": 1}),
}
ENCODERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "albert": ("albert", {**_MASKED, "embedding_size": 16}),
    "convbert": ("convbert", {**_MASKED, "embedding_size": 32}),
    "deberta-v2": (
        "deberta-v2",
        {**_MASKED, "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm",
         "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0,
         "pad_token_id": 0},
    ),
    "electra": ("electra", {**_MASKED, "embedding_size": 16}),
    "ernie": ("ernie", {**_MASKED, "use_task_id": True, "task_type_vocab_size": 3}),
    "megatron-bert": ("megatron-bert", _MASKED),
    "mpnet": ("mpnet", _MASKED),
    "roformer": ("roformer", {**_MASKED, "embedding_size": 32}),
    "rembert": ("rembert", {**_MASKED, "input_embedding_size": 16, "output_embedding_size": 16}),
}  # fmt: skip
ARCHITECTURES = {**DECODERS, **ENCODERS}


def reference_model(name: str, folder: Path, **changes: Any) -> Any:
    """Return the random base model called ``name`` in eval mode, saved to ``folder`` as its language model would be.

    Norms and biases are perturbed: at their defaults of one and zero a swapped norm or a lost bias goes unseen.
    """
    import transformers

    model_type, own = ARCHITECTURES[name]
    torch.manual_seed(17)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = transformers.CONFIG_MAPPING[model_type].from_dict({**_SIZES, **own, **changes})
        auto = transformers.AutoModelForCausalLM if name in DECODERS else transformers.AutoModelForMaskedLM
        model = auto.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        model.save_pretrained(folder)
    return model.base_model


def write_generic(name: str, folder: Path) -> Path:
    """Return ``folder``, now holding the random model called ``name`` and the tokenizer of ``tiny_models``."""
    reference_model(name, folder, vocab_size=VOCABULARY)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
