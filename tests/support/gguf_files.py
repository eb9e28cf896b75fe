"""A tiny Llama of a Hugging Face folder as the GGUF file that llama.cpp's converter would make of it, in fp32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf_of(folder: Path, path: Path) -> Path:
    """Return ``path``, now holding the tiny Llama in ``folder``."""
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(sorted(model["vocab"], key=model["vocab"].get))
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_token_types([3 if number == 0 else 1 for number in range(len(model["vocab"]))])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, values in load_file(folder / "model.safetensors").items():
        interleaved = {"q_proj": heads, "k_proj": key_heads}.get(name.split(".")[-2])
        writer.add_tensor(_gguf_name(name), _interleave(values, interleaved) if interleaved else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _interleave(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """The two halves of each head's rows, one of each in turn, as llama.cpp's rotary kernel wants them."""
    halves = rows.reshape(heads, 2, -1, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _gguf_name(name: str) -> str:
    once = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in once:
        return once[name]
    _, _, number, inner = name.split(".", 3)
    return f"blk.{number}.{_BLOCK[inner.removesuffix('.weight')]}.weight"
