"""Encoders: BERT (and MiniLM), RoBERTa, DistilBERT, ModernBERT. A text is read at its first token, [CLS]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tailtune.models.family import Family, Raw, Weight, with_bias
from tailtune.models.rotary_config import read_rotary
from tailtune.models.shape import DecoderConfig


def _read_bert(raw: Raw) -> DecoderConfig:
    return _bert(raw, "bert", offset=0)


def _read_roberta(raw: Raw) -> DecoderConfig:
    # Positions are counted from the id of the pad token.
    return _bert(raw, "roberta", offset=int(raw.get("pad_token_id", 1)) + 1)


def _bert(raw: Raw, family: str, *, offset: int) -> DecoderConfig:
    raw.only("position_embedding_type", "absolute", "absolute")
    raw.only("is_decoder", False, False)
    raw.only("add_cross_attention", False, False)
    return _post_norm(
        raw,
        family,
        width=raw.count("hidden_size"),
        heads=raw.count("num_attention_heads"),
        blocks=raw.blocks("num_hidden_layers"),
        mlp_width=raw.count("intermediate_size"),
        activation="hidden_act",
        epsilon=float(raw.get("layer_norm_eps", 1e-12)),
        token_types=int(raw.get("type_vocab_size", 2)),
        offset=offset,
    )


def _read_distilbert(raw: Raw) -> DecoderConfig:
    raw.know("sinusoidal_pos_embds")  # how the table was filled; it is in the file
    return _post_norm(
        raw,
        "distilbert",
        width=raw.count("dim"),
        heads=raw.count("n_heads"),
        blocks=raw.blocks("n_layers"),
        mlp_width=raw.count("hidden_dim"),
        activation="activation",
        epsilon=1e-12,
        token_types=0,
        offset=0,
    )


def _post_norm(
    raw: Raw,
    family: str,
    *,
    width: int,
    heads: int,
    blocks: int,
    mlp_width: int,
    activation: str,
    epsilon: float,
    token_types: int,
    offset: int,
) -> DecoderConfig:
    return DecoderConfig(
        family=family,
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=blocks,
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=mlp_width,
        context=raw.count("max_position_embeddings") - offset,
        position_offset=offset,
        token_types=token_types,
        causal=False,
        norm="layer",
        norm_epsilon=epsilon,
        norms="residual",
        embedding_norm=True,
        final_norm=False,
        rotary_theta=None,
        gated=False,
        activation=raw.activation(activation, "gelu"),
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
    )


def _read_modernbert(raw: Raw) -> DecoderConfig:
    width, heads = raw.count("hidden_size"), raw.count("num_attention_heads")
    blocks, every = raw.blocks("num_hidden_layers"), int(raw.get("global_attn_every_n_layers", 3))
    kinds = raw.get("layer_types", ["sliding_attention" if n % every else "full_attention" for n in range(blocks)])
    whole = read_rotary(raw, theta=float(raw.get("global_rope_theta", 160000.0)), layers="full_attention")
    near = read_rotary(raw, theta=float(raw.get("local_rope_theta", 10000.0)), layers="sliding_attention")
    attention_bias = bool(raw.get("attention_bias", False))
    raw.know("position_embedding_type", "layer_norm_eps")  # left over from BERT, not used
    return DecoderConfig(
        family="modernbert",
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=blocks,
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=raw.count("intermediate_size"),
        context=whole.context,
        causal=False,
        norm="layer",
        norm_epsilon=float(raw.get("norm_eps", 1e-5)),
        norm_bias=bool(raw.get("norm_bias", False)),
        first_norm=False,
        embedding_norm=True,
        rotary_theta=whole.theta,
        local_rotary_theta=near.theta,
        # Half of the window lies on each side of the token.
        window=int(raw.get("local_attention", 128)) // 2 + 1,
        local_blocks=tuple(number for number, kind in enumerate(kinds) if kind == "sliding_attention"),
        gated=True,
        activation=raw.activation("hidden_activation", "gelu"),
        attention_bias=attention_bias,
        output_bias=attention_bias,
        mlp_bias=bool(raw.get("mlp_bias", False)),
    )


_EMBEDDINGS = {
    "embedding.weight": Weight(names=("embeddings.word_embeddings.weight",)),
    "positions.weight": Weight(names=("embeddings.position_embeddings.weight",)),
    **with_bias({"embedding_norm.weight": Weight(names=("embeddings.LayerNorm.weight",))}),
}


def _block(layer: str, names: Mapping[str, str | tuple[str, str, str]]) -> dict[str, Weight]:
    parts = {ours: (theirs,) if isinstance(theirs, str) else theirs for ours, theirs in names.items()}
    return with_bias(
        {
            f"{ours}.weight": Weight(names=tuple(f"{layer}.{{}}.{part}.weight" for part in theirs))
            for ours, theirs in parts.items()
        }
    )


_BERT_BLOCK = _block(
    "encoder.layer",
    {
        "query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention_output": "attention.output.dense",
        "attention_after": "attention.output.LayerNorm",
        "mlp_in": "intermediate.dense",
        "mlp_out": "output.dense",
        "mlp_after": "output.LayerNorm",
    },
)
_BERT_IGNORED = (
    "*pooler.*", "cls.*", "lm_head.*", "classifier.*", "*embeddings.position_ids", "*embeddings.token_type_ids",
)  # fmt: skip
_TYPED = {**_EMBEDDINGS, "token_types.weight": Weight(names=("embeddings.token_type_embeddings.weight",))}

BERT = Family(
    title="BERT (and MiniLM)",
    model_types=("bert",),
    prefix="bert.",
    read=_read_bert,
    weights=_TYPED,
    block_weights=_BERT_BLOCK,
    ignored=_BERT_IGNORED,
)
ROBERTA = replace(
    BERT,
    title="RoBERTa (and XLM-RoBERTa)",
    model_types=("roberta", "xlm-roberta", "camembert"),
    prefix="roberta.",
    read=_read_roberta,
)
DISTILBERT = Family(
    title="DistilBERT",
    model_types=("distilbert",),
    prefix="distilbert.",
    read=_read_distilbert,
    weights=_EMBEDDINGS,
    block_weights=_block(
        "transformer.layer",
        {
            "query_key_value": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            "attention_output": "attention.out_lin",
            "attention_after": "sa_layer_norm",
            "mlp_in": "ffn.lin1",
            "mlp_out": "ffn.lin2",
            "mlp_after": "output_layer_norm",
        },
    ),
    ignored=("vocab_*", "*classifier.*", "qa_outputs.*", "*embeddings.position_ids"),
)
MODERNBERT = Family(
    title="ModernBERT",
    model_types=("modernbert",),
    prefix="model.",
    read=_read_modernbert,
    weights=with_bias(
        {
            "embedding_norm.weight": Weight(names=("embeddings.norm.weight",)),
            "final_norm.weight": Weight(names=("final_norm.weight",)),
        }
    )
    | {"embedding.weight": Weight(names=("embeddings.tok_embeddings.weight",))},
    block_weights=_block(
        "layers",
        {
            "attention_norm": "attn_norm",
            "query_key_value": "attn.Wqkv",
            "attention_output": "attn.Wo",
            "mlp_norm": "mlp_norm",
            "mlp_in": "mlp.Wi",
            "mlp_out": "mlp.Wo",
        },
    ),
    ignored=("head.*", "decoder.*", "classifier.*", "*.rotary_emb.*"),
)
