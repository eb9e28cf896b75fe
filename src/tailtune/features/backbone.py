"""The backbone: embeddings and the first blocks of a decoder, frozen, as a function from token ids to features.

One pass gives pooled vectors at several depths and token states at those that ask for them. Knows nothing about labels,
files or training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailtune.errors import SetupError
from tailtune.features.allocator import keep_freed_memory
from tailtune.models.decoder import Decoder, KeysValues, Packed
from tailtune.models.fastest import fastest_twin
from tailtune.models.int8 import Precision
from tailtune.models.parts import Part
from tailtune.text.packing import Batch, batches, pack
from tailtune.text.tokenizer import Tokens, token_places

# Packed tokens per batch. 2,048 was the fastest of 256 ... 4,096 at width 576 on two cores: the widest product
# (2,048 x 3,072 floats, 25 MB) still fits a 32 MB last-level cache. See docs/log.md.
TOKEN_BUDGET = 2048

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a pass shall give.

    Attributes:
        pooled: Depths at which the read and the mean state of each text are wanted, ascending.
        states: Depths at which the states of all tokens are wanted, ascending.
        ids: Whether the token ids themselves are wanted, by what holds embeddings of its own.
    """

    pooled: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    ids: bool = False

    @property
    def depth(self) -> int:
        """The number of blocks that must be computed."""
        return max((*self.pooled, *self.states), default=0)

    def __or__(self, other: Wanted) -> Wanted:
        """Return what gives both."""
        pooled, states = {*self.pooled, *other.pooled}, {*self.states, *other.states}
        return Wanted(pooled=tuple(sorted(pooled)), states=tuple(sorted(states)), ids=self.ids or other.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What one batch of a pass gave.

    Attributes:
        batch: Which texts, in which order.
        pooled: Depth -> [N, 2, D]: of each text the state at the token that is read (the last one, or
            the first one of an encoder) and the mean of all.
        states: Depth -> [T, D] packed token states.
        ids: [T] packed token ids, where they are wanted.
    """

    batch: Batch
    pooled: dict[int, Floats]
    states: dict[int, Floats]
    ids: NDArray[np.int32] | None = None


def choose_device(name: str, precision: Precision = "fp32") -> torch.device:
    """Return the device called ``name``; "auto" takes an accelerator where there is one and it can compute that way.

    Args:
        name: "auto", "cpu", "cuda" or "mps".
        precision: int8 products run on the processor only.

    Raises:
        SetupError: If this machine, or this build of PyTorch, does not have it, or it cannot compute in int8.
    """
    if precision == "int8" and name not in ("auto", "cpu"):
        raise SetupError(f"int8 runs on the processor only, not on {name!r}", hint="--device cpu or --precision fp32")
    if precision == "int8":
        name = "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if available[kind]), "cpu")
    if not available.get(name, False):
        had = ", ".join(kind for kind, here in available.items() if here)
        raise SetupError(f"device {name!r} is not available here; available: {had}")
    return torch.device(name)


class Backbone:
    """The frozen lower part of a decoder: ``eval()``, no gradient, never in an optimizer.

    Args:
        decoder: Holds blocks 0 up to the deepest cut that will be asked for. It is frozen here and moved to ``device``.
        device: Where to compute.
    """

    def __init__(self, decoder: Part, *, device: torch.device) -> None:
        keep_freed_memory()
        self.decoder = decoder.to(device).eval().requires_grad_(False)
        self.device = device
        self._fast = fastest_twin(self.decoder) if isinstance(self.decoder, Decoder) else self.decoder
        # Of the last template: a service that answers text by text computes its words once.
        self._beginning: _Beginning | None = None

    @property
    def width(self) -> int:
        """D, the size of a hidden state."""
        return self.decoder.config.width

    @property
    def depth(self) -> int:
        """The number of blocks held."""
        return len(self.decoder.blocks)

    def run(self, tokens: Tokens, wanted: Wanted, *, token_budget: int = TOKEN_BUDGET) -> Iterator[Piece]:
        """Yield the features of every text, batch by batch, shortest texts first; empty pieces of nothing wanted.

        What all texts begin with is computed once where ``tokens`` says so and the decoder can; the features are those
        of whole texts all the same.

        Args:
            tokens: Ragged token ids of the texts; each text has at least one.
            wanted: Depths, none above the blocks held.
            token_budget: Most packed tokens in one batch.
        """
        beginning = self.shared(tokens) if wanted.pooled or wanted.states else 0
        if not beginning:
            for batch in batches(tokens.lengths, token_budget=token_budget):
                yield self._piece(tokens, batch, wanted)
            return
        start = self._start(tokens.ids[:beginning], wanted)
        # Tokens that are not computed anew are attended to and stored: an eighth each of the work and memory of others.
        spare = beginning - beginning // 8
        for batch in batches(tokens.lengths - spare, token_budget=token_budget):
            yield self._going_on(tokens, batch.shifted(spare), wanted, start)

    def shared(self, tokens: Tokens) -> int:
        """Return how many first tokens of all these texts are computed only once."""
        return tokens.shared if isinstance(self._fast, Decoder) and self._fast.can_go_on else 0

    @torch.inference_mode()
    def _start(self, ids: NDArray[np.int32], wanted: Wanted) -> _Beginning:
        """What texts go on from: the one of the last call where it is the same."""
        assert isinstance(self._fast, Decoder)
        known = self._beginning
        if known is not None and known.wanted == wanted and np.array_equal(known.ids, ids):
            return known
        kept: dict[int, KeysValues] = {}
        batch = Batch(texts=np.zeros(1, dtype=np.int64), groups=((1, len(ids)),))
        states = {}
        for depth, found in self._climb(ids, self._fast.layout(batch, self.device, kept=kept)):
            if depth in (*wanted.pooled, *wanted.states):
                states[depth] = found
            if depth == wanted.depth:
                break
        self._beginning = _Beginning(ids=ids.copy(), wanted=wanted, before=kept, states=states)
        return self._beginning

    @torch.inference_mode()
    def _going_on(self, tokens: Tokens, batch: Batch, wanted: Wanted, start: _Beginning) -> Piece:
        """As ``_piece``, computing only what comes after the beginning."""
        assert isinstance(self._fast, Decoder)
        own, taken, after = batch.shifted(-len(start.ids)), tokens.take(batch.texts), len(start.ids)
        piece = Piece(batch=batch, pooled={}, states={}, ids=taken.ids if wanted.ids else None)
        places = token_places(taken.offsets[:-1] + after, taken.lengths - after)
        layout = self._fast.layout(own, self.device, after=after, before=start.before)
        read = torch.from_numpy(batch.last()).to(self.device)
        for depth, states in self._climb(taken.ids[places], layout):
            if depth in start.states:
                _keep(piece, depth, _behind(start.states[depth], states, own), wanted, read)
            if depth == wanted.depth:
                break
        return piece

    @torch.inference_mode()
    def _piece(self, tokens: Tokens, batch: Batch, wanted: Wanted) -> Piece:
        taken = tokens.take(batch.texts)
        piece = Piece(batch=batch, pooled={}, states={}, ids=taken.ids if wanted.ids else None)
        if wanted == Wanted():
            return piece
        layout = self._fast.layout(batch, self.device)
        for depth, states in self._climb(taken.ids, layout):
            _keep(piece, depth, states, wanted, layout.read)
            if depth == wanted.depth:
                break
        return piece

    @torch.inference_mode()
    def embed(self, tokens: Tokens) -> Floats:
        """Return [T, D], the states at depth 0 of every text, packed in the order given: a look-up, no product.

        Args:
            tokens: Ragged token ids of the texts, at least one text.
        """
        lengths = tokens.lengths
        batch = pack(np.arange(len(lengths)), lengths)
        ids = torch.from_numpy(tokens.take(batch.texts).ids).to(self.device)
        states = self._fast.embed(ids, self._fast.layout(batch, self.device)).cpu().numpy()
        out: Floats = np.empty_like(states)
        out[token_places(tokens.offsets[batch.texts], lengths[batch.texts])] = states
        return out

    def climb(self, tokens: Tokens, batch: Batch) -> Iterator[tuple[int, Tensor]]:
        """Yield (depth, [T, D] states) from the embeddings, depth 0, upwards; to be used without gradients.

        Args:
            tokens: Those of the batch, in its order.
            batch: Their grouping.
        """
        yield from self._climb(tokens.ids, self._fast.layout(batch, self.device))

    def _climb(self, ids: NDArray[np.int32], layout: Packed) -> Iterator[tuple[int, Tensor]]:
        states = self._fast.embed(torch.from_numpy(ids).to(self.device), layout)
        yield 0, states
        yield from self._fast.climb(states, layout)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Beginning:
    """Tokens that texts share, as far as they were computed: keys and values by block, [P, D] states by depth."""

    ids: NDArray[np.int32]
    wanted: Wanted
    before: Mapping[int, KeysValues]
    states: Mapping[int, Tensor]


def _behind(start_PD: Tensor, states: Tensor, own: Batch) -> Tensor:
    """[T, D] states of whole texts: those of the beginning before each one's own."""
    sizes = [count * length for count, length in own.groups]
    pieces = [
        torch.cat((start_PD.expand(count, -1, -1), part.view(count, length, -1)), dim=1).flatten(0, 1)
        for (count, length), part in zip(own.groups, torch.split(states, sizes), strict=True)
    ]
    return torch.cat(pieces)


def _keep(piece: Piece, depth: int, states: Tensor, wanted: Wanted, read: Tensor) -> None:
    if depth in wanted.pooled:
        pooled = torch.stack((states[read], mean_states(states, piece.batch.groups)), dim=1)
        piece.pooled[depth] = pooled.cpu().numpy()
    if depth in wanted.states:
        piece.states[depth] = states.cpu().numpy()


def mean_states(states: Tensor, groups: tuple[tuple[int, int], ...]) -> Tensor:
    """Return [N, D], the mean state of each text.

    Args:
        states: [T, D] packed token states.
        groups: (count, length) of each run of equally long texts.
    """
    means, start = [], 0
    for count, length in groups:
        means.append(states[start : start + count * length].view(count, length, -1).mean(dim=1))
        start += count * length
    return torch.cat(means)
