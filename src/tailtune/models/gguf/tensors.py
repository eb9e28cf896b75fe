"""The tensors of each GGUF architecture as tables: reference name, shape, and what llama.cpp's converter did to it.

Undoing that is exact, but for norms stored with one added, where the rounding of that sum in fp32 stays.
Knows nothing about files and nothing about configs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The sizes of a decoder.

    Attributes:
        vocabulary: Rows of the embedding (letter v in shapes).
        width: Of a hidden state (d).
        blocks: Transformer layers.
        heads: Query heads; all of them together are q wide.
        key_heads: Key and value heads; all of them together are k wide.
        head: Width of one head (h).
        mlp: Inner width of the MLP (f).
        context: Longest text in tokens (c).
        token_types: Kinds of tokens that BERT tells apart (t).
    """

    vocabulary: int
    width: int
    blocks: int
    heads: int
    key_heads: int
    head: int
    mlp: int
    context: int
    token_types: int = 1

    def shape(self, letters: str) -> tuple[int, ...]:
        """Return the shape that ``letters`` spell; s is query, keys and values joined, u is gate and up joined."""
        queries, keys = self.heads * self.head, self.key_heads * self.head
        sizes = {
            "v": self.vocabulary,
            "d": self.width,
            "q": queries,
            "k": keys,
            "h": self.head,
            "f": self.mlp,
            "c": self.context,
            "t": self.token_types,
            "s": queries + 2 * keys,
            "u": 2 * self.mlp,
        }
        return tuple(sizes[letter] for letter in letters)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A tensor of an architecture.

    Attributes:
        name: In the reference library, without the prefix of its block.
        shape: As it lies in the GGUF file, outermost dimension first, in the letters of ``Sizes.shape``.
        rows: Puts its rows back in order; the shape stays.
        transposed: The reference stores it the other way round.
        plus_one: The file holds the weight with one added.
        group: Parts with the same name here are there together or not at all; "" must be there.
    """

    name: str
    shape: str
    rows: Callable[[Values, Sizes], Values] | None = None
    transposed: bool = False
    plus_one: bool = False
    group: str = ""


def unpermute(rows: Values, heads: int) -> Values:
    """Return query or key rows in the half-against-half rotary order of the reference library.

    llama.cpp's converter interleaves the two halves of each head for its own rotary kernel; this puts them back.
    Without it the model still runs, and is badly wrong.

    Args:
        rows: [heads * W, D], or a bias [heads * W].
        heads: Heads in ``rows``.
    """
    width = rows.shape[0] // heads
    return np.ascontiguousarray(rows.reshape(heads, width // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape))


def by_head(rows: Values, heads: int) -> Values:
    """Return joined query, key and value rows head by head, as BLOOM and GPT-NeoX store them.

    llama.cpp's converter puts all queries first, then all keys, then all values.

    Args:
        rows: [3 * heads * W, D], or a bias [3 * heads * W].
        heads: Heads in ``rows``.
    """
    return np.ascontiguousarray(rows.reshape(3, heads, rows.shape[0] // (3 * heads), -1).swapaxes(0, 1)).reshape(
        rows.shape
    )


def _query_order(rows: Values, sizes: Sizes) -> Values:
    return unpermute(rows, sizes.heads)


def _key_order(rows: Values, sizes: Sizes) -> Values:
    return unpermute(rows, sizes.key_heads)


def _head_order(rows: Values, sizes: Sizes) -> Values:
    return by_head(rows, sizes.heads)


# GGUF name -> reference name and shape.
_Products = Mapping[str, tuple[str, str]]
_Parts = Mapping[str, Part]

_ATTENTION: _Products = {
    "attn_q": ("self_attn.q_proj", "qd"),
    "attn_k": ("self_attn.k_proj", "kd"),
    "attn_v": ("self_attn.v_proj", "kd"),
    "attn_output": ("self_attn.o_proj", "dq"),
}
_GATED: _Products = {
    "ffn_gate": ("mlp.gate_proj", "fd"),
    "ffn_up": ("mlp.up_proj", "fd"),
    "ffn_down": ("mlp.down_proj", "df"),
}
_TWO_NORMS: _Products = {"attn_norm": ("input_layernorm", "d"), "ffn_norm": ("post_attention_layernorm", "d")}
_HEAD_NORMS: _Products = {"attn_q_norm": ("self_attn.q_norm", "h"), "attn_k_norm": ("self_attn.k_norm", "h")}
_FOUR_NORMS: _Products = {
    "attn_norm": ("input_layernorm", "d"),
    "post_attention_norm": ("post_attention_layernorm", "d"),
    "ffn_norm": ("pre_feedforward_layernorm", "d"),
    "post_ffw_norm": ("post_feedforward_layernorm", "d"),
}


def _weights(*tables: _Products, plus_one: bool = False, transposed: bool = False) -> dict[str, Part]:
    return {
        f"{ours}.weight": Part(name=f"{name}.weight", shape=shape, plus_one=plus_one, transposed=transposed)
        for table in tables
        for ours, (name, shape) in table.items()
    }


def _biases(*tables: _Products, group: str = "") -> dict[str, Part]:
    return {
        f"{ours}.bias": Part(name=f"{name}.bias", shape=shape[0], group=group)
        for table in tables
        for ours, (name, shape) in table.items()
    }


def _reordered(parts: _Parts, **orders: Callable[[Values, Sizes], Values]) -> dict[str, Part]:
    return {
        name: replace(part, rows=orders[name.split(".")[0]]) if name.split(".")[0] in orders else part
        for name, part in parts.items()
    }


def _once(embedding: str, norm: str, head: str = "lm_head", *, plus_one: bool = False) -> dict[str, Part]:
    return {
        **_weights({"token_embd": (embedding, "vd")}),
        **_weights({"output_norm": (norm, "d")}, plus_one=plus_one),
        "output.weight": Part(name=f"{head}.weight", shape="vd", group="head"),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The tensors of an architecture, by their GGUF names.

    Attributes:
        prefix: Before the name of a block's tensor in the reference library; ``{}`` stands for its number.
        once: Those that exist once.
        block: Those of each block, without ``blk.`` and its number.
    """

    prefix: str
    once: _Parts
    block: _Parts

    def parts(self, blocks: int) -> dict[str, Part]:
        """Return GGUF name -> part, under its whole reference name, of a model of so many blocks."""
        every = dict(self.once)
        for number in range(blocks):
            prefix = self.prefix.format(number)
            every |= {
                f"blk.{number}.{name}": replace(part, name=prefix + part.name) for name, part in self.block.items()
            }
        return every


