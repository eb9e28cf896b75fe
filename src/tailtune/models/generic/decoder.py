"""The modules of the reference library with the interface of ``Decoder``: packed states, a cut at any depth, a tail.

Slower than a native decoder: the library's modules take one length at a time, and the top block computes every row.

Shape letters as in ``tailtune.models.decoder``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from tailtune.models.decoder import Climber, Packed
from tailtune.models.generic.config import GenericConfig
from tailtune.models.generic.skeleton import skeleton
from tailtune.models.generic.stem import Call, Recording, freeze, record, record_into, states_of
from tailtune.models.generic.structure import some_ids
from tailtune.text.packing import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Called(Packed):
    """A packed batch, with what the blocks are called with.

    Attributes:
        calls: For each group of equally long texts, the calls of the blocks held, lowest first.
    """

    calls: tuple[tuple[Call, ...], ...]


class Blocks(nn.Module):
    """Blocks by their numbers; one that serves several depths is held once.

    Args:
        numbered: Number -> the name its weights are kept under, and the block.
    """

    def __init__(self, numbered: Mapping[int, tuple[str, nn.Module]]) -> None:
        super().__init__()
        self._names = {number: name for number, (name, _) in numbered.items()}
        for name, block in numbered.values():
            self.add_module(name, block)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return map(str, self._names)

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield (number, block), lowest first."""
        for number, name in self._names.items():
            yield str(number), self.get_submodule(name)


class GenericDecoder(Climber):
    """Embeddings, blocks and final norm of a decoder or encoder, made of the reference library's modules.

    What is not in a block or the final norm is a buffer: it is never trained. Dropout is off, in training too.

    Args:
        config: Of the whole model.
        first: Number of the first block held here.
        blocks: How many blocks to hold; default all from ``first`` up.
        embeddings: Hold the embeddings: the part that starts from token ids.
        final_norm: Hold the final norm, where the model has one.
    """

    def __init__(
        self,
        config: GenericConfig,
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
        structure = config.structure
        model = skeleton(config.reference)
        held = record_into(model.get_submodule(structure.layers), structure.results)
        numbers = range(first, first + count)
        self.config = config
        self.first = first
        self.blocks = Blocks({n: (structure.name(n), held[structure.order[n]]) for n in numbers})
        norm = structure.final_norm
        self.final_norm = model.get_submodule(norm) if final_norm and norm else None
        if norm:
            model.set_submodule(norm, nn.Identity())
        self._has_embeddings = embeddings
        self.stem = freeze(model, structure.shared | (structure.embedding if embeddings else frozenset()))
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Return this decoder, without dropout: what is trained computes what is used."""
        return super().train(False)

    @property
    def has_embeddings(self) -> bool:
        """Whether it starts from token ids."""
        return self._has_embeddings

    def below(self, depth: int) -> GenericDecoder:
        """Return the backbone of ``depth`` blocks, without the final norm; it shares this decoder's tensors."""
        part = GenericDecoder(self.config, blocks=depth, final_norm=False)
        state = self.state_dict()
        part.load_state_dict({name: state[name] for name in part.state_dict()}, assign=True)
        return part.requires_grad_(False)

    def embed(self, ids_T: Tensor, packed: Packed) -> Tensor:
        """Return [T, D], the states below the first block.

        Args:
            ids_T: [T] int token ids.
            packed: Their layout.
        """
        if not self._has_embeddings:
            raise ValueError("this part of the decoder has no embeddings")
        sizes = [count * length for count, length in packed.groups]
        pieces = []
        for (count, length), ids in zip(packed.groups, torch.split(ids_T.long(), sizes), strict=True):
            (call,) = self._record(ids.view(count, length), until=1).calls
            pieces.append(call.states.reshape(count * length, -1))
        return torch.cat(pieces)

    def climb(self, x_TD: Tensor, packed: Packed) -> Iterator[tuple[int, Tensor]]:
        """Yield (depth, [T, D] states) after each block held here, lowest first."""
        assert isinstance(packed, Called)
        sizes = [count * length for count, length in packed.groups]
        # A copy: some blocks add to what they are given.
        split = torch.split(x_TD.clone(), sizes)
        states = [x.view(count, length, -1) for x, (count, length) in zip(split, packed.groups, strict=True)]
        for place, (number, block) in enumerate(self.blocks.items()):
            groups = zip(states, packed.calls, strict=True)
            states = [states_of(calls[place].run(block, x)) for x, calls in groups]
            yield int(number) + 1, torch.cat([x.reshape(-1, x.shape[-1]) for x in states])

    def read_rows(self, x_TD: Tensor, packed: Packed) -> Tensor:
        """Return [N, D]: all blocks held here, the row of each text that is read, then the final norm if held.

        Args:
            x_TD: [T, D] states below the first block held here.
            packed: Their layout.
        """
        return self.top_states(x_TD, packed)[packed.read]

    def layout(self, batch: Batch, device: torch.device) -> Called:
        """Return the batch's layout on ``device``, with what the blocks held here are called with."""
        read = torch.from_numpy(batch.read(causal=self.config.causal)).to(device)
        positions = torch.from_numpy(batch.positions()).to(device)
        calls = []
        for count, length in batch.groups:
            ids = some_ids(self.stem.config, count=count, length=length, vocabulary=self.config.vocabulary)
            until = self.first + len(self.blocks)
            calls.append(tuple(self._record(ids.to(device), until=until).calls[self.first :]) if until else ())
        return Called(groups=batch.groups, positions=positions, read=read, rotary=None, calls=tuple(calls))

    @torch.no_grad()
    def _record(self, ids: Tensor, *, until: int) -> Recording:
        recording = Recording(until=until)
        record(self.stem, ids, recording)
        return recording
