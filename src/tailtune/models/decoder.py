"""One decoder for every family, over packed tokens; a cut at any depth; a top block that computes one row per text.

Tokens of several texts lie end to end without pads (``tailtune.text.packing``), so every product sees real tokens
only; attention runs per group of equal length, where no mask but the causal one is needed. Knows nothing about files,
tokenizers or training.

Shape letters: T packed tokens, N texts, D width, H query heads, K key/value heads, W head width, F MLP width, R values
of a head that are rotated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tailtune.models.attention import Attention, attend, attend_one
from tailtune.models.joined import Joined
from tailtune.models.rotary import Angles, angles, rotate
from tailtune.models.shape import Activation, DecoderConfig
from tailtune.text.packing import Batch

KeysValues = tuple[Tensor, Tensor]
Product = TypeVar("Product", bound=nn.Module)


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A packed batch as the decoder wants it.

    Attributes:
        groups: (count, length) of each run of equally long texts.
        positions: [T] int64, position inside the own text.
        read: [N] int64, row of each text's token that is read: the last one, of an encoder the first one.
        rotary: Cosine and sine at those positions, each [T, 1, R / 2]; None without rotary positions.
        local_rotary: The same of local blocks, where they have angles of their own.
        before: Number of a block -> its keys and values [P, K, W] of P tokens that stand before each text; positions
            count these. Empty for none. Only for passes through whole blocks.
        kept: Given to be filled with what ``before`` of the texts that go on from this one shall be; None else.
    """

    groups: tuple[tuple[int, int], ...]
    positions: Tensor
    read: Tensor
    rotary: Angles | None
    local_rotary: Angles | None = None
    before: Mapping[int, KeysValues] = field(default_factory=dict)
    kept: dict[int, KeysValues] | None = None


def _norm(config: DecoderConfig, width: int | None = None) -> nn.LayerNorm | nn.RMSNorm:
    width = config.width if width is None else width
    if config.norm == "layer":
        return nn.LayerNorm(width, eps=config.norm_epsilon, bias=config.norm_bias)
    return (OnePlusRMSNorm if config.norm_plus_one else nn.RMSNorm)(width, eps=config.norm_epsilon)


class OnePlusRMSNorm(nn.RMSNorm):
    """An RMSNorm whose weight is stored as its distance from one, as Gemma does."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` over its root mean square, times one plus the weight."""
        return functional.rms_norm(x, self.normalized_shape, _scale(self), self.eps)


def _scale(norm: nn.LayerNorm | nn.RMSNorm) -> Tensor:
    return 1.0 + norm.weight if isinstance(norm, OnePlusRMSNorm) else norm.weight


