"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, at memory speed with numpy alone.

The bytes are cut into lanes of equal length whose registers advance side by side, four bytes at a step through two
tables; registers are linear over GF(2), so that lanes join as if they had been read one after the other.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Registers = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # reflected
_ONES = 0xFFFFFFFF
# 4,096 registers and the words they meet stay in a second-level cache; more lanes are no faster.
_MOST_LANES = 4096
_LEAST_WORDS = 64  # of a lane


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of ``data``.

    Args:
        data: Any number of bytes.
    """
    octets = np.frombuffer(data, dtype=np.uint8)
    register = _ONES
    words = len(octets) // 4
    lanes = min(_MOST_LANES, 1 << max(0, (words // _LEAST_WORDS).bit_length() - 1))
    length = words // lanes
    if length >= _LEAST_WORDS:
        table = octets[: 4 * lanes * length].view(np.dtype("<u4")).reshape(lanes, length)
        register = _join(_advance(table, register), 4 * length)
        octets = octets[4 * lanes * length :]
    byte_table = _byte_table().tolist()
    for octet in octets.tolist():
        register = byte_table[(register ^ octet) & 0xFF] ^ register >> 8
    return register ^ _ONES


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of ``data`` as TensorFlow stores it: turned by 15 bits and shifted by a constant.

    Args:
        data: Any number of bytes.
    """
    found = crc32c(data)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & _ONES


@functools.cache
def _byte_table() -> Registers:
    """[256] the register after eight more bits, by its lowest byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


def _after_zero(registers: Registers) -> Registers:
    """The registers after a byte of zeros."""
    after: Registers = _byte_table()[registers & 0xFF] ^ registers >> 8
    return after


@functools.cache
def _word_tables() -> tuple[Registers, Registers]:
    """[65536] twice: the register after four bytes, by its lower and by its upper half."""
    upper = _after_zero(_after_zero(np.arange(1 << 16, dtype=np.uint32)))
    return _after_zero(_after_zero(upper)), upper


def _advance(words: NDArray[np.uint32], first: int) -> Registers:
    """[lanes] each lane's register after its words; the first starts from ``first``, the others from 0."""
    lower, upper = _word_tables()
    registers = np.zeros(len(words), dtype=np.uint32)
    registers[0] = first
    for column in words.T:
        mixed = registers ^ column
        registers = lower[mixed & 0xFFFF] ^ upper[mixed >> 16]
    return registers


def _join(registers: Registers, length: int) -> int:
    """The register after all lanes: pairs of neighbours become one, of twice the length, until one is left.

    Args:
        registers: [lanes], a power of two.
        length: Bytes of a lane.
    """
    step = _zeros(length)
    while len(registers) > 1:
        registers = _apply(step, registers[::2]) ^ registers[1::2]
        step = _apply(step, step)
    return int(registers[0])


def _zeros(count: int) -> Registers:
    """[32] what ``count`` bytes of zeros make of each single bit of a register."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    done, step = bits, _after_zero(bits)
    while count:
        if count & 1:
            done = _apply(step, done)
        step = _apply(step, step)
        count >>= 1
    return done


def _apply(step: Registers, registers: Registers) -> Registers:
    """The registers after a linear step, given as what it makes of each single bit."""
    out = np.zeros_like(registers)
    for bit in range(32):
        out ^= np.where(registers >> np.uint32(bit) & 1, step[bit], np.uint32(0)).astype(np.uint32)
    return out
