"""The families of decoders as tables: how their config reads and what their weights are called.

Adding a family is a reader and a table of names here, and a line in the parity test. Knows nothing about tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tailtune.errors import ModelError


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """The shape of a decoder, the same words for every family.

    Attributes:
        family: Key into the table of families.
        vocabulary: Rows of the embedding.
        width: Size of a hidden state (D).
        blocks: Transformer layers (L).
        heads: Query heads (H).
        key_value_heads: Key and value heads (K); H is a multiple of K.
        head_width: Size of one head (W).
        mlp_width: Inner size of the MLP (F).
        context: Longest text in tokens.
        norm: LayerNorm with bias, or RMSNorm.
        norm_epsilon: Added to the variance.
        rotary_theta: Base of the rotary angles; None means learned position embeddings.
        gated: MLP is down(silu(gate) * up) instead of down(gelu_tanh(up)).
        attention_bias: Query, key and value products have a bias.
        output_bias: The attention output product has a bias.
        mlp_bias: The MLP products have a bias.
    """

    family: str
    vocabulary: int
    width: int
    blocks: int
    heads: int
    key_value_heads: int
    head_width: int
    mlp_width: int
    context: int
    norm: Literal["layer", "rms"]
    norm_epsilon: float
    rotary_theta: float | None
    gated: bool
    attention_bias: bool
    output_bias: bool
    mlp_bias: bool

    def __post_init__(self) -> None:
        counts = (self.vocabulary, self.width, self.blocks, self.heads, self.key_value_heads, self.head_width)
        if min(*counts, self.mlp_width, self.context) < 1 or self.heads % self.key_value_heads:
            raise ModelError(f"config.json describes an impossible decoder: {asdict(self)}")

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """Where one of our tensors comes from.

    Attributes:
        names: Reference names, joined along the output dimension; ``{}`` stands for the block number.
        transposed: The reference stores [input, output] (GPT-2's Conv1D) where we store [output, input].
    """

    names: tuple[str, ...]
    transposed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One family: the ``model_type`` values it covers, its config reader and its weight names.

    Attributes:
        title: What people call it.
        model_types: Values of ``model_type`` in config.json.
        prefix: Put before every weight name by the reference library's language models; bare names are read too.
        read: Turns config.json into a DecoderConfig.
        weights: Our name -> Weight, for weights that exist once.
        block_weights: Our name inside a block -> Weight.
    """

    title: str
    model_types: tuple[str, ...]
    prefix: str
    read: Callable[[Mapping[str, Any]], DecoderConfig]
    weights: Mapping[str, Weight]
    block_weights: Mapping[str, Weight]


def _need(raw: Mapping[str, Any], key: str) -> Any:
    if raw.get(key) is None:
        raise ModelError(f"config.json has no {key!r}", hint="is this the folder of a pretrained decoder?")
    return raw[key]


def _only(raw: Mapping[str, Any], key: str, default: Any, *accepted: Any) -> None:
    got = raw.get(key, default)
    if got not in accepted:
        raise ModelError(
            f"config.json asks for {key} = {got!r}, which is not supported; supported: {', '.join(map(repr, accepted))}"
        )


def _read_gpt2(raw: Mapping[str, Any]) -> DecoderConfig:
    _only(raw, "activation_function", "gelu_new", "gelu_new", "gelu_pytorch_tanh")
    _only(raw, "scale_attn_weights", True, True)
    _only(raw, "scale_attn_by_inverse_layer_idx", False, False)
    _only(raw, "add_cross_attention", False, False)
    width, heads = int(_need(raw, "n_embd")), int(_need(raw, "n_head"))
    return DecoderConfig(
        family="gpt2",
        vocabulary=int(_need(raw, "vocab_size")),
        width=width,
        blocks=int(_need(raw, "n_layer")),
        heads=heads,
        key_value_heads=heads,
        head_width=width // heads,
        mlp_width=int(raw.get("n_inner") or 4 * width),
        context=int(_need(raw, "n_positions")),
        norm="layer",
        norm_epsilon=float(raw.get("layer_norm_epsilon", 1e-5)),
        rotary_theta=None,
        gated=False,
        attention_bias=True,
        output_bias=True,
        mlp_bias=True,
    )


def _rotary_theta(raw: Mapping[str, Any]) -> float:
    """Both spellings: ``rope_theta`` + ``rope_scaling`` before version 5 of the reference library, then one mapping."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ModelError(f"config.json asks for rotary type {kind!r}, which is not supported yet; supported: 'default'")
    return float(rope.get("rope_theta", raw.get("rope_theta", 10000.0)))


def _read_llama(raw: Mapping[str, Any]) -> DecoderConfig:
    _only(raw, "hidden_act", "silu", "silu")
    width, heads = int(_need(raw, "hidden_size")), int(_need(raw, "num_attention_heads"))
    context = int(_need(raw, "max_position_embeddings"))
    attention_bias = bool(raw.get("attention_bias", False))
    return DecoderConfig(
        family="llama",
        vocabulary=int(_need(raw, "vocab_size")),
        width=width,
        blocks=int(_need(raw, "num_hidden_layers")),
        heads=heads,
        key_value_heads=int(raw.get("num_key_value_heads") or heads),
        head_width=int(raw.get("head_dim") or width // heads),
        mlp_width=int(_need(raw, "intermediate_size")),
        # Mistral's sliding window changes nothing for texts that fit into it, so longer texts are cut to it.
        context=min(context, int(raw.get("sliding_window") or context)),
        norm="rms",
        norm_epsilon=float(raw.get("rms_norm_eps", 1e-6)),
        rotary_theta=_rotary_theta(raw),
        gated=True,
        attention_bias=attention_bias,
        output_bias=attention_bias,
        mlp_bias=bool(raw.get("mlp_bias", False)),
    )


def _with_bias(table: Mapping[str, Weight]) -> dict[str, Weight]:
    """Add the bias beside every weight; which of them exist is for the config to say."""
    both = dict(table)
    for name, weight in table.items():
        names = tuple(source.removesuffix("weight") + "bias" for source in weight.names)
        both[name.removesuffix("weight") + "bias"] = Weight(names=names)
    return both


FAMILIES: Mapping[str, Family] = {
    "gpt2": Family(
        title="GPT-2",
        model_types=("gpt2",),
        prefix="transformer.",
        read=_read_gpt2,
        weights={
            "embedding.weight": Weight(names=("wte.weight",)),
            "positions.weight": Weight(names=("wpe.weight",)),
            "final_norm.weight": Weight(names=("ln_f.weight",)),
            "final_norm.bias": Weight(names=("ln_f.bias",)),
        },
        block_weights=_with_bias(
            {
                "attention_norm.weight": Weight(names=("h.{}.ln_1.weight",)),
                "query_key_value.weight": Weight(names=("h.{}.attn.c_attn.weight",), transposed=True),
                "attention_output.weight": Weight(names=("h.{}.attn.c_proj.weight",), transposed=True),
                "mlp_norm.weight": Weight(names=("h.{}.ln_2.weight",)),
                "mlp_in.weight": Weight(names=("h.{}.mlp.c_fc.weight",), transposed=True),
                "mlp_out.weight": Weight(names=("h.{}.mlp.c_proj.weight",), transposed=True),
            }
        ),
    ),
    "llama": Family(
        title="Llama (Llama, SmolLM2, TinyLlama, Mistral)",
        model_types=("llama", "mistral"),
        prefix="model.",
        read=_read_llama,
        weights={
            "embedding.weight": Weight(names=("embed_tokens.weight",)),
            "final_norm.weight": Weight(names=("norm.weight",)),
        },
        block_weights=_with_bias(
            {
                "attention_norm.weight": Weight(names=("layers.{}.input_layernorm.weight",)),
                "query_key_value.weight": Weight(
                    names=tuple(f"layers.{{}}.self_attn.{part}_proj.weight" for part in ("q", "k", "v"))
                ),
                "attention_output.weight": Weight(names=("layers.{}.self_attn.o_proj.weight",)),
                "mlp_norm.weight": Weight(names=("layers.{}.post_attention_layernorm.weight",)),
                "mlp_in.weight": Weight(names=("layers.{}.mlp.gate_proj.weight", "layers.{}.mlp.up_proj.weight")),
                "mlp_out.weight": Weight(names=("layers.{}.mlp.down_proj.weight",)),
            }
        ),
    ),
}


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Return the decoder that a Hugging Face config.json describes.

    Args:
        raw: The parsed config.json.

    Raises:
        ModelError: If the family or one of its settings is not supported; the message lists the families that are.
    """
    model_type = raw.get("model_type")
    for family in FAMILIES.values():
        if model_type in family.model_types:
            return family.read(raw)
    known = ", ".join(f"{family.title} [{', '.join(family.model_types)}]" for family in FAMILIES.values())
    raise ModelError(f"model_type {model_type!r} is not supported yet; supported families: {known}")
