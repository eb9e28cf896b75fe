"""The settings of a run and where each came from: flag > file > like > environment > recipe > default."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.config import MODEL_VARIABLE, RECIPES, TrainConfig, default_model, settings
from tailtune.contradictions import OF_BLOCKS
from tailtune.errors import ConfigError
from tailtune.settings import Setting
from tailtune.storage import read_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A configuration and, for each field, where its value came from.

    Attributes:
        config: The values.
        origins: Field name -> "flag", "file PATH", "like RUN", "environment", "recipe chapter" or "default".
    """

    config: TrainConfig
    origins: dict[str, str]


def resolve(flags: Mapping[str, Any], file: Path | None = None) -> Resolved:
    """Return the configuration that ``flags`` and ``file`` describe, and the origin of each value.

    Args:
        flags: Field name -> value, as typed values or as text ("5e-5", "none"); absent or None means not given.
        file: A TOML file with flat keys named like the flags, with ``-`` or ``_``.

    Raises:
        ConfigError: If a name is unknown, a value has the wrong type or range, or the file cannot be read.
    """
    known = settings()
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, given in flags.items():
        if given is not None:
            setting = known_setting(name, "argument")
            values[name] = setting.parse(given) if isinstance(given, str) else given
            setting.check(values[name], setting.flag)
            origins[name] = "flag"

    def fill(lower: Mapping[str, Any], origin: str) -> None:
        for name, value in lower.items():
            if name not in values:
                values[name], origins[name] = value, origin

    if file is not None:
        fill(_read_toml(file), f"file {file}")
    if like := values.get("like"):
        fill(_read_choices(Path(like)), f"like {like}")
    if os.environ.get(MODEL_VARIABLE):
        fill({"model": default_model()}, "environment")
    recipe = values.get("recipe", "default")
    fill(RECIPES[recipe], f"recipe {recipe}")
    if "data" not in values:
        raise ConfigError("no data given", hint="name a file of labelled texts, or a data set of `tailtune data list`")
    return Resolved(config=TrainConfig(**values), origins={name: origins.get(name, "default") for name in known})


# What a run decides or was told about model and training; data, parts and this machine are each run's own.
_TAKEN_OVER = (
    "model", "blocks", "pooling", "balance", "epochs", "batch_size", "learning_rate", "weight_decay", "clip_norm",
    "warmup_fraction", "schedule", "patience", "max_tokens",
)  # fmt: skip
# Not in every run's record: of earlier versions they have the default. The last ones a probe would refuse.
_ADDED_LATER = (
    "weights", "class_weights", "long", "stride", "merge", "template", "head_init", "label_words", "calibrate_prior",
)  # fmt: skip
_OF_TRAINED = ("loss", "focal_gamma", "label_smoothing", *OF_BLOCKS)
_OF_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "lora_kind", "keep_adapter")
_ADDED_FOR: Mapping[str, tuple[str, ...]] = {
    "tail": _OF_TRAINED,
    "lora": (*_OF_TRAINED, *_OF_LORA),
    "full": _OF_TRAINED,
}


def _read_choices(run: Path) -> dict[str, Any]:
    """Return the settings that an earlier run was told or chose, so that a new one need not choose again."""
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        config = metrics["config"]
        values = {name: config[name] for name in _TAKEN_OVER}
        made = metrics.get("choice") or {name: metrics[name] for name in ("method", "depth", "precision")}
        method = made["method"]
        later = (*_ADDED_LATER, *_ADDED_FOR.get(method, ()))
        values |= {name: config[name] for name in later if name in config}
        if method in _ADDED_FOR:  # earlier versions read a tail at one token, whatever they had been told
            values["pooling"] = metrics.get("pooling", values["pooling"])
        if method in ("lora", "full"):
            values["from_depth"] = metrics["trained"]["first"]
        if values["learning_rate"] == "auto":  # what was found is not looked for again; a lone probe found none
            del values["learning_rate"]
            values |= {"learning_rate": found["chosen"]} if (found := metrics.get("learning_rate")) else {}
        chosen = next(choice for choice in metrics["choices"] if choice["chosen"])
        values |= {"penalty": chosen.get("penalty", "auto"), **made}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        hint = "give the folder of a run that `tailtune train` has finished"
        raise ConfigError(f"--like {run}: no finished run there: {error!r}", hint=hint) from error
    for name, value in values.items():
        settings()[name].check(value, f"{file}: {name}")
    return values


def known_setting(name: str, where: str) -> Setting:
    """Return the setting called ``name``.

    Raises:
        ConfigError: If there is none; it names ``where``, and the name that was meant if one is close.
    """
    from difflib import get_close_matches

    if name in settings():
        return settings()[name]
    close = get_close_matches(name, settings(), n=1)
    hint = f"did you mean {close[0].replace('_', '-')}?" if close else "`tailtune train --help` lists every setting"
    raise ConfigError(f"{where}: unknown setting {name.replace('_', '-')!r}", hint=hint)


def _read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, checked; names with ``_``, "none" as None, integers for numbers as floats."""
    content = read_toml(path, hint='lines read like: learning-rate = 5e-5 or model = "name"')
    values: dict[str, Any] = {}
    for key, value in content.items():
        setting = known_setting(key.replace("-", "_"), str(path))
        if setting.name in values:
            raise ConfigError(f"{path}: {key!r} is given twice, with - and with _")
        spelled_none = value == "none" and setting.optional and str not in setting.types
        values[setting.name] = None if spelled_none else value
        setting.check(values[setting.name], f"{path}: {key}")
    return values
