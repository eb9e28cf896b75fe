"""The checksum equals its published values, and the definition bit by bit at every length around a lane's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.models.first_gpt2.crc32c import crc32c, masked_crc32c


def _by_definition(data: bytes) -> int:
    register = 0xFFFFFFFF
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    """The examples of the standard."""
    assert crc32c(data) == expected


@given(length=st.integers(0, 5000), seed=st.integers(0, 9))
def test_equals_the_definition(length: int, seed: int) -> None:
    """Whatever the number of lanes and the bytes left over."""
    data = np.random.default_rng(seed).bytes(length)
    assert crc32c(data) == _by_definition(data)


def test_many_lanes() -> None:
    """Hundreds of lanes, and the same from a place in memory that is no multiple of four."""
    data = np.random.default_rng(0).bytes(200_077)
    assert crc32c(data) == crc32c(memoryview(b"x" + data)[1:]) == _by_definition(data)


def test_masked() -> None:
    """The rule of TensorFlow's own comment: rotated right by 15 bits, then the constant added."""
    found = _by_definition(b"foo")
    rotated = (found >> 15 | found << 17) & 0xFFFFFFFF
    assert masked_crc32c(b"foo") == (rotated + 0xA282EAD8) & 0xFFFFFFFF != found
