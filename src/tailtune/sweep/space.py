"""What a sweep may vary: ranges and choices by setting, read from TOML or flags, each checked against the setting.

Knows nothing about how values are drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tailtune.config import TrainConfig, settings
from tailtune.contradictions import OF_BLOCKS
from tailtune.errors import ConfigError
from tailtune.methods.auto import plan
from tailtune.methods.descent import TailSettings
from tailtune.methods.losses import Objective
from tailtune.models.parts import read_shape
from tailtune.models.sources.catalog import resolve
from tailtune.progress import Progress, silent
from tailtune.report.words import one_line
from tailtune.resolving import known_setting
from tailtune.settings import Setting
from tailtune.storage import read_json, read_toml

Value = int | float | str | bool | None

_ROWS = "it decides which rows are learnt from or judged, and all trials share one split"
_UNSEEN = "it changes no score on the validation part"
_AFTER = "it changes what is made of probabilities after they are scored"
_WORDED = "words of the LM head go with one method and depth: give them as flags, and every trial has them"
_LIMIT = "it is a limit: give it as a flag, and every trial keeps to it"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *(
                "data",
                "text_column",
                "label_column",
                "label_separator",
                "label_columns",
                "label_shares",
                "label_levels",
                "template",
            ),
            *("validation", "test", "split_by", "near_duplicates", "relabel", "group", "time_column", "folds"),
            *("recipe", "like", "teacher", "teacher_share", "teacher_temperature", "unlabelled"),
        ),
        _ROWS,
    ),
    "balance": f"{_ROWS}; class-weights can be varied",
    "seed": "the best of several seeds is the luckiest, not the best",
    **dict.fromkeys(
        (
            *("slice_by", "track", "out", "threads", "device", "cache", "quiet", "doubts", "highlights", "baselines"),
            *("out_of_scope", "out_of_scope_texts", "measure_unused", "keep_adapter"),
        ),
        _UNSEEN,
    ),
    **dict.fromkeys(
        (
            *("calibration", "max_false_positives", "min_precision", "positive", "costs", "abstain"),
            "prevalence",
        ),
        _AFTER,
    ),
    **dict.fromkeys(("budget", "smaller_than", "time"), _LIMIT),
    **dict.fromkeys(("head_init", "label_words", "calibrate_prior"), _WORDED),
}
"""Settings that are not swept, and why."""

IDLE = frozenset(name for name, why in REFUSED.items() if why in (_ROWS, _UNSEEN))
"""Settings that change no trial but through the texts and their parts."""

OF_TAILS = frozenset(
    {field.name for kind in (TailSettings, Objective) for field in dataclasses.fields(kind)} | {"blocks", *OF_BLOCKS}
) - {"seed"}
"""Settings that a probe has no use for: not drawn in a trial of one."""
OF_PROBES = frozenset({"penalty"})
_IDLE_FOR: Mapping[str, frozenset[str]] = {
    "probe": OF_TAILS,
    "tail": OF_PROBES,
    **dict.fromkeys(("lora", "full"), OF_PROBES | {"blocks"}),
    **dict.fromkeys(("zero-shot", "ngrams"), OF_PROBES | OF_TAILS),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """Numbers between two bounds, both included.

    Attributes:
        low: Smallest; an int for whole numbers.
        high: Largest, of the type of ``low``.
        log: Whether equal factors are equally likely, not equal steps.
        step: Between neighbours; None for any number between.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as a space in TOML has them."""
        plain: dict[str, Any] = {"low": self.low, "high": self.high}
        return plain | ({"log": True} if self.log else {}) | ({} if self.step is None else {"step": self.step})


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One of several values, at least two."""

    values: tuple[Value, ...]

    def as_json(self) -> list[Any]:
        """Return the values, "none" for None as a space in TOML has it."""
        return ["none" if value is None else value for value in self.values]


Domain = Numbers | Choice
Space = Mapping[str, Domain]

_RANGES: Mapping[str, Domain] = {
    "batch_size": Choice(values=(4, 8, 16, 32)),
    "clip_norm": Numbers(low=0.3, high=3.0, log=True),
    "epochs": Numbers(low=1, high=8),
    "focal_gamma": Numbers(low=0.5, high=4.0),
    "label_smoothing": Numbers(low=0.0, high=0.2),
    "learning_rate": Numbers(low=1e-5, high=1e-3, log=True),
    "patience": Numbers(low=1, high=4),
    "penalty": Numbers(low=0.003, high=3.0, log=True),
    "warmup_fraction": Numbers(low=0.0, high=0.3),
    "weight_decay": Numbers(low=0.0, high=0.3),
}
_WORDS: Mapping[str, tuple[Value, ...]] = {"class_weights": ("none", "auto"), "method": ("probe", "tail")}
_MOST_BLOCKS = 4
_OF_DEFAULT_PROBE = ("depth", "pooling", "penalty")
_OF_DEFAULT_TAIL = ("learning_rate", "blocks", "weight_decay", "warmup_fraction", "label_smoothing")


