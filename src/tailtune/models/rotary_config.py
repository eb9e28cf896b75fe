"""Both spellings of rotary positions in config.json, ``rope_theta`` + ``rope_scaling`` and ``rope_parameters``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from tailtune.errors import ModelError
from tailtune.models.family import Raw
from tailtune.models.shape import RotaryScaling, ScalingKind

_KINDS = ("default", *get_args(ScalingKind))
_KNOWN = {
    "rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings", "low_freq_factor",
    "high_freq_factor", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate",
    "short_factor", "long_factor", "partial_rotary_factor", "finetuned",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotary:
    """What config.json says of rotary positions.

    Attributes:
        theta: Base of the angles.
        share: Of each head that is rotated.
        scaling: For long texts.
        context: Longest text in tokens.
    """

    theta: float
    share: float
    scaling: RotaryScaling | None
    context: int

    def width(self, head_width: int) -> int | None:
        """Return the values of a head that are rotated, None for all."""
        return None if self.share == 1.0 else int(head_width * self.share)


def read_rotary(raw: Raw, *, theta: float = 10000.0, share: float = 1.0, layers: str | None = None) -> Rotary:
    """Return the rotary positions of the layers of one kind.

    Args:
        raw: The config.
        theta: Where the file names no base.
        share: Where it names no share.
        layers: "full_attention" or "sliding_attention", where the family has two kinds.

    Raises:
        ModelError: If the kind of scaling is not supported, or has no factor.
    """
    context = raw.count("max_position_embeddings")
    old, both = raw.get("rope_scaling", {}), raw.get("rope_parameters", {})
    rope = (both.get(layers) or {} if layers and layers in both else both) or old
    if unknown := sorted(key for key in rope if key not in _KNOWN and rope[key]):
        raise ModelError(f"config.json: rotary settings {', '.join(unknown)} are not supported")
    theta, share = raw.get("rope_theta", theta), raw.get("partial_rotary_factor", share)
    theta = float(rope.get("rope_theta") or theta)
    share = float(rope.get("partial_rotary_factor") or share)
    scaling = _scaling(rope, context, int(raw.get("original_max_position_embeddings", 0)))
    if scaling and scaling.kind == "dynamic":
        context = int(context * scaling.factor)
    return Rotary(theta=theta, share=share, scaling=scaling, context=context)


def _scaling(rope: Mapping[str, Any], context: int, original: int) -> RotaryScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    kind = "longrope" if kind == "su" else kind
    if kind not in _KINDS:
        raise ModelError(f"config.json asks for rotary type {kind!r}; supported: {', '.join(_KINDS)}")
    if kind == "default":
        return None
    try:
        original = original or int(rope.get("original_max_position_embeddings") or context)
        factor = context / original if kind == "longrope" and not rope.get("factor") else float(rope["factor"])
        ramp = ("low_freq_factor", "high_freq_factor") if kind == "llama3" else ("beta_slow", "beta_fast")
        if kind == "yarn":
            rope = {**rope, "beta_slow": rope.get("beta_slow") or 1.0, "beta_fast": rope.get("beta_fast") or 32.0}
        return RotaryScaling(
            kind=cast("ScalingKind", kind),
            factor=factor,
            original=context if kind == "dynamic" else original,
            low=float(rope[ramp[0]]) if kind in ("llama3", "yarn") else 1.0,
            high=float(rope[ramp[1]]) if kind in ("llama3", "yarn") else 1.0,
            attention=_attention(kind, rope, factor, original),
            truncate=bool(rope.get("truncate", True)),
            short=tuple(map(float, rope["short_factor"])) if kind == "longrope" else (),
            long=tuple(map(float, rope["long_factor"])) if kind == "longrope" else (),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"config.json: rotary scaling {kind!r} cannot be read: {error!r} is missing or wrong"
        ) from error


def _attention(kind: str, rope: Mapping[str, Any], factor: float, original: int) -> float:
    """The factor of cosine and sine: as given, else as arXiv 2309.00071 (yarn) and 2402.13753 (longrope) advise."""
    if kind not in ("yarn", "longrope"):
        return 1.0
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    if factor <= 1.0:
        return 1.0
    if kind == "longrope":
        return math.sqrt(1 + math.log(factor) / math.log(original))
    scales = float(rope.get("mscale") or 0.0), float(rope.get("mscale_all_dim") or 0.0)
    above, below = scales if all(scales) else (1.0, 0.0)
    return (0.1 * above * math.log(factor) + 1.0) / (0.1 * below * math.log(factor) + 1.0)
