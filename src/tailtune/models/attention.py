"""Attention inside each text of a packed batch: causal or not, near tokens only, soft caps, ALiBi.

Shape letters: T packed tokens, N texts, H query heads, K key/value heads, W head width, L tokens of a text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tailtune.models.shape import DecoderConfig

# Up to so many texts per different length are asked of all tokens under a mask, more of them length by length.
_TEXTS_PER_LENGTH = 2

Groups = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """How a block's scores become weights.

    Attributes:
        causal: A token sees those before it, else all.
        scale: Scores are multiplied by it; None means 1 / sqrt(W).
        cap: Scores are bent into ± this by tanh.
        window: A token sees tokens fewer than so many places away; None for all.
        slopes: [H] ALiBi: so much per place of distance is taken off the scores; empty for none.
    """

    causal: bool = True
    scale: float | None = None
    cap: float | None = None
    window: int | None = None
    slopes: tuple[float, ...] = ()

    @classmethod
    def of(cls, config: DecoderConfig, block: int) -> Attention:
        """Return that of block number ``block``."""
        return cls(
            causal=config.causal,
            scale=config.attention_scale,
            cap=config.attention_cap,
            window=config.window if block in config.local_blocks else None,
            slopes=_alibi_slopes(config.heads) if config.alibi else (),
        )

    def mask(self, distance: Tensor) -> Tensor | None:
        """Return which pairs see each other, bool, or [H, …] what is added to their scores; None where all do, equally.

        Args:
            distance: […] int, place of the asking token minus place of the token asked.
        """
        seen = None
        if self.causal and bool((distance < 0).any()):
            seen = distance >= 0
        if self.window is not None and bool((distance.abs() >= self.window).any()):
            near = distance.abs() < self.window
            seen = near if seen is None else seen & near
        if not self.slopes:
            return seen
        slopes = torch.tensor(self.slopes, device=distance.device).view(-1, *(1 for _ in distance.shape))
        bias = -slopes * distance
        return bias if seen is None else bias.masked_fill(~seen, -torch.inf)

    def weigh(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Return [batch, H, queries, W], the values weighed by the softmax of the scores.

        Args:
            q: [batch, H, queries, W].
            k: [batch, K, L, W].
            v: [batch, K, L, W].
            mask: Over [batch, H, queries, L]: bool, or added to the scores.
            causal: Instead of a mask.
        """
        if self.cap is None:
            return functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, scale=self.scale, enable_gqa=True
            )
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        scores = q @ k.transpose(-1, -2) * (self.scale or q.shape[-1] ** -0.5)
        scores = self.cap * torch.tanh(scores / self.cap)
        if causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(dim=-1) @ v


def _alibi_slopes(heads: int) -> tuple[float, ...]:
    """One per head: powers of 2 ** (-8 / heads); between two powers of two, every other one of the next power."""
    power = 2 ** math.floor(math.log2(heads))
    base = 2.0 ** (-8.0 / power)
    between = 2.0 ** (-4.0 / power)
    return tuple(base ** (i + 1) for i in range(power)) + tuple(between ** (2 * i + 1) for i in range(heads - power))


