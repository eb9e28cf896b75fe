"""How a GGUF file says which rotary angles a model was trained with, in the words of config.json.

Linear and YaRN scaling are fields; Llama 3's rule and Phi-3's factors are tensors. Llama 3's four numbers are found
again from its factors and checked against every one of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ModelError
from tailtune.models.gguf.metadata import Metadata

Floats = NDArray[np.float64]

FACTORS, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"

# Every Llama 3.x has these; the converter knows the third even where config.json does not tell.
_LOW, _HIGH, _CONTEXT = 1.0, 4.0, 8192
# The factors are kept in fp32; the rule amplifies their rounding by no more than a few units.
_CLOSE = 1e-4


def rotary(
    metadata: Metadata, architecture: str, factors: dict[str, NDArray[np.float32]], width: int
) -> dict[str, Any]:
    """Return ``rope_theta`` and, where the angles are scaled, ``rope_scaling``.

    Args:
        metadata: Of the file.
        architecture: Before the keys.
        factors: The rotary tensors of the file, by name; [width / 2].
        width: Of a head, as far as it is rotated.

    Raises:
        ModelError: If the scaling is none that is known.
    """
    theta = metadata.real(f"{architecture}.rope.freq_base", 10000.0)
    found: dict[str, Any] = {"rope_theta": theta}
    if LONG in factors or SHORT in factors:
        return found | {"rope_scaling": _long_rope(metadata, architecture, factors)}
    kind = metadata.text(f"{architecture}.rope.scaling.type", "none")
    if kind == "none" and FACTORS in factors and not np.allclose(factors[FACTORS], 1, atol=_CLOSE):
        return found | {"rope_scaling": _llama3(metadata, factors[FACTORS].astype(np.float64), theta, width)}
    if kind == "none":
        return found
    if kind not in ("linear", "yarn") or FACTORS in factors:
        raise ModelError(f"{metadata.source}: rotary scaling {kind!r} is not supported; supported: linear, yarn")
    scaling: dict[str, Any] = {"rope_type": kind, "factor": metadata.real(f"{architecture}.rope.scaling.factor")}
    return found | {"rope_scaling": scaling | (_yarn(metadata, architecture) if kind == "yarn" else {})}


def _yarn(metadata: Metadata, architecture: str) -> dict[str, Any]:
    key = f"{architecture}.rope.scaling"
    found: dict[str, Any] = {"original_max_position_embeddings": metadata.whole(f"{key}.original_context_length")}
    names = {"attention_factor": "yarn_attn_factor", "beta_fast": "yarn_beta_fast", "beta_slow": "yarn_beta_slow"}
    for name, ours in names.items():
        if metadata.has(f"{key}.{ours}"):
            found[name] = metadata.real(f"{key}.{ours}")
    return found


def _long_rope(metadata: Metadata, architecture: str, factors: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Phi-3's: one factor for each angle, others for texts longer than the original context."""
    absent = [name for name in (LONG, SHORT) if name not in factors]
    if absent:
        raise ModelError(f"{metadata.source}: tensor {absent[0]!r} is missing")
    original = metadata.whole(f"{architecture}.rope.scaling.original_context_length")
    context = metadata.whole(f"{architecture}.context_length")
    found: dict[str, Any] = {
        "rope_type": "longrope",
        "long_factor": [float(factor) for factor in factors[LONG]],
        "short_factor": [float(factor) for factor in factors[SHORT]],
        "original_max_position_embeddings": original,
    }
    usual = math.sqrt(1 + math.log(context / original) / math.log(original)) if context > original else 1.0
    told = metadata.real(f"{architecture}.rope.scaling.attn_factor", usual)
    return found if math.isclose(told, usual, rel_tol=_CLOSE) else found | {"attention_factor": told}


def _llama3(metadata: Metadata, factors: Floats, theta: float, width: int) -> dict[str, Any]:
    if factors.shape != (width // 2,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise ModelError(f"{metadata.source}: {FACTORS} holds {factors.shape}, expected {width // 2} positive numbers")
    factor = round(float(factors.max()), 3)
    waves = 2 * math.pi * theta ** (np.arange(0, width, 2) / width)
    for low, high in ((_LOW, _HIGH), *_fitted(factors, factor, waves)):
        if np.allclose(llama3_factors(waves, factor, low, high, _CONTEXT), factors, rtol=_CLOSE):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": _CONTEXT,
            }
    raise ModelError(f"{metadata.source}: {FACTORS} does not follow the rule of Llama 3, which is the only one known")


def _fitted(factors: Floats, factor: float, waves: Floats) -> list[tuple[float, float]]:
    """The two bounds, from the angles between them: there the inverse factor is a line over the inverse wave."""
    between = (factors > 1 + _CLOSE) & (factors < factor * (1 - _CLOSE))
    if between.sum() < 2:
        return []
    shares = (1 / factors[between] - 1 / factor) / (1 - 1 / factor)
    slope, start = np.polyfit(_CONTEXT / waves[between], shares, 1)
    return [(float(-start / slope), float((1 - start) / slope))]


def llama3_factors(waves: Floats, factor: float, low: float, high: float, context: int) -> Floats:
    """Return by how much Llama 3 slows each angle: not at all, by ``factor``, or in between.

    Args:
        waves: Tokens that each angle takes for a turn.
        factor: The most.
        low: Waves longer than ``context / low`` are slowed by ``factor``.
        high: Waves shorter than ``context / high`` are not slowed.
        context: Of the model before it was stretched.
    """
    share = np.clip((context / waves - low) / (high - low), 0, 1)
    return 1 / ((1 - share) / factor + share)
