"""One setting as its annotation describes it: name, types, words, range; what it accepts, in words and in code.

Knows nothing about which settings there are: these are ``tailtune.config``'s.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailtune.errors import ConfigError

_AT_LEAST = {
    "depth": 0, "seed": 0, "blocks": 1, "epochs": 1, "folds": 2, "batch_size": 1, "patience": 1, "max_tokens": 1,
    "stride": 1, "threads": 1, "weight_decay": 0.0, "warmup_fraction": 0.0, "focal_gamma": 0.0, "label_smoothing": 0.0,
    "accumulation": 1, "average_last": 2, "from_depth": 0, "lora_rank": 1, "lora_dropout": 0.0,
}  # fmt: skip
_ABOVE_ZERO = {"learning_rate", "clip_norm", "penalty", "max_false_positives", "min_precision", "abstain"}
_ABOVE_ZERO |= {"layer_decay", "head_rate_factor", "ema", "lora_alpha", "teacher_share", "teacher_temperature"}
_AT_MOST = {"layer_decay": 1.0, "teacher_share": 1.0}
_BELOW = {
    "warmup_fraction": 1.0,
    "label_smoothing": 1.0,
    "lora_dropout": 1.0,
    "max_false_positives": 1.0,
    "min_precision": 1.0,
    "abstain": 1.0,
    "ema": 1.0,
    "seed": 2**32,
    "threads": 1025,
}  # numpy and scikit-learn take seeds of 32 bits


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One field of TrainConfig as its annotation describes it.

    Attributes:
        name: Of the field.
        types: Python types accepted, besides the words.
        words: The strings accepted; empty when any string (or none at all) is.
        optional: Whether None is accepted, written ``none`` in text.
        help: One line for people.
        default: What the default recipe holds, for people.
    """

    name: str
    types: tuple[type, ...]
    words: tuple[str, ...]
    optional: bool
    help: str
    default: str

    @property
    def flag(self) -> str:
        """The name on the command line, for example ``--learning-rate``; DATA is the one argument."""
        return "DATA" if self.name == "data" else "--" + self.name.replace("_", "-")

    @property
    def expected(self) -> str:
        """What is accepted, in words."""
        names = {int: "an integer", float: "a number", bool: "true or false", str: "a text that is not empty"}
        parts = [
            *map(repr, self.words),
            *(names[kind] for kind in self.types if not (kind is int and float in self.types)),
        ]
        said = " or ".join(parts + (["'none'"] if self.optional and str not in self.types else []))
        if self.name in _ABOVE_ZERO:
            said += " above 0"
        if (least := _AT_LEAST.get(self.name)) is not None:
            said += f", at least {least}"
        if (most := _AT_MOST.get(self.name)) is not None:
            said += f", at most {most}"
        return said + (f", below {_BELOW[self.name]}" if self.name in _BELOW else "")

    def check(self, value: Any, where: str) -> None:
        """Refuse ``value`` unless its type and range are right.

        Raises:
            ConfigError: It names ``where``, got and expected.
        """
        if not self._type_fits(value) or not self._in_range(value):
            raise ConfigError(f"{where}: expected {self.expected}, got {value!r}")

    def parse(self, text: str) -> Any:
        """Return ``text`` as the value it spells; text that spells none is returned as it is, for check() to refuse."""
        if text in self.words or str in self.types:
            return text
        if self.optional and text.lower() == "none":
            return None
        for kind in (int, float):
            if kind in self.types:
                try:
                    return kind(text)
                except ValueError:
                    continue
        return text

    def _type_fits(self, value: Any) -> bool:
        if value is None:
            return self.optional
        if isinstance(value, str):
            return value in self.words or (str in self.types and value.strip() != "")
        if isinstance(value, bool):  # a bool is an int to Python, not to a person
            return bool in self.types
        return type(value) in self.types or (type(value) is int and float in self.types)

    def _in_range(self, value: Any) -> bool:
        if isinstance(value, bool | str) or value is None:
            return True
        return (
            math.isfinite(value)
            and value >= _AT_LEAST.get(self.name, -math.inf)
            and value <= _AT_MOST.get(self.name, math.inf)
            and value < _BELOW.get(self.name, math.inf)
            and (value > 0 or self.name not in _ABOVE_ZERO)
        )


def parse_milliseconds(text: str, name: str) -> float:
    """Return the milliseconds that a time such as 5ms, 0.5 s or 800us means.

    Args:
        text: The time, with its unit.
        name: Of the setting, said in the error.

    Raises:
        ConfigError: If it is no time above 0.
    """
    return _time(text, name, {"us": 1e-3, "ms": 1.0, "s": 1e3}, "5ms or 0.5s")


def parse_seconds(text: str, name: str) -> float:
    """Return the seconds that a time such as 90s, 5m, 1.5 h or 10 min means.

    Args:
        text: The time, with its unit.
        name: Of the setting, said in the error.

    Raises:
        ConfigError: If it is no time above 0.
    """
    return _time(text, name, {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}, "90s, 5m or 1h")


def _time(text: str, name: str, units: Mapping[str, float], written: str) -> float:
    found = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(units)})", text.strip().casefold())
    if found is None or not float(found.group(1)):
        raise ConfigError(f"{name} {text!r} is no time above 0", hint=f"write it as {written}")
    return float(found.group(1)) * units[found.group(2)]


def parse_shares(text: str, name: str) -> dict[str, float | None]:
    """Return name -> number of a list such as a=0.6,b=0.4 or a,b; None where there is no number.

    Args:
        text: The list.
        name: Of the setting, said in the error.

    Raises:
        ConfigError: If a number is none above 0, only some have one, or a name stands twice.
    """
    found: dict[str, float | None] = {}
    for part in text.split(","):
        key, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            value = float(number) if equals else None
        except ValueError:
            value = math.nan
        if not key or key in found or (value is not None and not 0 < value < math.inf):
            raise ConfigError(f"{name} {text!r}: {part!r} is no part", hint="write it as a=0.6,b=0.4 or a,b")
        found[key] = value
    if len({value is None for value in found.values()}) > 1:
        raise ConfigError(f"{name} {text!r}: some parts have a number, some none", hint="give all of them one, or none")
    return found


def described(part: dataclasses.Field[Any], hint: Any, *, default: str | None = None) -> Setting:
    """Return the setting that a field and its annotation describe.

    Args:
        part: The field.
        hint: Its annotation, ``Annotated[types and words, "help"]``.
        default: For people; the field's own default when None.
    """
    declared, about = typing.get_args(hint)
    arms = typing.get_args(declared) if isinstance(declared, types.UnionType) else (declared,)
    arms = typing.get_args(declared) if typing.get_origin(declared) is typing.Union else arms
    words = tuple(word for arm in arms for word in typing.get_args(arm))
    own = "" if part.default in (dataclasses.MISSING, None) else str(part.default).lower()
    return Setting(
        name=part.name,
        types=tuple(arm for arm in arms if isinstance(arm, type) and arm is not type(None)),
        words=words,
        optional=type(None) in arms,
        help=about,
        default=own if default is None else default,
    )
