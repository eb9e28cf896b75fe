"""Label names and their numbers, in an order that is recorded. Knows nothing about texts or models.

A text has one label of a set, or any number of them; which of the two is a property of the set, written as Hugging Face
configurations write it (``problem_type``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError, ConfigError, DataError

# The two problems, in the words of Hugging Face configurations.
ONE, SEVERAL = "single_label_classification", "multi_label_classification"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSet:
    """The classes of a classifier.

    Attributes:
        names: Label names; a label's id is its position.
        several: Whether a text can have any number of them, none included.
        separator: Between the parts of names that are paths, see ``tailtune.label_levels``; empty where they are none.
    """

    names: tuple[str, ...]
    several: bool = False
    separator: str = ""

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError(f"label names must be distinct and at least one, got {list(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, labels: Iterable[str]) -> Self:
        """Return the set of the distinct names in ``labels``, integers in numeric order before the others."""
        return cls(names=order_labels(labels))

    @classmethod
    def over(cls, sets: Iterable[Iterable[str]]) -> Self:
        """Return the set of the distinct names in ``sets``, of which a text can have any number."""
        return cls(names=order_labels(name for names in sets for name in names), several=True)

    def ids(self, labels: Iterable[str]) -> NDArray[np.int64]:
        """Return int64[rows]: the id of each label.

        Raises:
            DataError: If a label is none of the names; it lists those there are.
        """
        numbers = self._numbers()
        try:
            return np.fromiter((numbers[label] for label in labels), dtype=np.int64)
        except KeyError as error:
            raise self._unknown(error) from None

    def matrix(self, sets: Sequence[Iterable[str]]) -> NDArray[np.int64]:
        """Return int64[rows, L]: 1 where the row has the label, else 0.

        Raises:
            DataError: If a label is none of the names; it lists those there are.
        """
        numbers = self._numbers()
        found = np.zeros((len(sets), len(self.names)), dtype=np.int64)
        try:
            for row, names in enumerate(sets):
                found[row, [numbers[name] for name in names]] = 1
        except KeyError as error:
            raise self._unknown(error) from None
        return found

    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def _unknown(self, error: KeyError) -> DataError:
        known = ", ".join(map(repr, self.names[:20])) + (" …" if len(self.names) > 20 else "")
        return DataError(f"unknown label {error.args[0]!r}; the classifier knows {known}")

    def name(self, number: int) -> str:
        """Return the name of label ``number``.

        Raises:
            ConfigError: If there is no such id.
        """
        if not 0 <= number < len(self.names):
            raise ConfigError(f"no label {number}: ids run from 0 to {len(self.names) - 1}")
        return self.names[number]

    def to_json(self) -> dict[str, Any]:
        """Return ``{"id2label": {"0": name, …}}``, with ``problem_type`` and ``label_levels`` where needed."""
        names: dict[str, Any] = {"id2label": {str(number): name for number, name in enumerate(self.names)}}
        paths = {"label_levels": self.separator} if self.separator else {}
        return {**names, **({"problem_type": SEVERAL} if self.several else {}), **paths}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the set that ``to_json`` wrote; the order of the JSON keys does not matter.

        Raises:
            BundleError: If ids are not 0, 1, 2 …, names are no strings, two are the same, or the rest is not known.
        """
        problem = value.get("problem_type", ONE)
        if problem not in (ONE, SEVERAL):
            raise BundleError(f"problem_type {problem!r} is not known", hint="install a newer tailtune")
        table = value.get("id2label")
        if not isinstance(table, dict) or not table:
            raise BundleError("id2label is missing or empty")
        names = tuple(table.get(str(number)) for number in range(len(table)))
        kept = tuple(name for name in names if isinstance(name, str))
        if len(kept) != len(table) or len(set(kept)) != len(kept):
            raise BundleError(f"id2label must give ids 0 to {len(table) - 1} distinct names, got {table}")
        separator = value.get("label_levels", "")
        if not isinstance(separator, str):
            raise BundleError(f"label_levels must be a text, got {separator!r}")
        return cls(names=kept, several=problem == SEVERAL, separator=separator)


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names in ``labels``: integer-like ones numerically, then the rest in code-point order."""

    def key(name: str) -> tuple[int, int, str]:
        return (0, int(name), name) if _is_integer(name) else (1, 0, name)

    return tuple(sorted(set(labels), key=key))


def _is_integer(name: str) -> bool:
    # 18 digits fit any integer of the field; int() itself refuses more than 4,300.
    return re.fullmatch(r"-?[0-9]{1,18}", name) is not None
