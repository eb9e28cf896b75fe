"""One decoder for every family, over packed tokens; a cut at any depth; a last block that computes one row per text.

Tokens of several texts lie end to end without pads (``tailtune.text.packing``), so every product sees real tokens
only; attention runs per group of equal length, where no mask but the causal one is needed. Knows nothing about files,
tokenizers or training.

Shape letters: T packed tokens, N texts, D width, H query heads, K key/value heads, W head width, F MLP width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tailtune.models.families import DecoderConfig
from tailtune.text.packing import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A packed batch as the decoder wants it.

    Attributes:
        groups: (count, length) of each run of equally long texts.
        positions: [T] int64, position inside the own text.
        last: [N] int64, row of each text's last token.
        rotary: Cosine and sine at those positions, each [T, 1, W / 2]; None with learned positions.
    """

    groups: tuple[tuple[int, int], ...]
    positions: Tensor
    last: Tensor
    rotary: tuple[Tensor, Tensor] | None


def rotate(x_TAW: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Return heads turned by their position, first half against second half (Llama's layout).

    Args:
        x_TAW: [T, heads, W].
        rotary: Cosine and sine, each [T, 1, W / 2].
    """
    cosine, sine = rotary
    first, second = x_TAW.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def attend(q_TAW: Tensor, k_TKW: Tensor, v_TKW: Tensor, groups: Sequence[tuple[int, int]], *, one_row: bool) -> Tensor:
    """Return causal attention inside each text: [rows, H * W].

    Args:
        q_TAW: [T, H, W] queries, or [N, H, W] (the last token of each text) when ``one_row``.
        k_TKW: [T, K, W] keys.
        v_TKW: [T, K, W] values.
        groups: (count, length) runs of equally long texts.
        one_row: Queries are the last rows only; the causal mask then allows everything.
    """
    heads, width = q_TAW.shape[1:]
    shared = heads // k_TKW.shape[1]
    pieces, row, token = [], 0, 0
    for count, length in groups:
        asked = 1 if one_row else length
        rows, tokens = slice(row, row + count * asked), slice(token, token + count * length)
        q = q_TAW[rows].view(count, asked, heads, width).transpose(1, 2)
        k, v = (x[tokens].view(count, length, -1, width).transpose(1, 2) for x in (k_TKW, v_TKW))
        if shared > 1:
            k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=not one_row and length > 1)
        pieces.append(out.transpose(1, 2).reshape(count * asked, heads * width))
        row, token = rows.stop, tokens.stop
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _norm(config: DecoderConfig) -> nn.Module:
    if config.norm == "layer":
        return nn.LayerNorm(config.width, eps=config.norm_epsilon)
    return nn.RMSNorm(config.width, eps=config.norm_epsilon)


class Block(nn.Module):
    """One pre-norm transformer layer with fused query/key/value and gate/up products."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        query, shared = config.heads * config.head_width, config.key_value_heads * config.head_width
        self.config = config
        self.attention_norm = _norm(config)
        self.query_key_value = nn.Linear(config.width, query + 2 * shared, bias=config.attention_bias)
        self.attention_output = nn.Linear(query, config.width, bias=config.output_bias)
        self.mlp_norm = _norm(config)
        self.mlp_in = nn.Linear(config.width, config.mlp_width * (2 if config.gated else 1), bias=config.mlp_bias)
        self.mlp_out = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)

    def forward(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [T, D], the states one block higher.

        Args:
            x_TD: [T, D] packed states.
            packed: Their layout.
        """
        heads, shared, width = self.config.heads, self.config.key_value_heads, self.config.head_width
        qkv = self.query_key_value(self.attention_norm(x_TD)).view(-1, heads + 2 * shared, width)
        qk, v = qkv[:, : heads + shared], qkv[:, heads + shared :]
        if packed.rotary is not None:
            qk = rotate(qk, packed.rotary)
        q, k = qk[:, :heads], qk[:, heads:]
        x_TD = x_TD + self.attention_output(attend(q, k, v, packed.groups, one_row=False))
        return x_TD + self._mlp(x_TD)

    def last_row(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [N, D], what ``forward`` gives at each text's last token, exactly, for a fraction of the work.

        Keys and values need every token; query, output product and MLP need the row that is read.
        """
        heads, shared, width = self.config.heads, self.config.key_value_heads, self.config.head_width
        normed_TD = self.attention_norm(x_TD)
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        cut = heads * width
        q = functional.linear(normed_TD[packed.last], weight[:cut], None if bias is None else bias[:cut])
        kv = functional.linear(normed_TD, weight[cut:], None if bias is None else bias[cut:])
        q = q.view(-1, heads, width)
        k, v = kv.view(-1, 2 * shared, width).chunk(2, dim=1)
        if packed.rotary is not None:
            cosine, sine = packed.rotary
            q, k = rotate(q, (cosine[packed.last], sine[packed.last])), rotate(k, packed.rotary)
        x_ND: Tensor = x_TD[packed.last] + self.attention_output(attend(q, k, v, packed.groups, one_row=True))
        return x_ND + self._mlp(x_ND)

    def _mlp(self, x: Tensor) -> Tensor:
        inner = self.mlp_in(self.mlp_norm(x))
        if self.config.gated:
            gate, up = inner.chunk(2, dim=-1)
            inner = functional.silu(gate) * up
        else:
            inner = functional.gelu(inner, approximate="tanh")
        out: Tensor = self.mlp_out(inner)
        return out


class Decoder(nn.Module):
    """Embeddings, blocks and final norm of a pretrained causal language model, without its LM head.

    Args:
        config: The shape.
        first: Number of the first block held here.
        blocks: How many blocks to hold; default all from ``first`` up.
        embeddings: Hold the embeddings: the part that starts from token ids.
        final_norm: Hold the final norm.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        first: int = 0,
        blocks: int | None = None,
        embeddings: bool = True,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        count = config.blocks - first if blocks is None else blocks
        if not 0 <= first <= first + count <= config.blocks:
            raise ValueError(f"blocks {first}..{first + count} of {config.blocks}")
        self.config = config
        self.first = first
        self.embedding = nn.Embedding(config.vocabulary, config.width) if embeddings else None
        learned = embeddings and config.rotary_theta is None
        self.positions = nn.Embedding(config.context, config.width) if learned else None
        self.blocks = nn.ModuleDict({str(number): Block(config) for number in range(first, first + count)})
        self.final_norm = _norm(config) if final_norm else None

    def below(self, depth: int) -> Decoder:
        """Return the backbone of ``depth`` blocks, without the final norm; it shares this decoder's tensors."""
        with torch.device("meta"):
            part = Decoder(self.config, blocks=depth, final_norm=False)
        state = self.state_dict()
        part.load_state_dict({name: state[name] for name in part.state_dict()}, assign=True)
        return part.eval().requires_grad_(False)

    def embed(self, ids_T: Tensor, packed: Packed) -> Tensor:
        """Return [T, D], the states below the first block.

        Args:
            ids_T: [T] int token ids.
            packed: Their layout.
        """
        if self.embedding is None:
            raise ValueError("this part of the decoder has no embeddings")
        x_TD: Tensor = self.embedding(ids_T)
        return x_TD if self.positions is None else x_TD + self.positions(packed.positions)

    def climb(self, x_TD: Tensor, packed: Packed) -> Iterator[tuple[int, Tensor]]:
        """Yield (depth, [T, D] states) after each block held here, lowest first."""
        for number, block in self.blocks.items():
            x_TD = block(x_TD, packed)
            yield int(number) + 1, x_TD

    def read_last(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [N, D]: all blocks held here, the last one for one row per text, then the final norm if held.

        Args:
            x_TD: [T, D] states below the first block held here.
            packed: Their layout.
        """
        *lower, last = self.blocks.values()
        for block in lower:
            x_TD = block(x_TD, packed)
        assert isinstance(last, Block)
        x_ND = last.last_row(x_TD, packed)
        if self.final_norm is not None:
            x_ND = self.final_norm(x_ND)
        return x_ND

    def layout(self, batch: Batch, device: torch.device) -> Packed:
        """Return the batch's layout as tensors on ``device``, with the rotary angles of its positions."""
        positions = torch.from_numpy(batch.positions()).to(device)
        rotary = None
        if self.config.rotary_theta is not None:
            cosine, sine = self._angles(int(batch.groups[-1][1]), device)
            rotary = cosine[positions].unsqueeze(1), sine[positions].unsqueeze(1)
        last = torch.from_numpy(batch.last()).to(device)
        return Packed(groups=batch.groups, positions=positions, last=last, rotary=rotary)

    def _angles(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each [length, W / 2]; frequencies as in arXiv 2104.09864, computed in fp32."""
        width = self.config.head_width
        theta = self.config.rotary_theta or 1.0
        frequencies = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.int64).float() / width)
        angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies).to(device)
        return angles.cos(), angles.sin()