def default_names(method: str) -> tuple[str, ...]:
    """Return what is varied where nothing is said; ``method`` as it is set.

    A tail's depth is left to the scan: every depth has token states of its own, which take a pass and room.
    """
    if method == "probe":
        return _OF_DEFAULT_PROBE
    if method == "auto":
        return ("method", "pooling", "penalty", *_OF_DEFAULT_TAIL)
    return tuple(name for name in _OF_DEFAULT_TAIL if name not in _IDLE_FOR[method])


def read_space(
    file: Path | None, given: Sequence[str], config: TrainConfig, fixed: Mapping[str, str], progress: Progress = silent
) -> Space:
    """Return what ``file`` and the flags ``given`` vary, or the default space where there is neither.

    Args:
        file: TOML, a key per setting.
        given: Texts such as ``learning-rate=1e-5..1e-3:log``; they go before the file.
        config: What is not varied; its model says which depths there are.
        fixed: Name -> where its value came from (``Resolved.origins``).
        progress: Told of the model's download.

    Raises:
        ConfigError: With the place and the setting, if a name, type, word or bound is wrong, or it is fixed as well.
        ModelError: If "auto" needs the model's shape and it cannot be read.
    """
    told = _read_toml(file) if file else {}
    told |= dict(_parse_flag(text) for text in given)
    held = {name for name, origin in fixed.items() if origin == "flag" or origin.startswith("file ")}
    if not told:
        told = {name: ("default space", "auto") for name in default_names(config.method) if name not in held}
    if not told:
        raise ConfigError("all of the default space is fixed", hint="say what to vary: --vary learning-rate=auto")
    for name, (where, _) in told.items():
        if name in held:
            hint = "leave one of them out"
            raise ConfigError(f"{where}: {settings()[name].flag} is fixed by {fixed[name]} as well", hint=hint)
        _refuse_idle(name, where, config, varied="method" in told)
    # The method comes first: what else is drawn depends on it.
    order = sorted(told, key=lambda name: name != "method")
    return {name: _domain(settings()[name], told[name][1], told[name][0], config, progress) for name in order}


def drawn(space: Space, method: object) -> list[str]:
    """Return which settings of ``space`` matter to a trial with this ``method``."""
    return [name for name in space if name not in _IDLE_FOR.get(str(method), ())]


def _refuse_idle(name: str, where: str, config: TrainConfig, *, varied: bool) -> None:
    if name in REFUSED:
        raise ConfigError(f"{where}: {_dashed(name)} cannot be swept: {REFUSED[name]}")
    if not varied and name not in drawn({name: Choice(values=())}, config.method):
        other = "probe" if name in OF_PROBES else "tail"
        hint = f"take --method {other}, or vary method=probe,tail as well"
        raise ConfigError(f"{where}: {_dashed(name)} is of a {other}, and --method {config.method} is fixed", hint=hint)


def _read_toml(path: Path) -> dict[str, tuple[str, Any]]:
    """Name -> (place, value as written)."""
    hint = 'lines read like: learning-rate = {low = 1e-5, high = 1e-3, log = true} or blocks = "auto"'
    content = read_toml(path, hint=hint)
    told: dict[str, tuple[str, Any]] = {}
    for key, value in content.items():
        name = known_setting(key.replace("-", "_"), str(path)).name
        if name in told:
            raise ConfigError(f"{path}: {key!r} is given twice, with - and with _")
        told[name] = f"{path}: {key}", value
    if not told:
        raise ConfigError(f"{path}: varies nothing", hint='lines read like: blocks = "auto"')
    return told


def _parse_flag(text: str) -> tuple[str, tuple[str, Any]]:
    """Name -> (place, value) of ``name=low..high[:log][:step=S]``, ``name=a,b,c`` or ``name=auto``."""
    key, sign, body = text.partition("=")
    where = f"--vary {one_line(text)}"
    setting = known_setting(one_line(key).replace("-", "_"), where)
    name = setting.name
    if not sign or not body.strip():
        hint = "write --vary learning-rate=1e-5..1e-3:log, --vary blocks=1,2,3 or --vary blocks=auto"
        raise ConfigError(f"{where}: no values", hint=hint)
    if body.strip() == "auto":
        return name, (where, "auto")
    if ".." not in body:
        return name, (where, [setting.parse(part.strip()) for part in body.split(",")])
    bounds, *extras = body.split(":")
    low, _, high = bounds.partition("..")
    value: dict[str, Any] = {"low": setting.parse(low.strip()), "high": setting.parse(high.strip())}
    for extra in extras:
        key, sign, size = extra.strip().partition("=")
        if extra.strip() == "log":
            value["log"] = True
        elif key == "step" and sign:
            value["step"] = setting.parse(size.strip())
        else:
            raise ConfigError(f"{where}: unknown {extra!r}", hint="after the bounds may stand :log and :step=S")
    return name, (where, value)


