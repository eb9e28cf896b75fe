"""GGUF files become Hugging Face folders: weights dequantised to fp32, config and tokenizer rebuilt from the metadata.

Reading and dequantising is the ``gguf`` package's work. Knows the llama architecture with a byte-level BPE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ModelError
from tailtune.models.families import read_config
from tailtune.models.gguf_header import require_sane_header
from tailtune.progress import Progress, silent
from tailtune.storage import canonical_json

Array = NDArray[np.float32]

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ONCE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

_CONTROL, _USER_DEFINED = 3, 4  # token types of the format


def convert_gguf(source: Path, folder: Path, *, progress: Progress = silent) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json made from a GGUF file.

    Args:
        source: The GGUF file.
        folder: Exists; the four files are written into it.
        progress: Told tensors done.

    Raises:
        ModelError: If the file is damaged, or its architecture, quantisation or tokenizer is not supported.
    """
    from safetensors.numpy import save_file

    read, tensors = _open(source)
    try:
        config = _config(read, source)
        tokenizer, names = _tokenizer(read, source)
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"{source}: its metadata do not fit together: {error}") from error
    read_config(config)
    out: dict[str, Array] = {}
    for number, tensor in enumerate(tensors, start=1):
        out[_reference_name(tensor.name, source)] = _values(tensor, config, source)
        progress("converting", number, len(tensors), "tensors")
    config["tie_word_embeddings"] = "lm_head.weight" not in out
    save_file(out, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(canonical_json(config), encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
        **names,
    }
    (folder / "tokenizer_config.json").write_text(canonical_json(described), encoding="utf-8")


Read = Callable[..., Any]


def _open(source: Path) -> tuple[Read, list[Any]]:
    """A reader of metadata by key, and the tensors."""
    from gguf import GGUFReader

    require_sane_header(source)
    try:
        reader = GGUFReader(source)
    except (ValueError, IndexError, KeyError, OSError, OverflowError) as error:
        raise ModelError(f"{source}: not a whole GGUF file: {error}", hint="download it again") from error

    def read(key: str, *default: Any) -> Any:
        field = reader.get_field(key)
        if field is None:
            if default:
                return default[0]
            raise ModelError(f"{source}: has no metadata {key!r}")
        return field.contents()

    architecture = read("general.architecture")
    if architecture != "llama":
        raise ModelError(f"{source}: architecture {architecture!r} is not supported yet; supported: 'llama'")
    return read, list(reader.tensors)


def _config(read: Read, source: Path) -> dict[str, Any]:
    if (scaling := read("llama.rope.scaling.type", "none")) != "none":
        raise ModelError(f"{source}: rotary scaling {scaling!r} is not supported yet")
    heads, width = int(read("llama.attention.head_count")), int(read("llama.embedding_length"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": len(read("tokenizer.ggml.tokens")),
        "hidden_size": width,
        "intermediate_size": int(read("llama.feed_forward_length")),
        "num_hidden_layers": int(read("llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(read("llama.attention.head_count_kv", heads)),
        "head_dim": int(read("llama.attention.key_length", width // heads)),
        "max_position_embeddings": int(read("llama.context_length")),
        "rms_norm_eps": float(read("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": float(read("llama.rope.freq_base", 10000.0)),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": read("tokenizer.ggml.bos_token_id", None),
        "eos_token_id": read("tokenizer.ggml.eos_token_id", None),
        "pad_token_id": read("tokenizer.ggml.padding_token_id", None),
    }


def _reference_name(name: str, source: Path) -> str:
    parts = name.split(".")
    if len(parts) == 2 and parts[0] in _ONCE and parts[1] == "weight":
        return f"{_ONCE[parts[0]]}.weight"
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _BLOCK and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.weight"
    raise ModelError(f"{source}: tensor {name!r} is not known in the llama architecture")


def _values(tensor: Any, config: Mapping[str, Any], source: Path) -> Array:
    from gguf.quants import dequantize

    try:
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    except (NotImplementedError, ValueError) as error:
        raise ModelError(f"{source}: {tensor.name} cannot be dequantised: {error}") from error
    if ".attn_q." in tensor.name:
        return unpermute(values, int(config["num_attention_heads"]))
    if ".attn_k." in tensor.name:
        return unpermute(values, int(config["num_key_value_heads"]))
    return values


def unpermute(rows: Array, heads: int) -> Array:
    """Return query or key rows in the half-against-half rotary order of the reference library.

    llama.cpp's converter interleaves the two halves of each head for its own rotary kernel; this puts them back.
    Without it the model still runs, and is badly wrong.

    Args:
        rows: [heads * W, D].
        heads: Heads in ``rows``.
    """
    width = rows.shape[0] // heads
    return np.ascontiguousarray(rows.reshape(heads, width // 2, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape))


def _tokenizer(read: Read, source: Path) -> tuple[Any, dict[str, str]]:
    """The rebuilt tokenizer, and the names of its special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind, split = read("tokenizer.ggml.model"), read("tokenizer.ggml.pre", "default")
    if (kind, split) != ("gpt2", "smollm"):
        raise ModelError(f"{source}: tokenizer {kind!r} with pre-tokenizer {split!r} is not supported yet")
    tokens: list[str] = read("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in read("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    # The name "smollm" stands for this: every digit alone first, then the GPT-2 rule. A plain byte-level one would join
    # digits, and blanks before them, into tokens that the model was never trained on.
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = read("tokenizer.ggml.token_type", [])
    for added in (_CONTROL, _USER_DEFINED):
        special = added == _CONTROL
        chosen = [token for token, kind in zip(tokens, types, strict=False) if kind == added]
        known = [AddedToken(token, special=special, normalized=False) for token in chosen]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(known)
    if read("tokenizer.ggml.add_bos_token", False):
        raise ModelError(f"{source}: a begin-of-text token before each text is not supported yet for GGUF files")
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    numbers = {name: read(f"tokenizer.ggml.{key}_token_id", None) for name, key in keys.items()}
    return tokenizer, {name: tokens[number] for name, number in numbers.items() if number is not None}
