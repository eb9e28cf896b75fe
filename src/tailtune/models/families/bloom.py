"""BLOOM: no positions but ALiBi."""

from __future__ import annotations

from tailtune.models.family import Family, Raw, Weight, with_bias
from tailtune.models.shape import DecoderConfig

# ALiBi has no end; the texts of the pretraining had so many tokens.
_CONTEXT = 2048


def _read(raw: Raw) -> DecoderConfig:
    raw.only("apply_residual_connection_post_layernorm", False, False)
    width, heads = raw.count("hidden_size", "n_embed"), raw.count("n_head", "num_attention_heads")
    return DecoderConfig(
        family="bloom",
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=raw.blocks("n_layer", "num_hidden_layers"),
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=4 * width,
        context=int(raw.get("seq_length", _CONTEXT)),
        alibi=True,
        embedding_norm=True,
        norm="layer",
        norm_epsilon=float(raw.get("layer_norm_epsilon", 1e-5)),
        rotary_theta=None,
        gated=False,
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
    )


BLOOM = Family(
    title="BLOOM",
    model_types=("bloom",),
    prefix="transformer.",
    read=_read,
    weights=with_bias(
        {
            "embedding_norm.weight": Weight(names=("word_embeddings_layernorm.weight",)),
            "final_norm.weight": Weight(names=("ln_f.weight",)),
        }
    )
    | {"embedding.weight": Weight(names=("word_embeddings.weight",))},
    block_weights=with_bias(
        {
            "attention_norm.weight": Weight(names=("h.{}.input_layernorm.weight",)),
            "query_key_value.weight": Weight(names=("h.{}.self_attention.query_key_value.weight",), interleaved=True),
            "attention_output.weight": Weight(names=("h.{}.self_attention.dense.weight",)),
            "mlp_norm.weight": Weight(names=("h.{}.post_attention_layernorm.weight",)),
            "mlp_in.weight": Weight(names=("h.{}.mlp.dense_h_to_4h.weight",)),
            "mlp_out.weight": Weight(names=("h.{}.mlp.dense_4h_to_h.weight",)),
        }
    ),
    ignored=("lm_head.weight", "score.weight"),
)
