"""The values of a GGUF file's tensors, a piece at a time, in the order of the reference library, checked to be numbers.

Dequantising is the ``gguf`` package's work. fp16 and bf16 stay what they are; everything else becomes fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ModelError
from tailtune.models.gguf.tensors import Part, Sizes, Values
from tailtune.models.safetensors_stream import Kind, Planned

# Weights that are dequantised at once: 64 MB of fp32, and the package's own copies of it.
_AT_ONCE = 1 << 24
# All bits of a bfloat16 exponent: with them it is infinite or no number.
_BF16_EXPONENT = np.uint16(0x7F80)
_HALVES: Mapping[str, Kind] = {"F16": "F16", "BF16": "BF16"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """A tensor on its way from a GGUF file to a safetensors file.

    Attributes:
        tensor: The package's.
        part: What it is.
        sizes: Of the decoder.
        source: The GGUF file, said in errors.
    """

    tensor: Any
    part: Part
    sizes: Sizes
    source: Path

    @property
    def kind(self) -> Kind:
        """How its values will be stored."""
        return "F32" if self.part.plus_one else _HALVES.get(self.tensor.tensor_type.name, "F32")

    def planned(self) -> Planned:
        """Return its place in the safetensors file.

        Raises:
            ModelError: If its shape is not the one that the metadata ask for.
        """
        expected = self.sizes.shape(self.part.shape)
        got = tuple(int(size) for size in reversed(self.tensor.shape))
        if got != expected:
            raise ModelError(
                f"{self.source}: {self.tensor.name} has shape {list(got)}, the metadata ask for {list(expected)}"
            )
        return Planned(name=self.part.name, kind=self.kind, shape=expected[::-1] if self.part.transposed else expected)

    def read(self) -> Iterator[Values]:
        """Yield its values in row order.

        Raises:
            ModelError: If one is infinite or no number.
        """
        part = self.part
        if part.rows is None and not part.transposed:
            yield from (self._checked(rows) for rows in self._pieces())
            return
        values = self._stored(self.tensor.data)
        if part.rows is not None:
            values = part.rows(values, self.sizes)
        yield self._checked(np.ascontiguousarray(values.T) if part.transposed else values)

    def _pieces(self) -> Iterator[Values]:
        data = self.tensor.data
        if data.ndim == 1:
            yield self._stored(data)
            return
        rows = max(1, _AT_ONCE // int(self.tensor.shape[0]))
        for start in range(0, data.shape[0], rows):
            yield self._stored(data[start : start + rows])

    def _stored(self, data: Values) -> Values:
        if self.kind == "F16":
            return np.ascontiguousarray(data)
        if self.kind == "BF16":
            return np.ascontiguousarray(data).view(np.uint16)
        values = dequantised(data, self.tensor.tensor_type)
        return values - np.float32(1) if self.part.plus_one else values

    def _checked(self, values: Values) -> Values:
        wrong = (values & _BF16_EXPONENT) == _BF16_EXPONENT if self.kind == "BF16" else ~np.isfinite(values)
        if wrong.any():
            raise ModelError(f"{self.source}: {self.tensor.name} holds NaN or infinite values")
        return values


def dequantised(data: Values, kind: Any) -> NDArray[np.float32]:
    """Return the fp32 values of whole rows.

    Args:
        data: As the ``gguf`` package's reader gives it.
        kind: A GGMLQuantizationType that can be dequantised.
    """
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):  # a scale that is no number is found in what comes out
        return np.ascontiguousarray(dequantize(data, kind), dtype=np.float32)


def require_readable(tensors: Mapping[str, Any], source: Path) -> None:
    """Return when the ``gguf`` package can dequantise every tensor.

    Raises:
        ModelError: It names the quantisation and a tensor that has it.
    """
    from gguf import GGML_QUANT_SIZES

    examples = {tensor.tensor_type: tensor.name for tensor in tensors.values()}
    for kind, name in examples.items():
        try:
            dequantised(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
        except NotImplementedError as error:
            raise ModelError(
                f"{source}: {name} is stored as {kind.name}, which cannot be dequantised",
                hint="take the F16, Q8_0 or Q4_K file of the same model",
            ) from error
