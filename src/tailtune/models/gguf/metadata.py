"""What a GGUF file says about itself: its fields by key, each of the type that is asked for, and its tensors.

Reading is the ``gguf`` package's work. Knows nothing about what the fields mean.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

from tailtune.errors import ModelError
from tailtune.models.gguf.header import require_sane_header

T = TypeVar("T")
K = TypeVar("K")

_MAGIC = b"GGUF"
_WORDS: dict[type, str] = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class Metadata:
    """The fields of a GGUF file. Every reader takes a default; without one the field must be there.

    Args:
        reader: The package's.
        source: The file, said in errors.

    Attributes:
        source: As given.
    """

    def __init__(self, reader: Any, source: Path) -> None:
        self._reader = reader
        self.source = source

    def text(self, key: str, *default: T) -> str | T:
        """Return a string."""
        return self._one(key, str, default)

    def whole(self, key: str, *default: T) -> int | T:
        """Return a whole number; a list of one and the same, as some converters write for each block, counts as it."""
        return self._one(key, int, default)

    def real(self, key: str, *default: T) -> float | T:
        """Return a finite number."""
        value = self._one(key, float, default)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._unexpected(key, value, "a finite number")
        return value

    def flag(self, key: str, *default: T) -> bool | T:
        """Return true or false."""
        return self._one(key, bool, default)

    def texts(self, key: str, *default: T) -> list[str] | T:
        """Return a list of strings."""
        return self._list(key, str, default)

    def wholes(self, key: str, *default: T) -> list[int] | T:
        """Return a list of whole numbers; true and false count as 1 and 0."""
        return self._list(key, int, default)

    def reals(self, key: str, *default: T) -> list[float] | T:
        """Return a list of numbers."""
        return self._list(key, float, default)

    def has(self, key: str) -> bool:
        """Say whether there is such a field."""
        return self._reader.get_field(key) is not None

    def is_list(self, key: str) -> bool:
        """Say whether the field is there and is a list."""
        return self.has(key) and isinstance(self._value(key), list)

    def _value(self, key: str) -> Any:
        try:
            return self._reader.get_field(key).contents()
        except (UnicodeDecodeError, ValueError, IndexError) as error:
            raise ModelError(f"{self.source}: damaged: {key} cannot be read: {error}") from error

    def _one(self, key: str, kind: type[K], default: tuple[T, ...]) -> K | T:
        if not self.has(key):
            return self._absent(key, default)
        value = self._value(key)
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self._unexpected(key, value, _WORDS[kind])
        return value

    def _list(self, key: str, kind: type[K], default: tuple[T, ...]) -> list[K] | T:
        if not self.has(key):
            return self._absent(key, default)
        value = self._value(key)
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise self._unexpected(key, value, f"a list, each {_WORDS[kind]}")
        return value

    def _absent(self, key: str, default: tuple[T, ...]) -> T:
        if default:
            return default[0]
        raise ModelError(f"{self.source}: has no metadata {key!r}")

    def _unexpected(self, key: str, value: object, expected: str) -> ModelError:
        return ModelError(f"{self.source}: {key} is {_short(value)}, expected {expected}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def is_gguf(path: Path) -> bool:
    """Say whether ``path`` is a file that begins as GGUF files do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_gguf(source: Path) -> tuple[Metadata, dict[str, Any]]:
    """Return the fields and the tensors, by name, of a GGUF file; the values stay on the disk until they are read.

    Raises:
        ModelError: If it is no whole GGUF file, or one part of several.
    """
    from gguf import GGUFReader

    require_sane_header(source)
    try:
        reader = GGUFReader(source)
    except (ValueError, IndexError, KeyError, OSError, OverflowError) as error:
        raise ModelError(f"{source}: not a whole GGUF file: {error}", hint="download it again") from error
    metadata = Metadata(reader, source)
    parts = metadata.whole("split.count", 1)
    if parts > 1:
        raise ModelError(
            f"{source}: one of {parts} parts of a model", hint="join them: llama-gguf-split --merge FIRST-PART OUT.gguf"
        )
    return metadata, {tensor.name: tensor for tensor in reader.tensors}
