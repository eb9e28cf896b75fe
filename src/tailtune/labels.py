"""Label names and their numbers, in an order that is recorded. Knows nothing about texts or models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError, ConfigError, DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSet:
    """The classes of a classifier.

    Attributes:
        names: Label names; a label's id is its position.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError(f"label names must be distinct and at least one, got {list(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, labels: Iterable[str]) -> Self:
        """Return the set of the distinct names in ``labels``, integers in numeric order before the others."""
        return cls(names=order_labels(labels))

    def ids(self, labels: Iterable[str]) -> NDArray[np.int64]:
        """Return int64[rows]: the id of each label.

        Raises:
            DataError: If a label is none of the names; it lists those there are.
        """
        numbers = {name: number for number, name in enumerate(self.names)}
        try:
            return np.fromiter((numbers[label] for label in labels), dtype=np.int64)
        except KeyError as error:
            known = ", ".join(map(repr, self.names[:20])) + (" …" if len(self.names) > 20 else "")
            raise DataError(f"unknown label {error.args[0]!r}; the classifier knows {known}") from None

    def name(self, number: int) -> str:
        """Return the name of label ``number``.

        Raises:
            ConfigError: If there is no such id.
        """
        if not 0 <= number < len(self.names):
            raise ConfigError(f"no label {number}: ids run from 0 to {len(self.names) - 1}")
        return self.names[number]

    def to_json(self) -> dict[str, dict[str, str]]:
        """Return ``{"id2label": {"0": name, …}}``, the form Hugging Face configurations use."""
        return {"id2label": {str(number): name for number, name in enumerate(self.names)}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the set that ``to_json`` wrote; the order of the JSON keys does not matter.

        Raises:
            BundleError: If ids are not 0, 1, 2 …, names are not strings, or two are the same.
        """
        table = value.get("id2label")
        if not isinstance(table, dict) or not table:
            raise BundleError("id2label is missing or empty")
        names = tuple(table.get(str(number)) for number in range(len(table)))
        kept = tuple(name for name in names if isinstance(name, str))
        if len(kept) != len(table) or len(set(kept)) != len(kept):
            raise BundleError(f"id2label must give ids 0 to {len(table) - 1} distinct names, got {table}")
        return cls(names=kept)


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names in ``labels``: integer-like ones numerically, then the rest in code-point order."""

    def key(name: str) -> tuple[int, int, str]:
        return (0, int(name), name) if _is_integer(name) else (1, 0, name)

    return tuple(sorted(set(labels), key=key))


def _is_integer(name: str) -> bool:
    # 18 digits fit any integer of the field; int() itself refuses more than 4,300.
    return re.fullmatch(r"-?[0-9]{1,18}", name) is not None
