"""Which settings of a training run contradict each other, and what is said then.

Sees the settings alone; each by itself was checked already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tailtune.errors import ConfigError
from tailtune.settings import parse_seconds, parse_shares

if TYPE_CHECKING:
    from tailtune.config import TrainConfig

# Of the optimiser of trained blocks alone. Not the older ones, which a probe is told too and does not read.
OF_BLOCKS = ("accumulation", "layer_decay", "head_rate_factor", "weight_decay_of", "ema", "average_last")
# What only a language model has; n-grams read texts whole.
_OF_MODELS = (
    "depth", "precision", "budget", "smaller_than", "blocks", "pooling", "penalty", "max_tokens", "long",
    "out_of_scope", "weights", "ship", "head_init",
)  # fmt: skip
_OF_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "lora_kind", "keep_adapter")


def refuse_contradictions(config: TrainConfig) -> None:
    """Return if the settings go together.

    Raises:
        ConfigError: If two do not; it names both.
    """
    _check_losses(config)
    _check_methods(config)
    _check_descent(config)
    _check_windows(config)
    _check_words(config)
    _check_teacher(config)
    _check_choice(config)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _given(config: TrainConfig, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the settings that have not their default."""
    usual = {part.name: part.default for part in dataclasses.fields(config)}
    return tuple(name for name in names if getattr(config, name) != usual[name])


def _check_methods(config: TrainConfig) -> None:
    """Refuse settings of one method where another was asked for."""

    def given(*names: str) -> list[str]:
        return [_flag(name) for name in _given(config, names)]

    method = config.method
    if method == "ngrams" and (named := given(*_OF_MODELS)):
        said = f"{named[0]} is of a language model, and --method ngrams uses none"
        raise ConfigError(said, hint="leave it out, or take another method")
    if method != "lora" and (named := given(*_OF_LORA)):
        raise ConfigError(f"{named[0]} is of --method lora, not of {method}", hint="add --method lora, or leave it out")
    if method not in ("lora", "full"):
        if given("from_depth"):
            hint = "a tail's lowest block is chosen by --blocks" if method == "tail" else "leave it out"
            raise ConfigError(f"--from-depth is of --method lora and full, not of {method}", hint=hint)
        return
    if named := given("blocks"):
        hint = "they train every block from --from-depth up"
        raise ConfigError(f"{named[0]} is of a tail, not of --method {method}", hint=hint)
    if named := given("budget", "smaller_than"):
        hint = "give --depth, or let a probe or a tail find it"
        raise ConfigError(
            f"{named[0]} limits the depth that is searched, and --method {method} searches none", hint=hint
        )
    if method == "full" and not config.from_depth and (config.precision == "int8" or config.out_of_scope):
        named = ["--precision int8" if config.precision == "int8" else "--out-of-scope"]
        hint = "give --from-depth 1 or more"
        raise ConfigError(f"{named[0]} is of frozen blocks, and --method full leaves none", hint=hint)


def _check_windows(config: TrainConfig) -> None:
    """Refuse settings of windows where long texts are read in another way."""
    given = {"--stride": config.stride, "--merge": config.merge}
    if config.long != "windows" and (named := [f"{flag} {value}" for flag, value in given.items() if value]):
        raise ConfigError(
            f"{' and '.join(named)}: only windows have this, and long texts are read by --long {config.long}",
            hint="add --long windows, or leave it out",
        )
    if config.long == "windows" and config.out_of_scope:
        hint = "leave one of them out"
        raise ConfigError("--out-of-scope judges a text by one reading, --long windows reads it in several", hint=hint)


def _check_teacher(config: TrainConfig) -> None:
    """Refuse a teacher's settings without one, and one where it cannot teach."""
    given = {
        "--unlabelled": config.unlabelled is not None,
        "--teacher-share": config.teacher_share != 0.5,
        "--teacher-temperature": config.teacher_temperature != 1.0,
    }
    if config.teacher is None and (named := [flag for flag, there in given.items() if there]):
        raise ConfigError(f"{named[0]} is of a --teacher", hint="add --teacher RUN, or leave it out")
    elsewhere = {
        "--folds": config.folds is not None,
        "--class-weights": config.weighting not in (None, "none"),
        "--loss focal": config.loss == "focal",
        f"--method {config.method}": config.method in ("ngrams", "zero-shot"),
    }
    if config.teacher is not None and (named := [flag for flag, there in elsewhere.items() if there]):
        raise ConfigError(f"--teacher and {named[0]} contradict each other", hint="leave one of them out")


