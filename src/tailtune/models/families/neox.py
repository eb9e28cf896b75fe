"""GPT-NeoX (Pythia)."""

from __future__ import annotations

from tailtune.models.family import Family, Raw, Weight, with_bias
from tailtune.models.rotary_config import read_rotary
from tailtune.models.shape import DecoderConfig


def _read(raw: Raw) -> DecoderConfig:
    width, heads = raw.count("hidden_size"), raw.count("num_attention_heads")
    rotary = read_rotary(
        raw, theta=float(raw.get("rotary_emb_base", 10000.0)), share=float(raw.get("rotary_pct", 0.25))
    )
    attention_bias = bool(raw.get("attention_bias", True))
    return DecoderConfig(
        family="gpt_neox",
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=raw.blocks("num_hidden_layers"),
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=raw.count("intermediate_size"),
        context=rotary.context,
        norm="layer",
        norm_epsilon=float(raw.get("layer_norm_eps", 1e-5)),
        rotary_theta=rotary.theta,
        rotary_width=rotary.width(width // heads),
        rotary_scaling=rotary.scaling,
        gated=False,
        activation=raw.activation("hidden_act", "gelu"),
        attention_bias=attention_bias,
        output_bias=attention_bias,
        mlp_bias=True,
        parallel=bool(raw.get("use_parallel_residual", True)),
    )


GPT_NEOX = Family(
    title="GPT-NeoX (Pythia)",
    model_types=("gpt_neox",),
    prefix="gpt_neox.",
    read=_read,
    weights={
        "embedding.weight": Weight(names=("embed_in.weight",)),
        **with_bias({"final_norm.weight": Weight(names=("final_layer_norm.weight",))}),
    },
    head="embed_out.weight",
    block_weights=with_bias(
        {
            "attention_norm.weight": Weight(names=("layers.{}.input_layernorm.weight",)),
            "query_key_value.weight": Weight(
                names=("layers.{}.attention.query_key_value.weight",), interleaved=True
            ),
            "attention_output.weight": Weight(names=("layers.{}.attention.dense.weight",)),
            "mlp_norm.weight": Weight(names=("layers.{}.post_attention_layernorm.weight",)),
            "mlp_in.weight": Weight(names=("layers.{}.mlp.dense_h_to_4h.weight",)),
            "mlp_out.weight": Weight(names=("layers.{}.mlp.dense_4h_to_h.weight",)),
        }
    ),
    ignored=(
        "embed_out.weight", "score.weight", "*.rotary_emb.inv_freq", "*.attention.bias", "*.attention.masked_bias",
    ),
)  # fmt: skip
