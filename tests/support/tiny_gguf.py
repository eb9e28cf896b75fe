"""GGUF files written as llama.cpp's converter writes them, from tiny random models of the reference library.

The names come from the ``gguf`` package's own map; what the converter does to rows is written index by index, and its
fields are written family by family, so that nothing here is read off the code under test.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from support.tiny_models import tiny_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]

VOCABULARY = 320
CONTEXT = 128
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_SPECIAL: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
_DENSE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    **_SPECIAL,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32}
_LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0 + number for number in range(6)],
    "short_factor": [1.0 + 0.1 * number for number in range(6)],
    "original_max_position_embeddings": 32,
    "partial_rotary_factor": 0.75,
}
_GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
}

# Name -> architecture in the file, reference family, and what differs from the sizes above.
MODELS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "Llama", {**_DENSE, "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0}}),
    "llama-tied": ("llama", "Llama", {**_DENSE, "tie_word_embeddings": True}),
    "llama-biased": ("llama", "Llama", {**_DENSE, "attention_bias": True, "mlp_bias": True}),
    "llama-wide-heads": ("llama", "Llama", {**_DENSE, "head_dim": 32}),
    "llama3": (
        "llama",
        "Llama",
        {**_DENSE, "head_dim": 64, "max_position_embeddings": 16384, "rope_parameters": _LLAMA3},
    ),
    "llama-linear": (
        "llama",
        "Llama",
        {**_DENSE, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    "mistral": ("llama", "Mistral", {**_DENSE, "sliding_window": 16}),
    "smollm3": ("smollm3", "SmolLM3", {**_DENSE, "num_hidden_layers": 5}),
    "qwen2": ("qwen2", "Qwen2", _DENSE),
    "qwen2-yarn": ("qwen2", "Qwen2", {**_DENSE, "rope_parameters": _YARN}),
    "qwen3": ("qwen3", "Qwen3", {**_DENSE, "head_dim": 32}),
    "gemma2": ("gemma2", "Gemma2", {**_DENSE, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}),
    "gemma3": (
        "gemma3",
        "Gemma3",
        {
            **_DENSE,
            "num_hidden_layers": 7,
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": 16,
            "rope_parameters": _GEMMA3_ROPE,
        },
    ),
    "olmo2": ("olmo2", "Olmo2", _DENSE),
    "phi3": ("phi3", "Phi3", {**_DENSE, "sliding_window": 16}),
    "phi3-long": ("phi3", "Phi3", {**_DENSE, "rope_parameters": _LONG, "original_max_position_embeddings": 32}),
    "gptneox": (
        "gptneox",
        "GPTNeoX",
        {**_DENSE, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}},
    ),
    "gptneox-serial": ("gptneox", "GPTNeoX", {**_DENSE, "use_parallel_residual": False}),
    "gpt2": (
        "gpt2",
        "GPT2",
        {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT, **_SPECIAL},
    ),
    "bloom": ("bloom", "Bloom", {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 3, "n_head": 4, **_SPECIAL}),
}

_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
}
ENCODERS: Mapping[str, tuple[str, str, dict[str, Any]]] = {"bert": ("bert", "Bert", _BERT)}
_ALL = {**MODELS, **ENCODERS}


def random_model(name: str, **changes: Any) -> Any:
    """Return the reference model ``name`` of MODELS or ENCODERS in eval mode, every weight perturbed."""
    import transformers

    _, family, settings = _ALL[name]
    kind = "Gemma3Text" if family == "Gemma3" else family
    config = getattr(transformers, f"{kind}Config")(**{**settings, **changes}, attn_implementation="eager")
    suffix = "Model" if name in ENCODERS else "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    options = {"add_pooling_layer": False} if name in ENCODERS else {}
    torch.manual_seed(23)
    model = getattr(transformers, family + suffix)(config, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def interleaved(rows: Floats, heads: int) -> Floats:
    """Return the rows as the converter stores them: in each head row 2i is i, row 2i+1 is i + W/2."""
    width = rows.shape[0] // heads
    order = [
        head * width + part * (width // 2) + i for head in range(heads) for i in range(width // 2) for part in (0, 1)
    ]
    return rows[order]


def _apart(rows: Floats, heads: int) -> Floats:
    """Joined rows, all queries first, then all keys, then all values; before, each head had its own three."""
    width = rows.shape[0] // (3 * heads)
    order = [(head * 3 + part) * width + i for part in range(3) for head in range(heads) for i in range(width)]
    return rows[order]


def converted(name: str, model: Any) -> dict[str, Floats]:
    """Return GGUF name -> values as the converter would write them, of a model of MODELS or ENCODERS."""
    import gguf

    architecture = _ALL[name][0]
    kind = next(kind for kind, title in gguf.MODEL_ARCH_NAMES.items() if title == architecture)
    config = model.config
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    heads, key_heads = config.num_attention_heads, getattr(config, "num_key_value_heads", 0)
    tied = config.tie_word_embeddings
    found: dict[str, Floats] = {}
    for reference, tensor in model.state_dict().items():
        if tied and reference in ("lm_head.weight", "embed_out.weight"):
            continue
        stem, suffix = reference.rsplit(".", 1)
        ours = names.get_name(stem) or names.get_name(stem.removeprefix("transformer."))
        assert ours is not None, reference
        values = tensor.numpy()
        if architecture in ("llama", "smollm3") and stem.endswith(("q_proj", "k_proj")):
            values = interleaved(values, heads if stem.endswith("q_proj") else key_heads)
        if architecture in ("bloom", "gptneox") and stem.endswith("query_key_value"):
            values = _apart(values, heads)
        if architecture in ("gemma2", "gemma3") and stem.endswith("norm"):
            values = values + np.float32(1)
        if architecture == "gpt2" and stem.endswith(("c_attn", "c_proj", "c_fc")) and suffix == "weight":
            values = values.T
        found[f"{ours}.{suffix}"] = np.ascontiguousarray(values)
    return found | _rotary_tensors(config)


def _rotary_tensors(config: Any) -> dict[str, Floats]:
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind == "longrope":
        return {
            f"rope_factors_{part}.weight": np.array(rope[f"{part}_factor"], np.float32) for part in ("long", "short")
        }
    if kind != "llama3":
        return {}
    low, high = 8192 / rope["low_freq_factor"], 8192 / rope["high_freq_factor"]
    factors = []
    for number in range(0, config.head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (number / config.head_dim)
        smooth = (8192 / wave - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
        between = 1 / ((1 - smooth) / rope["factor"] + smooth)
        factors.append(1.0 if wave < high else rope["factor"] if wave > low else between)
    return {"rope_freqs.weight": np.array(factors, np.float32)}


def _add_fields(writer: Any, architecture: str, config: Any) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(getattr(config, "max_position_embeddings", CONTEXT))
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if architecture in ("gpt2", "bloom", "gptneox", "bert"):
        writer.add_layer_norm_eps(getattr(config, "layer_norm_eps", None) or config.layer_norm_epsilon)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_head_count_kv(config.num_key_value_heads)
        _add_rotary(writer, architecture, config)
    if head := getattr(config, "head_dim", None):
        writer.add_key_length(head)
        writer.add_value_length(head)
    if architecture == "gptneox":
        share = config.rope_parameters["partial_rotary_factor"]
        writer.add_rope_dimension_count(int(share * (config.hidden_size // config.num_attention_heads)))
        writer.add_parallel_residual(config.use_parallel_residual)
    if architecture == "bert":
        writer.add_causal_attention(False)
    if window := getattr(config, "sliding_window", None):
        writer.add_sliding_window(window)
    elif architecture == "phi3":
        writer.add_sliding_window(0)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def _add_rotary(writer: Any, architecture: str, config: Any) -> None:
    import gguf

    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_rope_freq_base(rope["rope_theta"])
    if local := config.rope_parameters.get("sliding_attention"):
        writer.add_rope_freq_base_swa(local["rope_theta"])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if architecture in ("llama", "smollm3"):
        writer.add_rope_dimension_count(head)
    if architecture == "phi3":
        writer.add_rope_dimension_count(int(rope.get("partial_rotary_factor", 1.0) * head))
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
    kind = rope["rope_type"]
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType[kind.upper()])
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if kind == "longrope":
        scale = config.max_position_embeddings / config.original_max_position_embeddings
        original = math.log(config.original_max_position_embeddings)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / original))


def add_byte_level(
    writer: Any, tokenizer: Tokenizer, pre: str | None, *, size: int | None = None, begin: int | None = None
) -> None:
    """Write a byte-level BPE into a GGUF file's fields.

    Args:
        writer: The package's.
        tokenizer: The library's.
        pre: Name of its rule; None as files before April 2024.
        size: Tokens with the padding of the embedding; default as many as there are.
        begin: Id of the begin token; None adds none.
    """
    model = json.loads(tokenizer.to_str())["model"]
    added = tokenizer.get_added_tokens_decoder()
    by_id = {number: token for token, number in model["vocab"].items()} | {
        i: token.content for i, token in added.items()
    }
    count = size or max(by_id) + 1
    types = [
        (CONTROL if added[i].special else USER_DEFINED) if i in added else NORMAL if i in by_id else UNUSED
        for i in range(count)
    ]
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([by_id.get(i, f"[PAD{i}]") for i in range(count)])
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(0)
    if begin is not None:
        writer.add_bos_token_id(begin)


def add_word_piece(writer: Any, tokenizer: Tokenizer, *, named: bool = True) -> None:
    """Write BERT's WordPiece into a GGUF file's fields: a mark before the pieces that begin a word.

    Args:
        writer: The package's.
        tokenizer: The library's; ids 1, 2 and 3 are [UNK], [CLS] and [SEP].
        named: Number these three, too.
    """
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    tokens = [by_id[number] for number in range(len(by_id))]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(
        [
            token if number in special else token[2:] if token.startswith("##") else f"▁{token}"
            for number, token in enumerate(tokens)
        ]
    )
    writer.add_token_types([CONTROL if number in special else NORMAL for number in range(len(tokens))])
    writer.add_token_type_count(2)
    if named:
        writer.add_bos_token_id(2)
        writer.add_sep_token_id(3)
        writer.add_unk_token_id(1)


def write_gguf(
    path: Path,
    name: str,
    tensors: Mapping[str, Floats],
    config: Any,
    *,
    quantisation: str = "F32",
    architecture: str | None = None,
    tokenizer: Callable[[Any], None] | None = None,
    fields: Callable[[Any], None] | None = None,
) -> Path:
    """Return ``path``, now a GGUF file.

    Args:
        path: The file.
        name: Of the model, in MODELS or ENCODERS.
        tensors: As ``converted`` gives them.
        config: The reference's.
        quantisation: Of matrices; vectors stay fp32, as the converter keeps them.
        architecture: Written in the place of the right one.
        tokenizer: Adds the tokenizer's fields; default a small byte-level BPE with GPT-2's rule.
        fields: Adds more fields.
    """
    import gguf

    writer = gguf.GGUFWriter(path, architecture or _ALL[name][0])
    _add_fields(writer, _ALL[name][0], config)
    if tokenizer is None:
        add_byte_level(writer, tiny_tokenizer(vocabulary=VOCABULARY), "gpt-2", begin=0)
    else:
        tokenizer(writer)
    if fields is not None:
        fields(writer)
    for tensor, values in tensors.items():
        kind = gguf.GGMLQuantizationType[quantisation if values.ndim == 2 else "F32"]
        writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