def _check_words(config: TrainConfig) -> None:
    """Refuse a template that cannot be read, and settings of the LM head where it is not asked."""
    made_by = config.made_by
    if made_by is not None and made_by.text_column is not None and config.text_column is not None:
        said = f"--text-column {config.text_column} and --template {config.template!r} both say where the texts are"
        raise ConfigError(said, hint="leave out --text-column, or call it {text} in the template")
    if config.head_init == "lm" and config.method in ("auto", "zero-shot"):
        hint = (
            "name the method: --method probe, tail, lora or full"
            if config.method == "auto"
            else "leave out --head-init"
        )
        raise ConfigError(f"--head-init lm: --method {config.method} starts no head at the top", hint=hint)
    if config.asks_lm_head and config.weights == "random":
        said = "--weights random draws the model, and the LM head's rows are of the pretrained one"
        raise ConfigError(said, hint="leave out --weights random, or --method zero-shot and --head-init")
    if config.head_init == "lm" and config.method != "probe" and config.pooling not in ("auto", "last"):
        said = f"--head-init lm: the LM head reads the last token, --pooling {config.pooling} more or others"
        raise ConfigError(said, hint="leave out --pooling")
    asked = {"--label-words": config.label_words, "--calibrate-prior": config.calibrate_prior}
    if not config.asks_lm_head and (named := [flag for flag, value in asked.items() if value]):
        raise ConfigError(f"{named[0]} is of the LM head", hint="add --method zero-shot or --head-init lm")
    if config.calibrate_prior and config.head_init == "lm" and config.method != "probe":
        raise ConfigError("--calibrate-prior: a head without a bias has no room for it", hint="leave it out")


def _check_choice(config: TrainConfig) -> None:
    """Refuse parts that cannot be read, and a time that is none (a column was named so once) or chooses nothing."""
    if config.ship not in ("best", "language-model"):
        parse_shares(config.ship, "--ship")
    if config.time is None:
        return
    try:
        parse_seconds(config.time, "--time")
    except ConfigError as error:
        hint = f"{error.hint}; a column with the time of each row is --time-column {config.time}"
        raise ConfigError(error.message, hint=hint) from error
    if config.method != "auto":
        given = f"--like {config.like}" if config.like else f"--method {config.method}"
        said = f"--time {config.time} is for --method auto, which tries what fits into it; given was {given}"
        raise ConfigError(said, hint="leave one of them out")


def _check_losses(config: TrainConfig) -> None:
    """Refuse settings of the training loss that contradict each other."""
    if config.balance == "weights" and config.class_weights not in (None, "auto"):
        said = f"--balance weights and --class-weights {config.class_weights} contradict each other"
        raise ConfigError(said, hint="--balance weights is --class-weights auto: leave one of them out")
    asked = []
    if config.loss == "focal":
        asked.append("--loss focal")
    elif config.focal_gamma != 2.0:
        raise ConfigError(f"--focal-gamma {config.focal_gamma:g} is of --loss focal", hint="add --loss focal")
    if config.label_smoothing:
        asked.append(f"--label-smoothing {config.label_smoothing:g}")
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} contradict each other", hint="leave one of them out")
    if asked and config.method in ("probe", "ngrams", "zero-shot"):
        hint = "take --method tail, or auto to have a tail tried"
        instead = (
            "zero-shot fits nothing"
            if config.method == "zero-shot"
            else "a probe is fitted with the plain cross-entropy"
        )
        raise ConfigError(f"{asked[0]} is of a tail; {instead}", hint=hint)


def _check_descent(config: TrainConfig) -> None:
    """Refuse settings of the optimiser that contradict each other, or that a probe has no use for."""
    if config.ema is not None and config.average_last is not None:
        said = f"--ema {config.ema:g} and --average-last {config.average_last} contradict each other"
        raise ConfigError(said, hint="leave one of them out")
    given = list(_given(config, OF_BLOCKS))
    if config.learning_rate == "auto":
        given.insert(0, "learning_rate")
    if given and config.method in ("probe", "zero-shot"):
        what = "a probe" if config.method == "probe" else "--method zero-shot"
        said = f"{_flag(given[0])} {getattr(config, given[0])} is of trained blocks; {what} has none"
        raise ConfigError(said, hint="take --method tail, or auto to have a tail tried")
