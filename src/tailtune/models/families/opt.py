"""OPT, all sizes but 350M, whose embeddings are narrower than its states."""

from __future__ import annotations

from tailtune.models.family import Family, Raw, Weight, with_bias
from tailtune.models.shape import DecoderConfig

# The first rows of its position table are never used.
_OFFSET = 2


def _read(raw: Raw) -> DecoderConfig:
    width, heads = raw.count("hidden_size"), raw.count("num_attention_heads")
    raw.only("word_embed_proj_dim", width, width)
    raw.only("do_layer_norm_before", True, True)
    raw.only("_remove_final_layer_norm", False, False)
    raw.only("layer_norm_elementwise_affine", True, True)
    bias = bool(raw.get("enable_bias", True))
    return DecoderConfig(
        family="opt",
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=raw.blocks("num_hidden_layers"),
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=raw.count("ffn_dim"),
        context=raw.count("max_position_embeddings"),
        position_offset=_OFFSET,
        norm="layer",
        norm_epsilon=1e-5,
        rotary_theta=None,
        gated=False,
        activation=raw.activation("activation_function", "relu"),
        attention_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
    )


OPT = Family(
    title="OPT",
    model_types=("opt",),
    prefix="model.",
    read=_read,
    weights={
        "embedding.weight": Weight(names=("decoder.embed_tokens.weight",)),
        "positions.weight": Weight(names=("decoder.embed_positions.weight",)),
        **with_bias({"final_norm.weight": Weight(names=("decoder.final_layer_norm.weight",))}),
    },
    block_weights=with_bias(
        {
            "attention_norm.weight": Weight(names=("decoder.layers.{}.self_attn_layer_norm.weight",)),
            "query_key_value.weight": Weight(
                names=tuple(f"decoder.layers.{{}}.self_attn.{part}_proj.weight" for part in ("q", "k", "v"))
            ),
            "attention_output.weight": Weight(names=("decoder.layers.{}.self_attn.out_proj.weight",)),
            "mlp_norm.weight": Weight(names=("decoder.layers.{}.final_layer_norm.weight",)),
            "mlp_in.weight": Weight(names=("decoder.layers.{}.fc1.weight",)),
            "mlp_out.weight": Weight(names=("decoder.layers.{}.fc2.weight",)),
        }
    ),
    ignored=("lm_head.weight", "score.weight"),
)