def attend(
    q_THW: Tensor,
    k_TKW: Tensor,
    v_TKW: Tensor,
    groups: Groups,
    how: Attention,
    *,
    before: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return the attention of every token inside its text: [T, H * W].

    Args:
        q_THW: [T, H, W] queries.
        k_TKW: [T, K, W] keys.
        v_TKW: [T, K, W] values.
        groups: (count, length) runs of equally long texts.
        how: The block's.
        before: [P, K, W] keys and values of tokens that stand before each text, computed once; only where causal.
    """
    if before is not None:
        return _attend_behind(before, (q_THW, k_TKW, v_TKW), groups, how)
    heads, width = q_THW.shape[1:]
    sizes = [count * length for count, length in groups]
    pieces = []
    for (count, length), *qkv in zip(groups, *(torch.split(x, sizes) for x in (q_THW, k_TKW, v_TKW)), strict=True):
        q, k, v = (x.view(count, length, -1, width).transpose(1, 2) for x in qkv)
        # All equally long: the causal mask, or none, is enough unless distance counts.
        plain = not how.slopes and (how.window is None or length <= how.window)
        mask = None if plain else how.mask(_distances(length, q.device))
        out = how.weigh(q, k, v, mask=mask, causal=plain and how.causal and length > 1)
        pieces.append(out.transpose(1, 2).reshape(count * length, heads * width))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _attend_behind(
    before: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor, Tensor], groups: Groups, how: Attention
) -> Tensor:
    """As ``attend``, where each text goes on from the same tokens."""
    heads, width = own[0].shape[1:]
    sizes = [count * length for count, length in groups]
    pieces = []
    for (count, length), *qkv in zip(groups, *(torch.split(x, sizes) for x in own), strict=True):
        q, k, v = (x.view(count, length, -1, width).transpose(1, 2) for x in qkv)
        k, v = (
            torch.cat((shared.transpose(0, 1).expand(count, -1, -1, -1), mine), dim=2)
            for shared, mine in zip(before, (k, v), strict=True)
        )
        distances = _distances(k.shape[2], q.device)[-length:]
        out = how.weigh(q, k, v, mask=how.mask(distances))
        pieces.append(out.transpose(1, 2).reshape(count * length, heads * width))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _distances(length: int, device: torch.device) -> Tensor:
    places = torch.arange(length, device=device)
    return places.unsqueeze(1) - places


def attend_one(q_NHW: Tensor, k_TKW: Tensor, v_TKW: Tensor, groups: Groups, how: Attention) -> Tensor:
    """Return the attention of one token of each text, the last, or the first of an encoder, to its text: [N, H * W].

    Query heads that share keys are rows of one product, so keys and values are not copied. A few texts of many lengths,
    which is what a training step sees, ask all tokens at once, those of other texts masked: N * T scores are less
    work than a call, forward and backward, per length.

    Args:
        q_NHW: [N, H, W] queries of those tokens.
        k_TKW: [T, K, W] keys.
        v_TKW: [T, K, W] values.
        groups: (count, length) runs of equally long texts.
        how: The block's.
    """
    texts, heads, width = q_NHW.shape
    keys = k_TKW.shape[1]
    q_NKSW = q_NHW.view(texts, keys, heads // keys, width)
    if texts <= _TEXTS_PER_LENGTH * len(groups):
        q = q_NKSW.permute(1, 2, 0, 3).reshape(1, keys, -1, width)
        k, v = (x.transpose(0, 1).unsqueeze(0) for x in (k_TKW, v_TKW))
        out = how.weigh(q, k, v, mask=_mask_of_all(groups, how, heads // keys, keys, q.device))
        return out.view(heads, texts, width).transpose(0, 1).reshape(texts, heads * width)
    pieces, row, token = [], 0, 0
    for count, length in groups:
        tokens = slice(token, token + count * length)
        k, v = (x[tokens].view(count, length, keys, width).transpose(1, 2) for x in (k_TKW, v_TKW))
        mask = how.mask(_read_place(how, length) - torch.arange(length, device=q_NHW.device))
        if mask is not None and how.slopes:
            mask = mask.view(keys, heads // keys, length)
        out = how.weigh(q_NKSW[row : row + count], k, v, mask=mask)
        pieces.append(out.reshape(count, heads * width))
        row, token = row + count, tokens.stop
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _read_place(how: Attention, length: int) -> int:
    return length - 1 if how.causal else 0


def _mask_of_all(groups: Groups, how: Attention, shared: int, keys: int, device: torch.device) -> Tensor:
    """Over [K, H / K * N, T]: which tokens belong to the text and are seen, or what is added to their scores."""
    lengths = torch.tensor([length for count, length in groups for _ in range(count)], device=device)
    text_of_T = torch.repeat_interleave(lengths)
    own_NT = text_of_T == torch.arange(len(lengths), device=device).unsqueeze(1)
    if how.window is None and not how.slopes:
        return own_NT.repeat(shared, 1)
    place_T = torch.cat([torch.arange(length, device=device) for count, length in groups for _ in range(count)])
    read_N = torch.tensor([_read_place(how, length) for count, length in groups for _ in range(count)], device=device)
    # Distances to tokens of other texts mean nothing; they are masked whatever they are.
    mask = how.mask(torch.where(own_NT, read_N.unsqueeze(1) - place_T, 0))
    if not how.slopes:
        return (own_NT if mask is None else own_NT & mask).repeat(shared, 1)
    assert mask is not None
    return mask.masked_fill(~own_NT, -torch.inf).view(keys, shared * len(lengths), -1)