_DENSE = _once("model.embed_tokens", "model.norm")
_GEMMA_ONCE = _once("model.embed_tokens", "model.norm", plus_one=True)
_LAYERS = "model.layers.{}."
_LLAMA = Layout(
    prefix=_LAYERS,
    once=_DENSE,
    block=_reordered(
        {
            **_weights(_TWO_NORMS, _ATTENTION, _GATED),
            **_biases(_ATTENTION, group="attention_bias"),
            **_biases(_GATED, group="mlp_bias"),
        },
        attn_q=_query_order,
        attn_k=_key_order,
    ),
)
_QUERY_KEY_VALUE: _Products = {name: _ATTENTION[name] for name in ("attn_q", "attn_k", "attn_v")}
_NEOX: tuple[_Products, ...] = (
    _TWO_NORMS,
    {"attn_qkv": ("attention.query_key_value", "sd"), "attn_output": ("attention.dense", "dq")},
    {"ffn_up": ("mlp.dense_h_to_4h", "fd"), "ffn_down": ("mlp.dense_4h_to_h", "df")},
)
_BLOOM: tuple[_Products, ...] = (
    _TWO_NORMS,
    {"attn_qkv": ("self_attention.query_key_value", "sd"), "attn_output": ("self_attention.dense", "dq")},
    {"ffn_up": ("mlp.dense_h_to_4h", "fd"), "ffn_down": ("mlp.dense_4h_to_h", "df")},
)
_GPT2_NORMS: _Products = {"attn_norm": ("ln_1", "d"), "ffn_norm": ("ln_2", "d")}
_GPT2: _Products = {
    "attn_qkv": ("attn.c_attn", "sd"),
    "attn_output": ("attn.c_proj", "dq"),
    "ffn_up": ("mlp.c_fc", "fd"),
    "ffn_down": ("mlp.c_proj", "df"),
}

