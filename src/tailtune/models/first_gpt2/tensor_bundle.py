"""The tensors of a TensorFlow checkpoint (format 2, "tensor bundle"), read without TensorFlow.

``NAME.index`` is a sorted table (LevelDB's) from tensor names to small protobuf records: type, shape, shard, place and
checksum; ``NAME.data-00000-of-00001`` and its like hold the values. Every count and length is checked against the file
before it is believed, and every block and tensor against its checksum. Knows nothing about what the names mean.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ModelError
from tailtune.models.first_gpt2.crc32c import masked_crc32c

# Of an index; GPT-2's has 5 kB, so that what is larger is no checkpoint of a language model.
_MOST_INDEX_BYTES = 1 << 26
_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # two handles of at most 20 bytes each, padded to 40, and the magic number
_TRAILER = 5  # of a block: how it is compressed, and the checksum
_UNCOMPRESSED = 0
_FLOAT = 1  # DataType.DT_FLOAT
_AGAIN = "copy or download it again"

# Field number -> values of that field, in order: whole numbers, or bytes.
Fields = Mapping[int, list[int | bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorRecord:
    """Where one tensor lies.

    Attributes:
        kind: TensorFlow's number of its type; 1 is fp32.
        shape: Sizes of its dimensions.
        shard: Number of the data file.
        offset: Bytes before it.
        size: Its bytes.
        checksum: Masked CRC-32C of its bytes.
        sliced: Whether it is saved in several parts under other names.
    """

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


class TensorBundle:
    """The tensors of one checkpoint, by name, read only when asked for.

    Args:
        prefix: The common beginning of its files, for example ``folder/model.ckpt``.

    Attributes:
        records: Name -> where it lies.

    Raises:
        ModelError: If the index is missing, damaged, or of a kind that is not read.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.index = prefix.with_name(f"{prefix.name}.index")
        records = dict(_Table(self.index).entries())
        header = _fields(records.pop(b"", b""), self.index)
        self._shards = _number(header, 1)
        if _number(header, 2):
            raise ModelError(f"{self.index}: written on a big-endian machine, which is not supported")
        self.records = {name.decode("utf-8", "backslashreplace"): self._record(v) for name, v in records.items()}

    def _record(self, value: bytes) -> TensorRecord:
        entry = _fields(value, self.index)
        dimensions = _fields(_octets(entry, 2), self.index).get(2, [])
        return TensorRecord(
            kind=_number(entry, 1),
            shape=tuple(_number(_fields(bytes(each), self.index), 1) for each in dimensions if isinstance(each, bytes)),
            shard=_number(entry, 3),
            offset=_number(entry, 4),
            size=_number(entry, 5),
            checksum=_number(entry, 6),
            sliced=7 in entry,
        )

    def read(self, name: str) -> NDArray[np.float32]:
        """Return one tensor, after comparing its bytes with their checksum.

        Args:
            name: One of ``records``.

        Raises:
            ModelError: If it is no fp32 tensor, its shard is missing or cut short, or its bytes are damaged.
        """
        record = self.records[name]
        if record.kind != _FLOAT or record.sliced:
            what = "is saved in slices" if record.sliced else f"has TensorFlow's type {record.kind}, expected 1 (fp32)"
            raise ModelError(f"{self.index}: {name} {what}, which is not supported")
        if record.size != 4 * math.prod(record.shape):
            raise ModelError(f"{self.index}: {name} of shape {list(record.shape)} has {record.size} bytes: damaged")
        path = self.prefix.with_name(f"{self.prefix.name}.data-{record.shard:05}-of-{self._shards:05}")
        if record.shard >= self._shards or not path.is_file():
            raise ModelError(f"{path}: is missing; {name} lies in it", hint=_AGAIN)
        if (held := path.stat().st_size) < record.offset + record.size:
            needed = record.offset + record.size
            raise ModelError(f"{path}: cut short: {held} bytes, {name} ends at {needed}", hint=_AGAIN)
        values = np.fromfile(path, dtype=np.dtype("<f4"), count=record.size // 4, offset=record.offset)
        if masked_crc32c(values.data.cast("B")) != record.checksum:
            raise ModelError(f"{path}: damaged: the bytes of {name} do not have their checksum", hint=_AGAIN)
        return values.astype(np.float32, copy=False).reshape(record.shape)


class _Table:
    """A sorted table: blocks of entries, a block that lists them, and a footer that says where that one is."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        size = path.stat().st_size
        if not _FOOTER <= size <= _MOST_INDEX_BYTES:
            raise ModelError(f"{path}: no index of a TensorFlow checkpoint: {size} bytes")
        self.path = path
        self.data = path.read_bytes()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in the order of keys."""
        footer = self.data[-_FOOTER:]
        if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
            raise ModelError(f"{self.path}: no index of a TensorFlow checkpoint, or cut short", hint=_AGAIN)
        handles = _Reader(footer[:-8], self.path)
        handles.varint(), handles.varint()  # of a block of statistics, which nobody writes
        for _, handle in self._block(handles.varint(), handles.varint()):
            place = _Reader(handle, self.path)
            yield from self._block(place.varint(), place.varint())

    def _block(self, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        whole = self.data[offset : offset + size + _TRAILER]
        if len(whole) != size + _TRAILER or size < 4:
            raise ModelError(f"{self.path}: damaged: a block of {size} bytes at {offset} is not in it", hint=_AGAIN)
        if masked_crc32c(whole[:-4]) != struct.unpack("<I", whole[-4:])[0]:
            raise ModelError(f"{self.path}: damaged: the block at {offset} does not have its checksum", hint=_AGAIN)
        if whole[size] != _UNCOMPRESSED:
            raise ModelError(f"{self.path}: its blocks are compressed, which is not supported")
        (restarts,) = struct.unpack("<I", whole[size - 4 : size])
        if 4 * restarts + 4 > size:
            raise ModelError(f"{self.path}: damaged: {restarts} restarts in a block of {size} bytes", hint=_AGAIN)
        reader = _Reader(whole[: size - 4 - 4 * restarts], self.path)
        key = b""
        while not reader.ended:
            # A key repeats the beginning of the one before it, of which so many bytes are kept.
            shared, own, length = reader.varint(), reader.varint(), reader.varint()
            key = key[:shared] + reader.take(own)
            yield key, reader.take(length)


class _Reader:
    """Bytes taken one piece after the other, never beyond their end."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0

    @property
    def ended(self) -> bool:
        return self.at == len(self.data)

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ModelError(f"{self.path}: damaged: a record asks for {count} bytes beyond its end", hint=_AGAIN)
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            (octet,) = self.take(1)
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                return value
        raise ModelError(f"{self.path}: damaged: a number of more than 64 bits", hint=_AGAIN)


def _fields(data: bytes, path: Path) -> Fields:
    """The fields of a protobuf message, by number."""
    reader, found = _Reader(data, path), dict[int, list[int | bytes]]()
    while not reader.ended:
        tag = reader.varint()
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value = reader.varint()
        elif kind in (1, 5):
            value = int.from_bytes(reader.take(8 if kind == 1 else 4), "little")
        elif kind == 2:
            value = reader.take(reader.varint())
        else:
            raise ModelError(f"{path}: damaged: a field of wire type {kind}", hint=_AGAIN)
        found.setdefault(tag >> 3, []).append(value)
    return found


def _number(fields: Fields, number: int) -> int:
    """The last number of that field; protobuf leaves out zeros."""
    return next((value for value in reversed(fields.get(number, [])) if isinstance(value, int)), 0)


def _octets(fields: Fields, number: int) -> bytes:
    return next((value for value in reversed(fields.get(number, [])) if isinstance(value, bytes)), b"")
