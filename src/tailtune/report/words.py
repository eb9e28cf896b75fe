"""Numbers and texts of metrics.json as people write them. Escapes nothing: each kind of page has its own markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Metrics = Mapping[str, Any]

ABSENT = "-"

# Control characters, line separators, lone surrogates (not UTF-8) and marks that turn the direction of writing.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]+")


def one_line(text: object) -> str:
    """Return ``text`` on one line, without what cannot be printed."""
    return " ".join(UNPRINTABLE.sub(" ", str(text)).split())


def part(metrics: Metrics, *keys: str) -> Metrics:
    """Return the mapping at ``keys``, one inside the other, an empty one where there is none."""
    for key in keys:
        inner = metrics.get(key)
        metrics = inner if isinstance(inner, Mapping) else {}
    return metrics


def parts_of(metrics: Metrics) -> str:
    """Return the classifiers that answer together, or the one without a language model; empty for a language model."""
    return one_line(part(metrics, "blend").get("said") or "")


def has_model(metrics: Metrics) -> bool:
    """Return whether a language model has a part in the answer."""
    return bool(part(metrics, "blend").get("language_model", True))


def records(metrics: Metrics, *keys: str, needs: Iterable[str]) -> list[Metrics]:
    """Return the mappings in the list at ``keys`` that hold all of ``needs``, none of them None."""
    found = part(metrics, *keys[:-1]).get(keys[-1])
    listed = found if isinstance(found, list | tuple) else []
    wanted = tuple(needs)
    return [each for each in listed if isinstance(each, Mapping) and all(each.get(key) is not None for key in wanted)]


def labels_of(metrics: Metrics) -> list[str]:
    """Return the class names in id order: JSON objects come back sorted by name, the list of labels does not."""
    return list(metrics.get("labels") or part(metrics, "data").get("classes") or [])


def percent(share: float | None) -> str:
    """Return a share as a percentage with two decimals."""
    return ABSENT if share is None else f"{100 * share:.2f} %"


def percents(bounds: Sequence[float] | None) -> str:
    """Return an interval of shares as percentages with one decimal."""
    return ABSENT if not bounds else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def bounds_of(bounds: Sequence[float] | None, digits: int = 4) -> str:
    """Return an interval of plain numbers."""
    return ABSENT if not bounds else f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}"


def value_of(value: object) -> str:
    """Return one value for people: thousands separated, at most four digits of a small number."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_of(item) for item in value)
    return one_line(value)


def decimals(value: float | None, digits: int) -> str:
    """Return a number with so many decimals."""
    return ABSENT if value is None else f"{value:,.{digits}f}"


def plain(value: object) -> str:
    """Return one value as it is, on one line: for settings and versions."""
    return ABSENT if value is None else one_line(value)


def flat(tree: Metrics, prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings by dotted key."""
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def confusions(metrics: Metrics) -> list[tuple[int, str, str]]:
    """Return (rows, true class, predicted class) of every kind of error on the test rows, the most frequent first."""
    # Only ``labels`` says which row is which: the order of a JSON object's names is not that of the ids.
    matrix, names = part(metrics, "test").get("confusion"), list(metrics.get("labels") or [])
    if not matrix or len(matrix) != len(names):
        return []
    wrong = [(rows, i, j) for i, line in enumerate(matrix) for j, rows in enumerate(line) if i != j and rows]
    ordered = sorted(wrong, key=lambda entry: (-entry[0], entry[1], entry[2]))
    return [(rows, names[i], names[j]) for rows, i, j in ordered]
