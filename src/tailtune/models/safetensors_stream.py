"""A safetensors file written tensor by tensor, so that a model need never be in memory whole.

The format puts names, shapes and places first and the values after them: all that is known before the first value is
read. Knows nothing about models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

Kind = Literal["F64", "F32", "BF16", "F16", "I8"]

# Bytes of a value. In this order the library writes tensors, the widest first: each then starts at a multiple of its
# own width without padding.
_WIDTHS: dict[Kind, int] = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I8": 1}
_ALIGNMENT = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A tensor to be written.

    Attributes:
        name: Of the tensor.
        kind: Of its values, as the format spells it.
        shape: Outermost dimension first.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of the values."""
        return math.prod(self.shape) * _WIDTHS[self.kind]


def in_file_order(tensors: Sequence[Planned]) -> list[Planned]:
    """Return ``tensors`` as they lie in a file: the widest values first, then by name."""
    kinds = list(_WIDTHS)
    return sorted(tensors, key=lambda tensor: (kinds.index(tensor.kind), tensor.name))


class SafetensorsWriter:
    """Writes ``tensors`` into a new file, in the order of ``in_file_order``; to be closed by ``with``.

    Args:
        path: The file.
        tensors: All that it will hold.
        metadata: Strings told in its header.
    """

    def __init__(self, path: Path, tensors: Sequence[Planned], *, metadata: Mapping[str, str] | None = None) -> None:
        self._waiting = in_file_order(tensors)
        self._file = path.open("wb")
        self._file.write(_header(self._waiting, metadata))

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, name: str, parts: Iterator[NDArray[Any]]) -> None:
        """Write the next tensor.

        Args:
            name: Of the tensor whose turn it is.
            parts: Its values in row order, cut anywhere; BF16 as uint16 bit patterns.

        Raises:
            ValueError: If it is another one's turn, or the values are more or fewer than planned.
        """
        planned = self._waiting[0]
        if planned.name != name:
            raise ValueError(f"expected {planned.name}, got {name}")
        del self._waiting[0]
        written = 0
        for part in parts:
            written += self._file.write(part.data.cast("B"))
        if written != planned.bytes:
            raise ValueError(f"{name}: expected {planned.bytes} bytes, got {written}")


def _header(tensors: Sequence[Planned], metadata: Mapping[str, str] | None) -> bytes:
    told: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    start = 0
    for tensor in tensors:
        end = start + tensor.bytes
        told[tensor.name] = {"dtype": tensor.kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
