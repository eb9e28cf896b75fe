"""Folders of safetensors read through the system's page cache, and a writer that needs no more than one tensor.

A tensor that is read is a view of the mapped file: its pages are the system's to drop and to read again, and nothing is
copied until something computes with it.
"""

from __future__ import annotations

import json
import mmap
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tailtune.errors import ModelError, setup_error
from tailtune.models.safetensors_stream import Kind, Planned, SafetensorsWriter, in_file_order
from tailtune.models.sources.entries import INDEX
from tailtune.models.sources.folders import weight_map

_SUFFIX = ".safetensors"

# How norms were called in files converted from the first TensorFlow checkpoints of BERT.
_OLD_NORM_NAMES = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))

_FLOATS = ("F64", "F32", "F16", "BF16")
_QUANTISED = ("F8", "F6", "F4", "I8", "U8", "I4", "U4")
_LARGEST = torch.finfo(torch.float32).max

# What the format calls the types that are written.
_KINDS: dict[torch.dtype, Kind] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int8: "I8",
}
_TYPES = {name: kind for kind, name in _KINDS.items()}
# From mman.h; Python knows it from 3.13 on.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0
# Values converted and written at once: 16 MB of fp32.
_PIECE = 2**22


class TensorFile:
    """The tensors of one safetensors file, mapped.

    Pages that someone writes to become this process's own, so the file never changes. No memory is reserved for that:
    the library's own mapping does, and so is refused where the file is larger than the memory.

    Args:
        path: The file.

    Raises:
        SafetensorError: If it is damaged.
        OSError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="np"):
            pass  # the library has looked: sizes fit, nothing overlaps
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self._head: dict[str, Any] = json.loads(file.read(size))
            self._head.pop("__metadata__", None)
            flags = mmap.MAP_PRIVATE | _NO_RESERVE
            mapping = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._whole = torch.frombuffer(mapping, dtype=torch.uint8)
        self._start = 8 + size

    def names(self) -> list[str]:
        """Return the names of all tensors."""
        return list(self._head)

    def kind(self, name: str) -> str:
        """Return what the format calls the type of a tensor."""
        return str(self._head[name]["dtype"])

    def tensor(self, name: str) -> Tensor:
        """Return a tensor, a view of the file.

        Raises:
            KeyError: If its type is none that is written here.
        """
        described = self._head[name]
        kind = _TYPES[described["dtype"]]
        start, end = (self._start + offset for offset in described["data_offsets"])
        content = self._whole[start:end]
        if start % kind.itemsize:  # old files have heads of any length
            content = content.clone()
        return content.view(kind).view(described["shape"])


class SafetensorsFolder:
    """The tensors of a folder of safetensors files, by name.

    With an index (model.safetensors.index.json) a file is opened when one of its tensors is first asked for, and may be
    absent until then; without one, the heads of all files are read at once.

    Args:
        folder: Holds the files.

    Attributes:
        folder: As given.
        files: Those of the model that are there, in the order of their names.

    Raises:
        ModelError: If there is no file, the index is damaged, a file is, or two files hold a tensor of the same name.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(folder.glob(f"*{_SUFFIX}"))
        if not found:
            raise ModelError(
                f"{folder}: no *.safetensors file",
                hint="pickled weights (.bin, .pth) are not read: they can run code; convert them to safetensors",
            )
        self.folder = folder
        self._opened: dict[Path, TensorFile] = {}
        self._where: dict[str, tuple[Path, str]] = {}
        index = folder / INDEX
        if index.is_file():
            listed = weight_map(index)
            self._where = {_today(name): (folder / file, name) for name, file in listed.items()}
            self._shards = sorted({file for file, _ in self._where.values()})
            self.files = [file for file in self._shards if file.is_file()]
        else:
            self.files = self._shards = found
            for file in found:
                self._open(file)

    def names(self) -> set[str]:
        """Return the names of all tensors."""
        return set(self._where)

    def require(self, names: Iterable[str]) -> None:
        """Open the files of these tensors.

        Args:
            names: Known.

        Raises:
            ModelError: If a file is missing or damaged, or does not hold what the index says.
        """
        needed = sorted({self._where[name][0] for name in names})
        absent = [file.name for file in needed if not file.is_file()]
        if absent:
            raise ModelError(
                f"{self.folder}: {len(absent)} of {len(self._shards)} shards are missing: {', '.join(absent)}",
                hint="download them again",
            )
        for file in needed:
            self._open(file)

    def file(self, name: str) -> Path:
        """Return the file that holds the tensor ``name``."""
        return self._where[name][0]

    def read(self, name: str) -> Tensor:
        """Return one tensor as the file holds it: a view of the mapped file, of its type.

        Raises:
            ModelError: If the file is damaged, or the tensor is none of F64, F32, F16 and BF16.
        """
        file, stored = self._where[name]
        opened = self._open(file)
        if (kind := opened.kind(stored)) not in _FLOATS:
            raise _refusal(file, stored, kind)
        return opened.tensor(stored)

    def require_finite(self, name: str) -> None:
        """Look at every value of a tensor, which takes no memory.

        Raises:
            ModelError: If one is NaN or infinite, or would be in fp32.
        """
        low, high = (float(end) for end in self.read(name).aminmax())
        if not (low >= -_LARGEST and high <= _LARGEST):  # NaN is neither
            raise ModelError(f"{self.file(name)}: {name} holds NaN or infinite values")

    def _open(self, file: Path) -> TensorFile:
        if file in self._opened:
            return self._opened[file]
        try:
            opened = TensorFile(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: not a whole safetensors file: {error}", hint="download it again") from error
        names = {_today(name): name for name in opened.names()}
        for name, stored in names.items():
            if (other := self._where.get(name, (file, ""))[0]) != file:
                also = f"in {other.name} too" if other in self._opened else f"{INDEX} looks for it in {other.name}"
                raise ModelError(f"{self.folder}: {stored} is in {file.name}, and {also}")
        listed = [name for name, (place, _) in self._where.items() if place == file and name not in names]
        if listed:
            raise ModelError(f"{file}: does not hold {listed[0]}, which {INDEX} looks for there")
        self._where |= {name: (file, stored) for name, stored in names.items()}
        self._opened[file] = opened
        return opened


def _refusal(file: Path, name: str, kind: str) -> ModelError:
    if kind.startswith(_QUANTISED):
        return ModelError(
            f"{file}: {name} holds quantised weights ({kind}), which are not read",
            hint="use the unquantised model, or its GGUF file",
        )
    return ModelError(f"{file}: {name} holds {kind} values, expected one of {', '.join(_FLOATS)}")


def _today(name: str) -> str:
    for old, new in _OLD_NORM_NAMES:
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, like: Mapping[str, Tensor] | None = None) -> None:
    """Write a safetensors file, byte for byte what the library writes, asking for one tensor after the other.

    Args:
        path: Is replaced.
        tensors: By name; may be read only when asked for.
        like: Their shapes and the types in which they are written, on any device; default: their own.

    Raises:
        SetupError: If it cannot be written.
    """
    like = tensors if like is None else like
    planned = [Planned(name=name, kind=_KINDS[one.dtype], shape=tuple(one.shape)) for name, one in like.items()]
    try:
        with SafetensorsWriter(path, planned) as writer:
            for tensor in in_file_order(planned):
                writer.write(tensor.name, _pieces(tensors[tensor.name], like[tensor.name].dtype))
    except OSError as error:
        raise setup_error(error, f"writing {path}") from error


def _pieces(tensor: Tensor, kind: torch.dtype) -> Iterator[NDArray[np.uint8]]:
    for piece in torch.split(tensor.detach().flatten(), _PIECE):
        yield piece.to("cpu", kind).contiguous().view(torch.uint8).numpy()