def _table(rows: int, width: int) -> nn.Embedding:
    """A table whose values are still to be read: drawing some on the meta device loads PyTorch's compiler, 1.2 s."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class Block(nn.Module):
    """One transformer layer with fused query/key/value and gate/up products; the config says where norms stand.

    Args:
        config: The shape.
        number: Which of the blocks.
    """

    def __init__(self, config: DecoderConfig, number: int) -> None:
        super().__init__()
        query, shared = config.heads * config.head_width, config.key_value_heads * config.head_width
        before, after = config.norms in ("before", "both"), config.norms != "before"
        self.config = config
        self.number = number
        self.how = Attention.of(config, number)
        self.local = number in config.local_blocks
        self.rotated = number not in config.unrotated_blocks
        self.attention_norm = _norm(config) if before and (number > 0 or config.first_norm) else None
        self.query_key_value: nn.Module = nn.Linear(config.width, query + 2 * shared, bias=config.attention_bias)
        wide = config.query_key_norm == "all"
        self.query_norm = _norm(config, query if wide else config.head_width) if config.query_key_norm else None
        self.key_norm = _norm(config, shared if wide else config.head_width) if config.query_key_norm else None
        self.attention_output = nn.Linear(query, config.width, bias=config.output_bias)
        self.attention_after = _norm(config) if after else None
        self.mlp_norm = _norm(config) if before else None
        self.mlp_in = nn.Linear(config.width, config.mlp_width * (2 if config.gated else 1), bias=config.mlp_bias)
        self.mlp_out = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)
        self.mlp_after = _norm(config) if after else None

    def forward(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [T, D], the states one block higher.

        Args:
            x_TD: [T, D] packed states.
            packed: Their layout.
        """
        heads, shared, width = self.config.heads, self.config.key_value_heads, self.config.head_width
        normed_TD = x_TD if self.attention_norm is None else self.attention_norm(x_TD)
        qkv = self.query_key_value(normed_TD).view(-1, heads + 2 * shared, width)
        qk, v = qkv[:, : heads + shared], qkv[:, heads + shared :]
        if self.query_norm is not None and self.key_norm is not None:
            qk = torch.cat((_norm_heads(qk[:, :heads], self.query_norm), _norm_heads(qk[:, heads:], self.key_norm)), 1)
        if rotary := self._rotary(packed):
            qk = rotate(qk, rotary)
        q, k = qk[:, :heads], qk[:, heads:]
        if packed.kept is not None:
            packed.kept[self.number] = (k, v)
        return self._add(x_TD, attend(q, k, v, packed.groups, self.how, before=packed.before.get(self.number)))

    def read_row(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [N, D], what ``forward`` gives at the token of each text that is read, for a fraction of the work.

        It is exact: keys and values need every token; query, output product and MLP need the row that is read.
        """
        heads, shared, width = self.config.heads, self.config.key_value_heads, self.config.head_width
        q, kv = self._query_apart(x_TD, packed.read)
        q = q.view(-1, heads, width)
        k, v = kv.view(-1, 2 * shared, width).chunk(2, dim=1)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = _norm_heads(q, self.query_norm), _norm_heads(k, self.key_norm)
        if rotary := self._rotary(packed):
            cosine, sine = rotary
            q, k = rotate(q, (cosine[packed.read], sine[packed.read])), rotate(k, rotary)
        return self._add(x_TD[packed.read], attend_one(q, k, v, packed.groups, self.how))

    def _rotary(self, packed: Packed) -> Angles | None:
        if not self.rotated:
            return None
        return packed.local_rotary if self.local and packed.local_rotary else packed.rotary

    def _query_apart(self, x_TD: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        """The queries [N, H W] of the rows that are read, and the keys and values [T, 2 K W] of all."""
        norm, product = self.attention_norm, self.query_key_value
        queries = self.config.heads * self.config.head_width
        if isinstance(product, nn.Linear):
            normed_TD, weight, bias = self._query_key_value_on(x_TD, product)
            sizes = [queries, len(weight) - queries]
            weight_q, weight_kv = torch.split(weight, sizes)
            bias_q, bias_kv = (None, None) if bias is None else torch.split(bias, sizes)
            return functional.linear(normed_TD[read], weight_q, bias_q), functional.linear(
                normed_TD, weight_kv, bias_kv
            )
        # An adapter's ``weight`` is that of the layer below it: only its forward has the adapter in it.
        normed_TD = x_TD if norm is None else norm(x_TD)
        if isinstance(product, Joined):
            query, *others = product.children()
            return query(normed_TD[read]), torch.cat([other(normed_TD) for other in others], dim=-1)
        both = product(normed_TD)
        return both[read, :queries], both[:, queries:]

    def _query_key_value_on(self, x_TD: Tensor, product: nn.Linear) -> tuple[Tensor, Tensor, Tensor | None]:
        """Normed states [T, D], and the weight and bias of the query/key/value product for them.

        Where gradients end here, at stored states, the norm's weight and bias go into the product: otherwise a third
        of its work would be a gradient of all tokens that only the norm's weight needs.
        """
        norm = self.attention_norm
        if norm is None or x_TD.requires_grad or not torch.is_grad_enabled():
            return x_TD if norm is None else norm(x_TD), product.weight, product.bias
        weight = product.weight * _scale(norm)
        if isinstance(norm, nn.LayerNorm):
            bias = product.bias if norm.bias is None else functional.linear(norm.bias, product.weight, product.bias)
            return functional.layer_norm(x_TD, norm.normalized_shape, eps=norm.eps), weight, bias
        return functional.rms_norm(x_TD, x_TD.shape[-1:], eps=self.config.norm_epsilon), weight, product.bias

    def _add(self, x: Tensor, attended: Tensor) -> Tensor:
        """The states with what attention and MLP add to them."""
        from_attention = self.attention_output(attended)
        if self.config.parallel:
            parallel: Tensor = x + from_attention + self._mlp(x)
            return parallel
        x = self._joined(x, from_attention, self.attention_after)
        return self._joined(x, self._mlp(x), self.mlp_after)

    def _joined(self, x: Tensor, branch: Tensor, norm: nn.Module | None) -> Tensor:
        if norm is None:
            return x + branch
        joined: Tensor = norm(x + branch) if self.config.norms == "residual" else x + norm(branch)
        return joined

    def _mlp(self, x: Tensor) -> Tensor:
        inner = self.mlp_in(x if self.mlp_norm is None else self.mlp_norm(x))
        if self.config.gated:
            gate, up = inner.chunk(2, dim=-1)
            inner = self._activate(gate, "silu").mul_(up)
        else:
            inner = self._activate(inner, "gelu_tanh")
        out: Tensor = self.mlp_out(inner)
        return out

    def _activate(self, x: Tensor, usual: Activation) -> Tensor:
        return _ACTIVATIONS[self.config.activation or usual](x)


def _norm_heads(x_TAW: Tensor, norm: nn.Module) -> Tensor:
    """The norm over each head, or over all of them where it is that wide."""
    heads, width = x_TAW.shape[1:]
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    if norm.normalized_shape == (width,):
        normed: Tensor = norm(x_TAW)
        return normed
    wide: Tensor = norm(x_TAW.reshape(-1, heads * width))
    return wide.view(-1, heads, width)


_ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": functools.partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}


class Climber(nn.Module):
    """Blocks, and a final norm or none, whatever they are made of."""

    final_norm: nn.Module | None

    def climb(self, x_TD: Tensor, packed: Packed) -> Iterator[tuple[int, Tensor]]:
        """Yield (depth, [T, D] states) after each block held here, lowest first."""
        raise NotImplementedError

    def top_states(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [T, D]: all blocks held here for every token, then the final norm if held.

        Args:
            x_TD: [T, D] states below the first block held here.
            packed: Their layout.
        """
        for _, above in self.climb(x_TD, packed):
            x_TD = above
        return x_TD if self.final_norm is None else self.final_norm(x_TD)


class Decoder(Climber):
    """Embeddings, blocks and final norm of a pretrained causal language model, or of an encoder, without any head.

    Args:
        config: The shape.
        first: Number of the first block held here.
        blocks: How many blocks to hold; default all from ``first`` up.
        embeddings: Hold the embeddings: the part that starts from token ids.
        final_norm: Hold the final norm, where the family has one.
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
        rows = config.context + config.position_offset
        self.positions = _table(rows, config.width) if embeddings and config.learned_positions else None
        self.token_types = _table(config.token_types, config.width) if embeddings and config.token_types else None
        self.embedding_norm = _norm(config) if embeddings and config.embedding_norm else None
        self.blocks = nn.ModuleDict({str(number): Block(config, number) for number in range(first, first + count)})
        self.final_norm: nn.LayerNorm | nn.RMSNorm | None = _norm(config) if final_norm and config.final_norm else None

    def below(self, depth: int) -> Decoder:
        """Return the backbone of ``depth`` blocks, without the final norm; it shares this decoder's tensors."""
        with torch.device("meta"):
            part = Decoder(self.config, blocks=depth, final_norm=False)
        state = self.state_dict()
        part.load_state_dict({name: state[name] for name in part.state_dict()}, assign=True)
        return part.eval().requires_grad_(False)

    @property
    def has_embeddings(self) -> bool:
        """Whether it starts from token ids."""
        return self.embedding is not None

    def products(self, kind: type[Product]) -> Iterator[Product]:
        """Yield the linear layers of that kind in all blocks, lowest first."""
        for block in self.blocks.values():
            yield from (layer for layer in block.children() if isinstance(layer, kind))

    def replace_products(self, kind: type[Product], make: Callable[[Product], nn.Module]) -> Decoder:
        """Put ``make(layer)`` in the place of every linear layer of that kind in the blocks; return this decoder."""
        for block in self.blocks.values():
            for name, layer in list(block.named_children()):
                if isinstance(layer, kind):
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
        if self.config.embedding_scale != 1.0:
            x_TD = x_TD * self.config.embedding_scale
        if self.token_types is not None:
            x_TD = x_TD + self.token_types.weight[0]
        if self.positions is not None:
            x_TD = x_TD + self.positions(packed.positions + self.config.position_offset)
        return x_TD if self.embedding_norm is None else self.embedding_norm(x_TD)

    def climb(self, x_TD: Tensor, packed: Packed) -> Iterator[tuple[int, Tensor]]:
        """Yield (depth, [T, D] states) after each block held here, lowest first."""
        for number, block in self.blocks.items():
            x_TD = block(x_TD, packed)
            yield int(number) + 1, x_TD

    def read_rows(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [N, D]: all blocks held here, the top one for one row per text, then the final norm if held.

        Args:
            x_TD: [T, D] states below the first block held here.
            packed: Their layout.
        """
        *lower, last = self.blocks.values()
        for block in lower:
            x_TD = block(x_TD, packed)
        assert isinstance(last, Block)
        x_ND = last.read_row(x_TD, packed)
        if self.final_norm is not None:
            x_ND = self.final_norm(x_ND)
        return x_ND

    @property
    def can_go_on(self) -> bool:
        """Whether texts can go on from tokens that they share: the states of these do not depend on what follows."""
        scaling = self.config.rotary_scaling
        return self.config.causal and (scaling is None or scaling.kind not in ("dynamic", "longrope"))

    def layout(
        self,
        batch: Batch,
        device: torch.device,
        *,
        after: int = 0,
        before: Mapping[int, KeysValues] | None = None,
        kept: dict[int, KeysValues] | None = None,
    ) -> Packed:
        """Return the batch's layout as tensors on ``device``, with the rotary angles of its positions.

        Args:
            batch: Of the texts, or of what follows ``after`` tokens that they share.
            device: Where.
            after: So many tokens stand before each text.
            before: Their keys and values by block.
            kept: As for ``Packed``.
        """
        config = self.config
        positions = torch.from_numpy(batch.positions()).to(device)
        groups = batch.groups
        if after:
            positions, groups = positions + after, batch.shifted(after).groups
        rotary = local = None
        width = config.rotary_width or config.head_width
        if config.rotary_theta is not None:
            scaling = config.rotary_scaling
            rotary = angles(groups, positions, width=width, theta=config.rotary_theta, scaling=scaling)
        if config.local_rotary_theta is not None:
            local = angles(groups, positions, width=width, theta=config.local_rotary_theta)
        read = torch.from_numpy(batch.read(causal=config.causal)).to(device)
        return Packed(
            groups=batch.groups,
            positions=positions,
            read=read,
            rotary=rotary,
            local_rotary=local,
            before=before or {},
            kept=kept,
        )
