"""One decoder for every family, over packed tokens; a cut at any depth; a last block that computes one row per text.

Tokens of several texts lie end to end without pads (``tailtune.text.packing``), so every product sees real tokens
only; attention runs per group of equal length, where no mask but the causal one is needed. Knows nothing about files,
tokenizers or training.

Shape letters: T packed tokens, N texts, D width, H query heads, K key/value heads, W head width, F MLP width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tailtune.models.families import DecoderConfig
from tailtune.text.packing import Batch

# Up to so many texts per different length are asked of all tokens under a mask, more of them length by length.
_TEXTS_PER_LENGTH = 2


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
    return torch.cat(
        (
            torch.addcmul(first * cosine, second, sine, value=-1),
            torch.addcmul(second * cosine, first, sine),
        ),
        dim=-1,
    )


def attend(q_THW: Tensor, k_TKW: Tensor, v_TKW: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Return causal attention inside each text: [T, H * W].

    Args:
        q_THW: [T, H, W] queries.
        k_TKW: [T, K, W] keys.
        v_TKW: [T, K, W] values.
        groups: (count, length) runs of equally long texts.
    """
    heads, width = q_THW.shape[1:]
    sizes = [count * length for count, length in groups]
    pieces = []
    for (count, length), *qkv in zip(groups, *(torch.split(x, sizes) for x in (q_THW, k_TKW, v_TKW)), strict=True):
        q, k, v = (x.view(count, length, -1, width).transpose(1, 2) for x in qkv)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=length > 1, enable_gqa=True)
        pieces.append(out.transpose(1, 2).reshape(count * length, heads * width))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def attend_last(q_NHW: Tensor, k_TKW: Tensor, v_TKW: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Return the attention of each text's last token to its text: [N, H * W].

    Query heads that share keys are rows of one product, so keys and values are not copied. A few texts of many lengths,
    which is what a training step sees, ask all tokens at once, those of other texts masked: N * T scores are less
    work than a call, forward and backward, per length.

    Args:
        q_NHW: [N, H, W] queries of the last tokens.
        k_TKW: [T, K, W] keys.
        v_TKW: [T, K, W] values.
        groups: (count, length) runs of equally long texts.
    """
    texts, heads, width = q_NHW.shape
    keys = k_TKW.shape[1]
    q_NKSW = q_NHW.view(texts, keys, heads // keys, width)
    if texts <= _TEXTS_PER_LENGTH * len(groups):
        q = q_NKSW.permute(1, 2, 0, 3).reshape(1, keys, -1, width)
        k, v = (x.transpose(0, 1).unsqueeze(0) for x in (k_TKW, v_TKW))
        own = _own_tokens(groups, q.device).repeat(heads // keys, 1)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=own)
        return out.view(heads, texts, width).transpose(0, 1).reshape(texts, heads * width)
    pieces, row, token = [], 0, 0
    for count, length in groups:
        tokens = slice(token, token + count * length)
        k, v = (x[tokens].view(count, length, keys, width).transpose(1, 2) for x in (k_TKW, v_TKW))
        out = functional.scaled_dot_product_attention(q_NKSW[row : row + count], k, v)
        pieces.append(out.reshape(count, heads * width))
        row, token = row + count, tokens.stop
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _own_tokens(groups: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """[N, T] bool: whether a token belongs to the text."""
    lengths = torch.tensor([length for count, length in groups for _ in range(count)], device=device)
    text_of_T = torch.repeat_interleave(lengths)
    return text_of_T == torch.arange(len(lengths), device=device).unsqueeze(1)


def _norm(config: DecoderConfig) -> nn.LayerNorm | nn.RMSNorm:
    if config.norm == "layer":
        return nn.LayerNorm(config.width, eps=config.norm_epsilon)
    return nn.RMSNorm(config.width, eps=config.norm_epsilon)


def _table(rows: int, width: int) -> nn.Embedding:
    """A table whose values are still to be read: drawing some on the meta device loads PyTorch's compiler, 1.2 s."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


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
        x_TD = x_TD + self.attention_output(attend(q, k, v, packed.groups))
        return x_TD + self._mlp(x_TD)

    def last_row(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [N, D], what ``forward`` gives at each text's last token, exactly, for a fraction of the work.

        Keys and values need every token; query, output product and MLP need the row that is read.
        """
        heads, shared, width = self.config.heads, self.config.key_value_heads, self.config.head_width
        normed_TD, weight, bias = self._query_key_value_on(x_TD)
        sizes = [heads * width, 2 * shared * width]
        weight_q, weight_kv = torch.split(weight, sizes)
        bias_q, bias_kv = (None, None) if bias is None else torch.split(bias, sizes)
        q = functional.linear(normed_TD[packed.last], weight_q, bias_q)
        kv = functional.linear(normed_TD, weight_kv, bias_kv)
        q = q.view(-1, heads, width)
        k, v = kv.view(-1, 2 * shared, width).chunk(2, dim=1)
        if packed.rotary is not None:
            cosine, sine = packed.rotary
            q, k = rotate(q, (cosine[packed.last], sine[packed.last])), rotate(k, packed.rotary)
        x_ND: Tensor = x_TD[packed.last] + self.attention_output(attend_last(q, k, v, packed.groups))
        return x_ND + self._mlp(x_ND)

    def _query_key_value_on(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Normed states [T, D], and the weight and bias of the query/key/value product for them.

        Where gradients end here, at stored states, the norm's weight and bias go into the product: otherwise a third
        of its work would be a gradient of all tokens that only the norm's weight needs.
        """
        norm, product = self.attention_norm, self.query_key_value
        if x_TD.requires_grad or not torch.is_grad_enabled():
            return norm(x_TD), product.weight, product.bias
        weight = product.weight * norm.weight
        if isinstance(norm, nn.LayerNorm):
            bias = functional.linear(norm.bias, product.weight, product.bias)
            return functional.layer_norm(x_TD, norm.normalized_shape, eps=norm.eps), weight, bias
        return functional.rms_norm(x_TD, x_TD.shape[-1:], eps=self.config.norm_epsilon), weight, product.bias

    def _mlp(self, x: Tensor) -> Tensor:
        inner = self.mlp_in(self.mlp_norm(x))
        if self.config.gated:
            gate, up = inner.chunk(2, dim=-1)
            inner = functional.silu(gate).mul_(up)
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
        self.embedding: nn.Module | None = _table(config.vocabulary, config.width) if embeddings else None
        learned = embeddings and config.rotary_theta is None
        self.positions = _table(config.context, config.width) if learned else None
        self.blocks = nn.ModuleDict({str(number): Block(config) for number in range(first, first + count)})
        self.final_norm = _norm(config) if final_norm else None

    def below(self, depth: int) -> Decoder:
        """Return the backbone of ``depth`` blocks, without the final norm; it shares this decoder's tensors."""
        with torch.device("meta"):
            part = Decoder(self.config, blocks=depth, final_norm=False)
        state = self.state_dict()
        part.load_state_dict({name: state[name] for name in part.state_dict()}, assign=True)
        return part.eval().requires_grad_(False)

    def products(self) -> Iterator[nn.Linear]:
        """Yield the linear layers of all blocks, lowest first."""
        for block in self.blocks.values():
            yield from (layer for layer in block.children() if isinstance(layer, nn.Linear))

    def replace_products(self, make: Callable[[nn.Linear], nn.Module]) -> Decoder:
        """Put ``make(layer)`` in the place of every linear layer of the blocks; return this decoder."""
        for block in self.blocks.values():
            for name, layer in list(block.named_children()):
                if isinstance(layer, nn.Linear):
                    setattr(block, name, make(layer))
        return self

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
