"""Rotary positions: queries and keys turned by angles that grow with the position (arXiv 2104.09864).

Shape letters: T packed tokens, W head width, R values of a head that are rotated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tailtune.models.shape import RotaryScaling

Angles = tuple[Tensor, Tensor]


def rotate(x_TAW: Tensor, rotary: Angles) -> Tensor:
    """Return heads turned by their position, first half against second half (Llama's layout).

    Args:
        x_TAW: [T, heads, W]; of each head the first R values are turned.
        rotary: Cosine and sine, each [T, 1, R / 2].
    """
    cosine, sine = (x.to(x_TAW.dtype) for x in rotary)
    turned = 2 * cosine.shape[-1]
    if turned < x_TAW.shape[-1]:
        return torch.cat((rotate(x_TAW[..., :turned], rotary), x_TAW[..., turned:]), dim=-1)
    first, second = x_TAW.chunk(2, dim=-1)
    return torch.cat(
        (
            torch.addcmul(first * cosine, second, sine, value=-1),
            torch.addcmul(second * cosine, first, sine),
        ),
        dim=-1,
    )


def angles(
    groups: Sequence[tuple[int, int]],
    positions: Tensor,
    *,
    width: int,
    theta: float,
    scaling: RotaryScaling | None = None,
) -> Angles:
    """Return cosine and sine of every packed token, each [T, 1, R / 2], computed in fp32.

    Where the angles depend on the length of the text (dynamic and longrope scaling) it is the own text's length that
    counts, so that no text's scores depend on its neighbours.

    Args:
        groups: (count, length) of each run of equally long texts, shortest first.
        positions: [T] int64, position inside the own text.
        width: R.
        theta: Base of the angles.
        scaling: For long texts.
    """
    if scaling is None or scaling.kind not in ("dynamic", "longrope") or groups[-1][1] <= scaling.original:
        cosine, sine = _table(groups[-1][1], width, theta, scaling)
        cosine, sine = (x.to(positions.device)[positions] for x in (cosine, sine))
    else:
        tables = [_table(length, width, theta, scaling) for _, length in groups]
        cosine, sine = (
            torch.cat([table[which].repeat(count, 1) for table, (count, _) in zip(tables, groups, strict=True)])
            for which in (0, 1)
        )
        cosine, sine = cosine.to(positions.device), sine.to(positions.device)
    return cosine.unsqueeze(1), sine.unsqueeze(1)


def _table(length: int, width: int, theta: float, scaling: RotaryScaling | None) -> Angles:
    """Cosine and sine, each [length, R / 2]."""
    turns = torch.outer(torch.arange(length, dtype=torch.float32), frequencies(length, width, theta, scaling))
    if scaling is None or scaling.attention == 1.0:
        return turns.cos(), turns.sin()
    return turns.cos() * scaling.attention, turns.sin() * scaling.attention


def frequencies(length: int, width: int, theta: float, scaling: RotaryScaling | None) -> Tensor:
    """Return [R / 2], the angle per position, fp32.

    Args:
        length: Tokens of the text.
        width: R.
        theta: Base.
        scaling: For long texts.
    """
    if scaling is not None and scaling.kind == "dynamic":
        # The base grows with the text: "NTK-aware" scaling, nothing below the original length.
        stretch = scaling.factor * max(length, scaling.original) / scaling.original - (scaling.factor - 1)
        theta = theta * stretch ** (width / (width - 2))
    powers = theta ** (torch.arange(0, width, 2, dtype=torch.int64).float() / width)
    if scaling is None or scaling.kind == "dynamic":
        return 1.0 / powers
    if scaling.kind == "linear":
        return 1.0 / powers / scaling.factor
    if scaling.kind == "longrope":
        return 1.0 / (torch.tensor(scaling.long if length > scaling.original else scaling.short) * powers)
    return _llama3(1.0 / powers, scaling) if scaling.kind == "llama3" else _yarn(powers, width, theta, scaling)


def _llama3(plain: Tensor, scaling: RotaryScaling) -> Tensor:
    """Slow turns divided by the factor, fast ones kept, a ramp between (Llama 3.1's reference code)."""
    lengths = 2 * math.pi / plain
    share = (scaling.original / lengths - scaling.low) / (scaling.high - scaling.low)
    between = (1 - share) * plain / scaling.factor + share * plain
    slow, fast = lengths > scaling.original / scaling.low, lengths < scaling.original / scaling.high
    return torch.where(slow, plain / scaling.factor, torch.where(fast, plain, between))


def _yarn(powers: Tensor, width: int, theta: float, scaling: RotaryScaling) -> Tensor:
    """As ``_llama3``, the ramp in dimensions instead of wave lengths (arXiv 2309.00071)."""

    def dimension(turns: float) -> float:
        return width * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = dimension(scaling.high), dimension(scaling.low)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    last = last if last != first else last + 0.001
    kept = 1 - torch.clamp((torch.arange(width // 2, dtype=torch.float32) - first) / (last - first), 0, 1)
    return 1.0 / (scaling.factor * powers) * (1 - kept) + 1.0 / powers * kept
