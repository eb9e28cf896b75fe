"""Files written tensor by tensor are those that the safetensors library writes of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tailtune.models.safetensors_stream import Kind, Planned, SafetensorsWriter, in_file_order

_KINDS: dict[Kind, torch.dtype] = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def _values(tensor: Tensor) -> NDArray[Any]:
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _pieces(tensor: Tensor, rows: int) -> Iterator[NDArray[Any]]:
    values = _values(tensor)
    return (values[start : start + rows] for start in range(0, len(values), rows))


@settings(max_examples=40, deadline=None)
@given(
    named=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(sorted(_KINDS)), st.lists(st.integers(1, 5), min_size=1, max_size=3)),
        min_size=1,
        max_size=6,
    ),
    rows=st.integers(1, 4),
)
def test_the_file_is_that_of_the_library(
    tmp_path_factory: pytest.TempPathFactory, named: dict[str, tuple[Kind, list[int]]], rows: int
) -> None:
    """Byte for byte, whatever the names, types and shapes, and wherever the values are cut."""
    from safetensors.torch import save

    tensors = {name: torch.randn(shape).to(_KINDS[kind]) for name, (kind, shape) in named.items()}
    plan = [Planned(name=name, kind=kind, shape=tuple(shape)) for name, (kind, shape) in named.items()]
    path = tmp_path_factory.mktemp("stream") / "model.safetensors"
    with SafetensorsWriter(path, plan, metadata={"format": "pt"}) as writer:
        for planned in in_file_order(plan):
            writer.write(planned.name, _pieces(tensors[planned.name], rows))
    assert path.read_bytes() == save(tensors, metadata={"format": "pt"})


def test_a_tensor_out_of_turn_or_of_another_size_is_refused(tmp_path: Path) -> None:
    """The header is written already: anything else would lie about what follows."""
    plan = [Planned(name=name, kind="F32", shape=(2,)) for name in ("a", "b")]
    with SafetensorsWriter(tmp_path / "x", plan) as writer:
        with pytest.raises(ValueError, match="expected a, got b"):
            writer.write("b", iter([np.zeros(2, np.float32)]))
        with pytest.raises(ValueError, match="expected 8 bytes, got 4"):
            writer.write("a", iter([np.zeros(1, np.float32)]))
