"""A GGUF header walked with every count and length checked against the file, before a library trusts it.

The reader of the ``gguf`` package loops as often as the file says: a header of 40 bytes can ask for 2**60 rounds.
Knows the layout of the header and nothing about what the fields mean.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

from tailtune.errors import ModelError

_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# GGUFValueType -> bytes of one value.
_SCALAR_BYTES: Mapping[int, int] = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MOST_DIMENSIONS = 4
# No quantisation packs a weight into less than one bit, so a file of n bytes holds at most 8 n of them.
_WEIGHTS_PER_BYTE = 8
# Characters of a name in an error.
_SHOWN = 80


def quantisations() -> Mapping[int, str]:
    """Return number -> name of every way to store weights that the ``gguf`` package has heard of."""
    from gguf import GGMLQuantizationType

    return {int(kind): kind.name for kind in GGMLQuantizationType}


def require_sane_header(path: Path) -> None:
    """Return when the header of ``path`` lies whole inside the file and asks for nothing beyond it.

    Args:
        path: A GGUF file, version 2 or 3, little-endian.

    Raises:
        ModelError: If it is no GGUF file, is cut short, or a count or length in it exceeds the file.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ModelError(f"{path}: not a GGUF file: it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Walk(data, path).header()


class _Walk:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data = data
        self.path = path
        self.kinds = quantisations()
        self.at = 0

    def header(self) -> None:
        if self.data[:4] != b"GGUF":
            raise ModelError(f"{self.path}: not a GGUF file: it begins with {self.data[:4]!r}")
        self.skip(4)
        version = self.number("<I")
        if version not in _VERSIONS:
            raise ModelError(f"{self.path}: GGUF version {version}; supported: {', '.join(map(str, _VERSIONS))}")
        tensors, fields = self.count(24, "tensors"), self.count(13, "fields")
        for _ in range(fields):
            self.skip(self.number("<Q"))
            self.value(self.number("<I"))
        for _ in range(tensors):
            self.tensor()

    def skip(self, count: int) -> None:
        if count > len(self.data) - self.at:
            raise ModelError(
                f"{self.path}: cut short or damaged: byte {self.at} asks for {count} more bytes, "
                f"the file has {len(self.data) - self.at}",
                hint="fetch it again",
            )
        self.at += count

    def number(self, layout: str) -> int:
        start = self.at
        self.skip(struct.calcsize(layout))
        return int(struct.unpack_from(layout, self.data, start)[0])

    def count(self, least_bytes: int, what: str) -> int:
        """A count of things of which each takes at least so many bytes, so that no loop outlives the file."""
        number = self.number("<Q")
        if number * least_bytes > len(self.data) - self.at:
            raise ModelError(f"{self.path}: damaged: {number} {what} do not fit into {len(self.data)} bytes")
        return number

    def text(self) -> str:
        """A string, as far as it can be shown in an error."""
        count = self.number("<Q")
        self.skip(count)
        return self.data[self.at - count : self.at].decode("utf-8", "replace")[:_SHOWN]

    def value(self, kind: int) -> None:
        if kind == _STRING:
            self.skip(self.number("<Q"))
        elif kind == _ARRAY:
            self.array(self.number("<I"))
        elif kind in _SCALAR_BYTES:
            self.skip(_SCALAR_BYTES[kind])
        else:
            raise ModelError(f"{self.path}: damaged: unknown kind of field {kind} at byte {self.at}")

    def array(self, kind: int) -> None:
        if kind in _SCALAR_BYTES:
            self.skip(_SCALAR_BYTES[kind] * self.count(_SCALAR_BYTES[kind], "values"))
        elif kind == _STRING:
            for _ in range(self.count(8, "strings")):
                self.skip(self.number("<Q"))
        else:
            raise ModelError(f"{self.path}: arrays of kind {kind} are not read (byte {self.at})")

    def tensor(self) -> None:
        name = self.text()
        dimensions = self.number("<I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise ModelError(f"{self.path}: damaged: a tensor of {dimensions} dimensions at byte {self.at}")
        weights = 1
        for _ in range(dimensions):
            weights *= self.number("<Q")
        kind = self.number("<I")
        if kind not in self.kinds:
            raise ModelError(
                f"{self.path}: {name} has quantisation number {kind}, which is not known; known: "
                f"{', '.join(sorted(self.kinds.values()))}"
            )
        offset = self.number("<Q")
        if weights > _WEIGHTS_PER_BYTE * len(self.data) or offset > len(self.data):
            raise ModelError(
                f"{self.path}: cut short or damaged: a tensor of {weights} weights at {offset}, "
                f"the file has {len(self.data)} bytes",
                hint="fetch it again",
            )
