"""What people say of each class: shares, costs, weights; read from a flag or a small file, checked against the labels.

Knows nothing about models, or how the values are used.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.errors import ConfigError
from tailtune.labels import LabelSet
from tailtune.rules import Doubles, Indices

CostTable = tuple[tuple[float, ...], ...]
# Of a class, and its inverse the largest: their ratio is then far inside fp32, where a tail computes.
SMALLEST_WEIGHT = 1e-6


def class_id(name: str, labels: LabelSet, where: str) -> int:
    """Return the id of the class ``name``.

    Raises:
        ConfigError: If there is none; it says ``where`` the name stood.
    """
    if name not in labels.names:
        known = ", ".join(map(repr, labels.names[:20]))
        raise ConfigError(f"{where}: {name!r} is no class", hint=f"the classes are {known}")
    return labels.names.index(name)


def parse_prevalence(text: str, labels: LabelSet, counts: Mapping[str, int]) -> tuple[float, ...]:
    """Return [C] class shares: those given, the rest to the other classes in proportion to ``counts``.

    Args:
        text: "data", or shares such as spam=0.134,news=0.2.
        labels: The classes.
        counts: Class -> rows of the data before balancing.

    Raises:
        ConfigError: If it cannot be read, a name is no class, or a class is left without a share.
    """
    rows = np.array([counts.get(name, 0) for name in labels.names], dtype=np.float64)
    if text == "data":
        return tuple(shares_of(rows).tolist())
    given: dict[int, float] = {}
    for part in text.split(","):
        name, _, share = part.rpartition("=")
        try:
            given[class_id(name.strip(), labels, "--prevalence")] = float(share)
        except ValueError:
            raise ConfigError(f"--prevalence {part!r} is no share", hint="write it as spam=0.134") from None
    others = [number for number in range(len(labels)) if number not in given]
    left = 1 - sum(given.values())
    possible = all(share > 0 for share in given.values()) and (left > 0 if others else abs(left) < 1e-6)
    if not possible:
        raise ConfigError(f"--prevalence {text}: shares must be above 0 and leave some for the classes not named")
    shares = np.zeros(len(labels))
    shares[list(given)] = list(given.values())
    shares[others] = left * rows[others] / rows[others].sum()
    return tuple(shares.tolist())


def read_costs(path: Path, labels: LabelSet) -> CostTable:
    """Return [C][C] costs, true class by the class it is called; pairs not named cost 0 when right, else 1.

    Args:
        path: TOML with a table per true class (``[ham]`` and ``spam = 10``), or CSV with the columns true, predicted,
            cost.
        labels: The classes.

    Raises:
        ConfigError: If it cannot be read, names something else than a class, or a cost is no number.
    """
    costs = 1 - np.eye(len(labels))
    for true, predicted, cost in _rows(path, "--costs", ("true", "predicted", "cost"), _COSTS_HINT):
        pair = class_id(true, labels, f"--costs {path}"), class_id(predicted, labels, f"--costs {path}")
        try:
            costs[pair] = float(cost)
        except (TypeError, ValueError):
            raise ConfigError(f"--costs {path}: {cost!r} is no cost of {true!r} called {predicted!r}") from None
    if not np.isfinite(costs).all():
        raise ConfigError(f"--costs {path}: costs must be finite")
    return tuple(tuple(row) for row in costs.tolist())


def read_weights(path: Path, labels: LabelSet) -> tuple[float, ...]:
    """Return [C] weights of the classes in training, as they are written.

    Args:
        path: TOML with lines such as spam = 5.0, or CSV with the columns class, weight; every class once.
        labels: The classes.

    Raises:
        ConfigError: If it cannot be read, names something else than a class, leaves one out or names it twice, or a
            weight is no number from SMALLEST_WEIGHT to its inverse.
    """
    where = f"--class-weights {path}"
    found: dict[int, float] = {}
    for name, weight in _rows(path, "--class-weights", ("class", "weight"), _WEIGHTS_HINT):
        number = class_id(name, labels, where)
        if number in found:
            raise ConfigError(f"{where}: two weights for {name!r}")
        found[number] = _weight(weight, f"{where}: {weight!r} is no weight for {name!r}")
    if lacking := [repr(name) for number, name in enumerate(labels.names) if number not in found]:
        raise ConfigError(f"{where}: no weight for {', '.join(lacking[:20])}", hint="give every class one")
    return tuple(found[number] for number in range(len(labels)))


def _weight(value: Any, refusal: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not SMALLEST_WEIGHT <= number <= 1 / SMALLEST_WEIGHT:
        raise ConfigError(refusal, hint=f"expected {SMALLEST_WEIGHT:g} to {1 / SMALLEST_WEIGHT:g}")
    return number


def class_weights(asked: str | None, labels: LabelSet, trained: Indices) -> Doubles | None:
    """Return [C] weights of the classes in training, 1 on average over its rows; None where none were asked for.

    Only their ratios matter to the loss; the average keeps the strength of a penalty what it is without them.

    Args:
        asked: "auto" for N / (C n), N rows of which n are of the class, so that all classes weigh the same; a file for
            ``read_weights``; None or "none".
        labels: The C classes.
        trained: [N] class ids of the training rows.

    Raises:
        ConfigError: As ``read_weights``.
    """
    if asked in (None, "none"):
        return None
    rows = np.bincount(trained, minlength=len(labels))
    given = 1 / np.maximum(rows, 1) if asked == "auto" else np.array(read_weights(Path(asked), labels))
    return np.asarray(given * rows.sum() / (given * rows).sum())


_WEIGHTS_HINT = "TOML lines like spam = 5.0, or CSV with the columns class, weight"
_COSTS_HINT = "TOML tables like [ham] with spam = 10, or CSV with the columns true, predicted, cost"


def _rows(path: Path, flag: str, columns: tuple[str, ...], hint: str) -> list[tuple[Any, ...]]:
    """The rows of a CSV file with ``columns``, or of TOML tables, one inside the other down to the last column."""
    try:
        if path.suffix.casefold() == ".toml":
            return list(_leaves(tomllib.loads(path.read_text(encoding="utf-8")), len(columns) - 1))
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError, KeyError, csv.Error) as error:
        what = f"{columns[-1]}s"
        raise ConfigError(f"{flag} {path}: cannot be read as {what}: {error}", hint=hint) from error


def _leaves(value: Any, levels: int) -> Iterator[tuple[Any, ...]]:
    if not levels:
        yield (value,)
        return
    for name, inner in value.items():
        yield from ((name, *rest) for rest in _leaves(inner, levels - 1))


def shares_of(rows: Indices | Doubles) -> Doubles:
    """Return [C] shares of ``rows`` [C], half a row added to each class so that none is 0."""
    return np.asarray((rows + 0.5) / (rows + 0.5).sum())
