"""What annotators said of texts, whatever tool they used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """One answer to one question.

    Attributes:
        names: Label names, in the order of answering.
        several: Whether the answer shows that a text can have several.
    """

    names: tuple[str, ...]
    several: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One text as it was shown.

    Attributes:
        fields: What was shown, name -> value; one of them is the text.
        answers: One per annotator who did not skip it: question -> answer.
        skipped: How often it was skipped, cancelled or discarded.
    """

    fields: Mapping[str, Any]
    answers: tuple[Mapping[str, Names], ...] = ()
    skipped: int = 0


def names_of(value: Any) -> Names | None:
    """Return the label names in ``value``: a name, a number, or a list of them; None for anything else."""
    if isinstance(value, list):
        if all(isinstance(each, (str, int)) for each in value):
            return Names(names=tuple(map(_spelled, value)), several=True)
        return None
    return Names(names=(_spelled(value),)) if isinstance(value, (str, int)) else None


def _spelled(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
