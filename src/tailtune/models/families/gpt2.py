"""GPT-2."""

from __future__ import annotations

from tailtune.models.family import Family, Raw, Weight, with_bias
from tailtune.models.shape import DecoderConfig


def _read(raw: Raw) -> DecoderConfig:
    raw.only("scale_attn_weights", True, True)
    raw.only("scale_attn_by_inverse_layer_idx", False, False)
    raw.only("add_cross_attention", False, False)
    raw.know("reorder_and_upcast_attn")  # the same sums in another order
    width, heads = raw.count("n_embd"), raw.count("n_head")
    return DecoderConfig(
        family="gpt2",
        vocabulary=raw.count("vocab_size"),
        width=width,
        blocks=raw.blocks("n_layer"),
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=int(raw.get("n_inner", 4 * width)),
        context=raw.count("n_positions"),
        norm="layer",
        norm_epsilon=float(raw.get("layer_norm_epsilon", 1e-5)),
        rotary_theta=None,
        gated=False,
        activation=raw.activation("activation_function", "gelu_new"),
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
    )


GPT2 = Family(
    title="GPT-2",
    model_types=("gpt2",),
    prefix="transformer.",
    read=_read,
    weights={
        "embedding.weight": Weight(names=("wte.weight",)),
        "positions.weight": Weight(names=("wpe.weight",)),
        **with_bias({"final_norm.weight": Weight(names=("ln_f.weight",))}),
    },
    block_weights=with_bias(
        {
            "attention_norm.weight": Weight(names=("h.{}.ln_1.weight",)),
            "query_key_value.weight": Weight(names=("h.{}.attn.c_attn.weight",), transposed=True),
            "attention_output.weight": Weight(names=("h.{}.attn.c_proj.weight",), transposed=True),
            "mlp_norm.weight": Weight(names=("h.{}.ln_2.weight",)),
            "mlp_in.weight": Weight(names=("h.{}.mlp.c_fc.weight",), transposed=True),
            "mlp_out.weight": Weight(names=("h.{}.mlp.c_proj.weight",), transposed=True),
        }
    ),
    ignored=("lm_head.weight", "score.weight", "*.attn.bias", "*.attn.masked_bias"),
)
