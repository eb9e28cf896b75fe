"""A decoder that is larger than the memory: one block after the other becomes fp32, out of files that stay mapped.

All blocks share the room of one. A pass of 2,048 tokens multiplies each weight 2,048 times, beside which reading and
converting it again for every batch is a small part of the work (docs/log.md). The system keeps as much of the files as
fits. Nothing is written: half as many bytes are read again from a file in bf16 as from an fp32 copy of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tailtune.models.decoder import Block, Decoder, Packed
from tailtune.models.onednn import fastest_linear
from tailtune.models.shape import DecoderConfig

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_bytes() -> int:
    """Return the memory of this machine, or of this container where that is less."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int(_CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # "max", or no such thing here
        return physical


class Source(Protocol):
    """Where a decoder's tensors are read, under our names."""

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """Return one tensor, of any floating type: a view of the mapped file where it lies there as we want it.

        Args:
            name: Ours.
            like: Its shape.
        """
        ...

    def put(self, name: str, out: Tensor) -> None:
        """Read one tensor into ``out``, fp32 of the right shape."""
        ...


class MappedDecoder(Decoder):
    """A decoder whose blocks are read anew whenever they compute; for passes without gradients.

    Args:
        config: The shape.
        source: Holds every tensor of these blocks.
        blocks: How many blocks, from the lowest.
        final_norm: Hold the final norm, where the family has one.
        room: Of another decoder of the same source, to be shared.

    Attributes:
        like: Every tensor's name, shape and type, on the meta device.
        tensors: The same, read when asked for; to be cast to fp32.
    """

    def __init__(
        self,
        config: DecoderConfig,
        source: Source,
        *,
        blocks: int,
        final_norm: bool = True,
        room: _Room | None = None,
    ) -> None:
        with torch.device("meta"):
            super().__init__(config, blocks=blocks, final_norm=final_norm)
        self.like: Mapping[str, Tensor] = self.state_dict()
        self.tensors = _Tensors(source, self.like)
        self._source = source
        self._room = room or _Room(config, source)
        self.blocks = nn.ModuleDict({number: _MappedBlock(int(number), self._room) for number in self.blocks})
        table = self.tensors["embedding.weight"]
        self.embedding = _MappedEmbedding(table)
        small = {name: self.tensors[name].float() for name in self.state_dict() if name != "embedding.weight"}
        self.load_state_dict({**small, "embedding.weight": table}, assign=True)
        self.eval().requires_grad_(False)

    def below(self, depth: int) -> Decoder:
        """Return the backbone of ``depth`` blocks, without the final norm; it shares this decoder's room."""
        return MappedDecoder(self.config, self._source, blocks=depth, final_norm=False, room=self._room)


def tensors_of(decoder: nn.Module) -> Mapping[str, Tensor]:
    """Return every tensor of ``decoder`` by name; of a mapped one each is read when asked for, of any floating type."""
    return decoder.tensors if isinstance(decoder, MappedDecoder) else decoder.state_dict()


def shapes_of(decoder: nn.Module) -> Mapping[str, Tensor]:
    """Return tensors of the names, shapes and types of those of ``decoder``, of a mapped one without values."""
    return decoder.like if isinstance(decoder, MappedDecoder) else decoder.state_dict()


class _Tensors(Mapping[str, Tensor]):
    def __init__(self, source: Source, like: Mapping[str, Tensor]) -> None:
        self._source = source
        self._like = like

    def __getitem__(self, name: str) -> Tensor:
        return self._source.tensor(name, self._like[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._like)

    def __len__(self) -> int:
        return len(self._like)


class _Room:
    """The memory of one block in fp32, per device, filled again for each block that computes."""

    def __init__(self, config: DecoderConfig, source: Source) -> None:
        self.lock = threading.Lock()  # a classifier may answer in several threads
        self._config = config
        self._source = source
        self._held: dict[tuple[str, torch.device], Tensor] = {}

    def block(self, number: int, device: torch.device) -> Block:
        """Return a block that computes until the next one is asked for."""
        with torch.device("meta"):
            block = Block(self._config, number)
        with torch.inference_mode(False), torch.no_grad():
            state = {name: self._filled(number, name, like, device) for name, like in block.state_dict().items()}
            block.load_state_dict(state, assign=True)
            block.eval().requires_grad_(False)
        if device.type == "cpu":
            for name, layer in list(block.named_children()):
                if isinstance(layer, nn.Linear):
                    setattr(block, name, fastest_linear(layer, copy=False))
        return block

    def _filled(self, number: int, name: str, like: Tensor, device: torch.device) -> Tensor:
        if (name, device) not in self._held:
            self._held[name, device] = torch.empty(like.shape, dtype=torch.float32, device=device)
        held = self._held[name, device]
        self._source.put(f"blocks.{number}.{name}", held)
        return held


class _MappedBlock(nn.Module):
    def __init__(self, number: int, room: _Room) -> None:
        super().__init__()
        self._number = number
        self._room = room

    def forward(self, x_TD: Tensor, packed: Packed) -> Tensor:
        with self._room.lock:
            out: Tensor = self._room.block(self._number, x_TD.device)(x_TD, packed)
        return out


class _MappedEmbedding(nn.Module):
    """A table in the file's own type; the rows asked for become fp32."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, ids_T: Tensor) -> Tensor:
        return functional.embedding(ids_T, self.weight).float()
