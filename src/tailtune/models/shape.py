"""The shape of a pretrained model, the same words for every family. Knows nothing about tensors and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal

from tailtune.errors import ModelError

ScalingKind = Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RotaryScaling:
    """How rotary angles are stretched for texts longer than those of the pretraining.

    Attributes:
        kind: The name in config.json.
        factor: By how much.
        original: Tokens of the longest text of the pretraining.
        low: llama3's low_freq_factor, yarn's beta_slow.
        high: llama3's high_freq_factor, yarn's beta_fast.
        attention: Cosine and sine are multiplied by it (yarn, longrope).
        truncate: yarn rounds the ends of its ramp to whole dimensions.
        short: longrope: one divisor per frequency, for texts up to ``original``.
        long: longrope: the same for longer texts.
    """

    kind: ScalingKind
    factor: float
    original: int
    low: float = 1.0
    high: float = 1.0
    attention: float = 1.0
    truncate: bool = True
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """The shape of a decoder, or of an encoder, which differs by ``causal``.

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
        norm: LayerNorm, or RMSNorm.
        norm_epsilon: Added to the variance.
        rotary_theta: Base of the rotary angles; None means learned position embeddings, or ALiBi.
        gated: MLP is down(activation(gate) * up) instead of down(activation(up)).
        attention_bias: Query, key and value products have a bias.
        output_bias: The attention output product has a bias.
        mlp_bias: The MLP products have a bias.
        activation: Of the MLP; None means silu where gated, else gelu_tanh.
        causal: A token sees those before it; False for encoders, where it sees all.
        alibi: Scores fall linearly with distance, at another rate per head (arXiv 2108.12409).
        position_offset: Rows of the learned position table before that of the first token.
        token_types: Rows of the table of token types, of which the first is added to every token; 0 for none.
        embedding_scale: Embeddings are multiplied by it.
        embedding_norm: A norm stands between embeddings and first block.
        norm_bias: LayerNorms have a bias.
        norm_plus_one: RMSNorms multiply by one plus their weight (Gemma).
        norms: "before" attention and MLP, "after" them, "both", or on the "residual" sum (BERT).
        first_norm: The first block has an attention norm (ModernBERT's has none).
        final_norm: There is a norm above the last block.
        parallel: Attention and MLP read the same states (GPT-NeoX).
        query_key_norm: RMSNorm on the queries and keys of each "head" or of "all" heads at once; None for none.
        attention_scale: Scores are multiplied by it; None means 1 / sqrt(W).
        attention_cap: Scores are bent into ± this by tanh; None for none.
        window: In local blocks a token sees tokens fewer than so many places away; None for none.
        local_blocks: Numbers of the blocks with that window.
        local_rotary_theta: Base of the rotary angles in local blocks; None means as in the others.
        unrotated_blocks: Numbers of the blocks without rotary angles.
        rotary_width: So many values of each head are rotated; None means all.
        rotary_scaling: For long texts; not in local blocks with a base of their own.
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
    activation: Activation | None = None
    causal: bool = True
    alibi: bool = False
    position_offset: int = 0
    token_types: int = 0
    embedding_scale: float = 1.0
    embedding_norm: bool = False
    norm_bias: bool = True
    norm_plus_one: bool = False
    norms: Literal["before", "after", "both", "residual"] = "before"
    first_norm: bool = True
    final_norm: bool = True
    parallel: bool = False
    query_key_norm: Literal["head", "all"] | None = None
    attention_scale: float | None = None
    attention_cap: float | None = None
    window: int | None = None
    local_blocks: tuple[int, ...] = ()
    local_rotary_theta: float | None = None
    unrotated_blocks: tuple[int, ...] = ()
    rotary_width: int | None = None
    rotary_scaling: RotaryScaling | None = None

    def __post_init__(self) -> None:
        if self.activation == ("silu" if self.gated else "gelu_tanh"):
            object.__setattr__(self, "activation", None)
        counts = (self.vocabulary, self.width, self.blocks, self.heads, self.key_value_heads, self.head_width)
        if min(*counts, self.mlp_width, self.context) < 1 or self.heads % self.key_value_heads:
            raise ModelError(f"config.json describes an impossible decoder: {self.as_json()}")

    @property
    def learned_positions(self) -> bool:
        """Whether positions are a table."""
        return self.rotary_theta is None and not self.alibi

    @property
    def is_plain(self) -> bool:
        """Whether all of it could be said before bundles of format 5: GPT-2 and Llama without variants."""
        return not set(self.as_json()) & {field.name for field in fields(self) if field.default is not MISSING}

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping, without those at their defaults."""
        given = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        return {name: value for name, value in asdict(self).items() if name not in given or value != given[name]}

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> DecoderConfig:
        """Return what ``as_json`` wrote.

        Raises:
            TypeError: If a field is missing or not known.
        """
        values = dict(mapping)
        for name in ("local_blocks", "unrotated_blocks"):
            values[name] = tuple(values.get(name, ()))
        if scaling := values.get("rotary_scaling"):
            lists = {name: tuple(scaling.get(name, ())) for name in ("short", "long")}
            values["rotary_scaling"] = RotaryScaling(**{**scaling, **lists})
        return cls(**values)