def _domain(setting: Setting, value: Any, where: str, config: TrainConfig, progress: Progress) -> Domain:
    if value == "auto":
        return _automatic(setting, where, config, progress)
    if isinstance(value, list):
        return _choice(setting, value, where)
    if isinstance(value, dict):
        return _numbers(setting, value, where)
    hint = 'write {low = …, high = …}, a list of values, or "auto"'
    raise ConfigError(f"{where}: one value is nothing to vary, got {value!r}", hint=hint)


def _automatic(setting: Setting, where: str, config: TrainConfig, progress: Progress) -> Domain:
    """The range that is sensible for a setting that has one."""
    name = setting.name
    if name in ("depth", "blocks", "pooling"):
        return _of_model(name, where, config, progress)
    if name in _RANGES:
        return _RANGES[name]
    words = _WORDS.get(name, tuple(word for word in setting.words if word != "auto"))
    if name not in _WORDS and bool in setting.types:
        words = (True, False)
    if len(words) < 2:
        raise ConfigError(f"{where}: {_dashed(name)} has no range of its own", hint="give bounds or a list of values")
    return Choice(values=words)


def _of_model(name: str, where: str, config: TrainConfig, progress: Progress) -> Domain:
    """The range of a setting that hangs on the model."""
    model = resolve(config.model, progress=progress)
    shape = read_shape(read_json(model.path / "config.json"))
    if name == "pooling":
        own = "last" if shape.causal else "first"  # what a text is read at, see pooling_of
        return Choice(values=(own, "mean", f"{own}+mean"))
    places = tuple(range(1, min(_MOST_BLOCKS, shape.blocks) + 1))
    if name == "depth":
        places = plan("probe", "auto", blocks=1, total=shape.blocks, causal=shape.causal).cuts
    if len(places) < 2:
        raise ConfigError(f"{where}: {config.model} has too few blocks for a choice of {name}")
    return Numbers(low=places[0], high=places[-1], step=places[1] - places[0])


def _choice(setting: Setting, listed: Sequence[Any], where: str) -> Choice:
    values: list[Value] = []
    for each in listed:
        value = None if each == "none" and setting.optional and str not in setting.types else each
        setting.check(value, where)
        if value in values:
            raise ConfigError(f"{where}: {each!r} is given twice")
        values.append(value)
    if len(values) < 2:
        raise ConfigError(f"{where}: {len(values)} value(s) are no choice", hint=f"give two, or fix it: {setting.flag}")
    return Choice(values=tuple(values))


def _numbers(setting: Setting, table: Mapping[str, Any], where: str) -> Numbers:
    if unknown := sorted(set(table) - {"low", "high", "log", "step"}):
        raise ConfigError(f"{where}: unknown {unknown[0]!r}", hint="a range has low, high, log and step")
    if not {"low", "high"} <= set(table):
        raise ConfigError(f"{where}: a range needs low and high, got {', '.join(sorted(table)) or 'nothing'}")
    kinds = tuple(kind for kind in (float, int) if kind in setting.types)
    if not kinds:
        raise ConfigError(f"{where}: {_dashed(setting.name)} is no number", hint="give a list of values")
    for key in ("low", "high"):
        if type(table[key]) not in (int, *kinds):
            raise ConfigError(f"{where}: {key}: expected {setting.expected}, got {table[key]!r}")
        setting.check(table[key], f"{where}: {key}")
    low, high = (kinds[0](table[key]) for key in ("low", "high"))
    log, step = table.get("log", False), table.get("step")
    if not low < high:
        raise ConfigError(f"{where}: low {low:g} is not below high {high:g}")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log: expected true or false, got {log!r}")
    if log and (low <= 0 or step is not None):
        raise ConfigError(f"{where}: log needs low above 0 and no step")
    return Numbers(low=low, high=high, log=log, step=None if step is None else _step(step, low, high, kinds[0], where))


def _step(step: Any, low: float, high: float, kind: type[int] | type[float], where: str) -> float:
    if isinstance(step, bool) or type(step) not in (int, kind) or not 0 < step <= high - low:
        raise ConfigError(
            f"{where}: step: expected a number of the setting's type in 0 to {high - low:g}, got {step!r}"
        )
    # In decimals, as they were written: 0.3 is not three times 0.1 in binary.
    if (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)):
        raise ConfigError(f"{where}: steps of {step:g} from {low:g} do not end at {high:g}")
    return kind(step)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
