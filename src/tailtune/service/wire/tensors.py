"""Tensors of the Open Inference Protocol, as JSON and as bytes: Triton's binary tensor data extension.

Bytes lie behind the JSON, those of each tensor in the order in which the JSON names them, little-endian and row by row;
an element of a BYTES tensor is its length in four bytes and then itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.service.refusals import Refused
from tailtune.service.wire.reading import decode

_LENGTH = struct.Struct("<I")


def fill_inputs(value: Any, content: bytes) -> None:
    """Put the elements of binary inputs where the JSON would have them, under ``data``.

    What is no tensor is left for the validation to find.

    Args:
        value: A request, parsed.
        content: What lies behind its JSON.

    Raises:
        Refused: If the sizes do not fit, or a text is no UTF-8.
    """
    start = 0
    for tensor in _binary(value):
        size = tensor["parameters"]["binary_data_size"]
        if not isinstance(size, int) or not 0 <= size <= len(content) - start:
            raise Refused("invalid", "inputs: binary_data_size is more than there are bytes behind the JSON")
        tensor["data"] = list(elements(content[start : start + size]))
        start += size
    if start < len(content):
        raise Refused("invalid", f"{len(content) - start} bytes behind the JSON belong to no input")


def _binary(value: Any) -> Iterator[dict[str, Any]]:
    """The inputs that say how many bytes they have."""
    inputs = value.get("inputs") if isinstance(value, dict) else None
    for tensor in inputs if isinstance(inputs, list) else []:
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        if isinstance(parameters, dict) and "binary_data_size" in parameters:
            yield tensor


def elements(content: bytes) -> Iterator[str]:
    """Yield the texts of a BYTES tensor.

    Raises:
        Refused: If a length does not fit, or a text is no UTF-8.
    """
    start = 0
    while start < len(content):
        if len(content) - start < _LENGTH.size:
            raise Refused("invalid", "inputs: a BYTES tensor ends within the length of an element")
        (size,) = _LENGTH.unpack_from(content, start)
        start += _LENGTH.size
        if size > len(content) - start:
            raise Refused("invalid", "inputs: a BYTES tensor ends within an element")
        yield decode(content[start : start + size])
        start += size


def packed(texts: Sequence[str]) -> bytes:
    """Return a BYTES tensor of texts."""
    encoded = [text.encode() for text in texts]
    return b"".join(_LENGTH.pack(len(each)) + each for each in encoded)


def packed_floats(rows: NDArray[np.float32]) -> bytes:
    """Return an FP32 tensor."""
    return rows.astype("<f4").tobytes()