_BERT_NORMS: _Products = {
    "attn_output_norm": ("attention.output.LayerNorm", "d"),
    "layer_output_norm": ("output.LayerNorm", "d"),
}
_BERT: _Products = {
    "attn_q": ("attention.self.query", "qd"),
    "attn_k": ("attention.self.key", "kd"),
    "attn_v": ("attention.self.value", "kd"),
    "attn_output": ("attention.output.dense", "dq"),
    "ffn_up": ("intermediate.dense", "fd"),
    "ffn_down": ("output.dense", "df"),
}
_BERT_NORM: _Products = {"token_embd_norm": ("embeddings.LayerNorm", "d")}

LAYOUTS: Mapping[str, Layout] = {
    "llama": _LLAMA,
    "smollm3": _LLAMA,
    "qwen2": Layout(
        prefix=_LAYERS,
        once=_DENSE,
        block={**_weights(_TWO_NORMS, _ATTENTION, _GATED), **_biases(_QUERY_KEY_VALUE)},
    ),
    "qwen3": Layout(prefix=_LAYERS, once=_DENSE, block=_weights(_TWO_NORMS, _HEAD_NORMS, _ATTENTION, _GATED)),
    "gemma2": Layout(
        prefix=_LAYERS,
        once=_GEMMA_ONCE,
        block={**_weights(_FOUR_NORMS, plus_one=True), **_weights(_ATTENTION, _GATED)},
    ),
    "gemma3": Layout(
        prefix=_LAYERS,
        once=_GEMMA_ONCE,
        block={**_weights(_FOUR_NORMS, _HEAD_NORMS, plus_one=True), **_weights(_ATTENTION, _GATED)},
    ),
    "olmo2": Layout(
        prefix=_LAYERS,
        once=_DENSE,
        block=_weights(
            {
                "post_attention_norm": ("post_attention_layernorm", "d"),
                "post_ffw_norm": ("post_feedforward_layernorm", "d"),
                "attn_q_norm": ("self_attn.q_norm", "q"),
                "attn_k_norm": ("self_attn.k_norm", "k"),
            },
            _ATTENTION,
            _GATED,
        ),
    ),
    "phi3": Layout(
        prefix=_LAYERS,
        once=_DENSE,
        block=_weights(
            _TWO_NORMS,
            {"attn_qkv": ("self_attn.qkv_proj", "sd"), "attn_output": ("self_attn.o_proj", "dq")},
            {"ffn_up": ("mlp.gate_up_proj", "ud"), "ffn_down": ("mlp.down_proj", "df")},
        ),
    ),
    "gptneox": Layout(
        prefix="gpt_neox.layers.{}.",
        once={
            **_once("gpt_neox.embed_in", "gpt_neox.final_layer_norm", "embed_out"),
            **_biases({"output_norm": ("gpt_neox.final_layer_norm", "d")}),
        },
        block=_reordered({**_weights(*_NEOX), **_biases(*_NEOX)}, attn_qkv=_head_order),
    ),
    "gpt2": Layout(
        prefix="transformer.h.{}.",
        once={
            **_once("transformer.wte", "transformer.ln_f"),
            **_weights({"position_embd": ("transformer.wpe", "cd")}),
            **_biases({"output_norm": ("transformer.ln_f", "d")}),
        },
        block={**_weights(_GPT2_NORMS), **_weights(_GPT2, transposed=True), **_biases(_GPT2_NORMS, _GPT2)},
    ),
    "bloom": Layout(
        prefix="transformer.h.{}.",
        once={
            **_once("transformer.word_embeddings", "transformer.ln_f"),
            **_weights({"token_embd_norm": ("transformer.word_embeddings_layernorm", "d")}),
            **_biases(
                {
                    "token_embd_norm": ("transformer.word_embeddings_layernorm", "d"),
                    "output_norm": ("transformer.ln_f", "d"),
                }
            ),
        },
        block=_reordered({**_weights(*_BLOOM), **_biases(*_BLOOM)}, attn_qkv=_head_order),
    ),
    "bert": Layout(
        prefix="encoder.layer.{}.",
        once={
            **_weights(
                {
                    "token_embd": ("embeddings.word_embeddings", "vd"),
                    "position_embd": ("embeddings.position_embeddings", "cd"),
                    "token_types": ("embeddings.token_type_embeddings", "td"),
                },
                _BERT_NORM,
            ),
            **_biases(_BERT_NORM),
        },
        block={**_weights(_BERT_NORMS, _BERT), **_biases(_BERT_NORMS, _BERT)},
    ),
}
"""GGUF architecture -> its tensors. Mistral and SmolLM2 files say "llama"; OPT has no GGUF architecture."""
