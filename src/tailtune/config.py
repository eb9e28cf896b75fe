"""What a training run can be told, and where each value came from: flag > file > like > environment > recipe > default.

Knows nothing about the command line, models or data: only names, types and ranges.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tailtune.errors import ConfigError
from tailtune.settings import Setting, described

DEFAULT_MODEL = "smollm2-135m-instruct"
MODEL_VARIABLE = "TAILTUNE_MODEL"
# Among the columns of ``slice_by``: not a column, but what py3langid takes a text for.
DETECTED_LANGUAGE = "detected-language"
BASELINES = ("tfidf", "minilm")

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "default": {},  # the defaults of TrainConfig
    "chapter": {  # the values of the chapter on fine-tuning GPT-2 for spam; it neither warms up, decays nor stops early
        "balance": "undersample",
        "batch_size": 8,
        "clip_norm": None,
        "epochs": 5,
        "learning_rate": 5e-5,
        "patience": None,
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "weight_decay": 0.1,
    },
}
"""What each recipe sets where neither flag nor file does."""


def default_model() -> str:
    """Return the model used when none is named: the variable TAILTUNE_MODEL if set, else DEFAULT_MODEL."""
    return os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run. Each field is described where it is declared; --help shows the same line.

    The defaults here are the default recipe. Use resolve() to have ``recipe="chapter"`` fill in its values.

    Raises:
        ConfigError: If a value has the wrong type or lies outside its range; it says got and expected. If a setting of
            windows stands beside a rule for long texts that has none.
    """

    data: Annotated[str, "file of labelled texts (CSV, TSV, JSONL, Parquet) or the name of a public data set"]
    text_column: Annotated[str | None, "column with the texts (found by its name when not given)"] = None
    label_column: Annotated[str | None, "column with the labels (found by its name when not given)"] = None
    label_separator: Annotated[str | None, "between the labels of a text that can have several, such as ','"] = None
    label_columns: Annotated[
        str | None, "columns of 0 and 1, one per label, of texts that can have several: toxic,insult,threat"
    ] = None
    validation: Annotated[str | None, "file with the validation part, instead of splitting it off"] = None
    test: Annotated[str | None, "file with the test part, instead of splitting it off"] = None
    split_by: Annotated[
        Literal["stratified", "hash"], "how parts are drawn; 'hash' keeps old rows in their part when rows are added"
    ] = "stratified"
    near_duplicates: Annotated[
        Literal["word", "marks"], "what stays in one part: texts that differ in case, digits, marks and a word, or not"
    ] = "word"
    relabel: Annotated[
        str | None, "CSV with labels corrected by hand: doubts.csv of a run, its column 'corrected' filled in"
    ] = None
    group: Annotated[str | None, "column whose rows of equal value stay in one part"] = None
    slice_by: Annotated[
        str | None, "columns by whose values test scores are shown, commas between; 'detected-language' is a guess"
    ] = None
    time: Annotated[str | None, "column with the time: train on the oldest rows, test on the newest"] = None
    folds: Annotated[
        int | None, "test every row once, in so many folds; the saved classifier then learns from all rows"
    ] = None
    track: Annotated[
        str | None,
        "told of the finished run, never a text: mlflow, wandb, tensorboard; several with commas, each an extra",
    ] = None
    out: Annotated[str | None, "run folder, empty or absent (default: runs/<data>-<time>)"] = None
    model: Annotated[str, "catalogue name, local folder or file, or hub id"] = field(default_factory=default_model)
    method: Annotated[Literal["auto", "probe", "tail"], "what is trained on top of the frozen blocks"] = "auto"
    depth: Annotated[
        int | Literal["auto", "last"], "blocks that are kept; 'last' keeps all, 'auto' lets validation choose"
    ] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "int8"], "of the frozen products; 'auto' takes int8 where it is faster and no worse"
    ] = "auto"
    budget: Annotated[str | None, "most time for one text on this machine, such as 5ms; limits the depth"] = None
    smaller_than: Annotated[str | None, "largest saved classifier, such as 100MB; limits the depth"] = None
    blocks: Annotated[int, "trainable blocks of a tail"] = 1
    pooling: Annotated[
        Literal["auto", "last", "first", "mean", "last+mean", "first+mean"],
        "tokens that a probe reads; 'auto': the mean, with a decoder's last one or an encoder's first one",
    ] = "auto"
    penalty: Annotated[
        float | Literal["auto"], "inverse strength (C) of a probe's L2 penalty; 'auto' lets validation choose"
    ] = "auto"
    like: Annotated[str | None, "earlier run whose choices are taken over, not made again: only new texts cost"] = None
    recipe: Annotated[Literal["default", "chapter"], "'chapter' sets the values, split and balance of the book"] = (
        "default"
    )
    balance: Annotated[
        Literal["none", "undersample", "weights"],
        "unequal classes, in the training part only; 'weights' is --class-weights auto",
    ] = "none"
    class_weights: Annotated[
        Literal["auto", "none"] | str | None,
        "in what is fitted: 'auto' so that classes weigh the same, or TOML or CSV (class, weight); see --prevalence",
    ] = None
    calibration: Annotated[
        Literal["auto", "none", "temperature", "vector", "isotonic"],
        "how probabilities are set right on validation; 'auto' takes the simplest that helps there, or none",
    ] = "auto"
    max_false_positives: Annotated[
        float | None, "largest share of the texts of other classes that may be called --positive, such as 0.002"
    ] = None
    min_precision: Annotated[float | None, "least share of the texts called --positive that are, such as 0.99"] = None
    positive: Annotated[str | None, "class that such a threshold is for (default: the rarer one of two)"] = None
    costs: Annotated[str | None, "TOML or CSV file: what calling a true class by another costs"] = None
    abstain: Annotated[
        float | None, "largest share of all texts answered wrongly, such as 0.01; less certain answers are marked"
    ] = None
    out_of_scope: Annotated[bool, "save what tells texts that are unlike the training texts"] = False
    out_of_scope_texts: Annotated[
        str | None, "file of texts known to be of no class: how well they are told is measured (with --out-of-scope)"
    ] = None
    prevalence: Annotated[
        str | None, "class shares the probabilities are for, such as spam=0.134; 'data': those before balancing"
    ] = None
    measure_unused: Annotated[bool, "measure errors on the rows that undersampling leaves out too"] = False
    seed: Annotated[int, "of split, head and order of texts"] = 0
    epochs: Annotated[int, "times a tail sees each training text, at most"] = 5
    batch_size: Annotated[int, "texts per step of a tail"] = 8
    learning_rate: Annotated[float, "highest learning rate of AdamW"] = 1e-4
    weight_decay: Annotated[float, "weight decay of AdamW"] = 0.1
    clip_norm: Annotated[float | None, "longest gradient allowed; 'none' for no limit"] = 1.0
    warmup_fraction: Annotated[float, "share of the steps in which the learning rate rises"] = 0.1
    schedule: Annotated[Literal["constant", "linear", "cosine"], "how the learning rate changes after the warm-up"] = (
        "linear"
    )
    loss: Annotated[
        Literal["cross-entropy", "focal"], "of a tail; 'focal' gives texts that are right already less weight"
    ] = "cross-entropy"
    focal_gamma: Annotated[float, "how much less: (1 - p)^gamma"] = 2.0
    label_smoothing: Annotated[float, "share of each label that goes to all classes, in a tail's cross-entropy"] = 0.0
    patience: Annotated[int | None, "epochs without better validation before stopping; 'none' for all epochs"] = 2
    max_tokens: Annotated[int | None, "most tokens that are read at once (default: the model's context)"] = None
    long: Annotated[
        Literal["truncate-tail", "truncate-head", "windows"],
        "longer texts: 'truncate-tail' drops their end, 'truncate-head' their beginning, 'windows' reads all of them",
    ] = "truncate-tail"
    stride: Annotated[int | None, "tokens from the start of one window to the next (default: half a window)"] = None
    merge: Annotated[
        Literal["mean", "vote", "max"] | None,
        "one answer from all windows: mean of log-probabilities, of probabilities ('vote'), or maximum (default: mean)",
    ] = None
    threads: Annotated[int | None, "processor threads (default: PyTorch's choice)"] = None
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "where the model runs"] = "auto"
    cache: Annotated[bool, "reuse stored features; --no-cache computes them afresh"] = True
    quiet: Annotated[bool, "no notes and no progress"] = False
    doubts: Annotated[bool, "look for labels that are probably wrong; --no-doubts leaves that out"] = True
    highlights: Annotated[bool, "shade the words that doubtful and wrong answers hang on; --no-highlights: none"] = True
    baselines: Annotated[
        Literal["auto", "none"] | str | bool,
        "cheap classifiers beside it: tfidf, minilm, or both; 'auto' takes minilm where it is in the cache",
    ] = "auto"

    def __post_init__(self) -> None:
        for setting in settings().values():
            setting.check(getattr(self, setting.name), setting.name)
        _check_losses(self)
        _check_windows(self)
        _check_baselines(self)

    @property
    def weighting(self) -> str | None:
        """What class weights were asked for, by either of two names: "auto", a file, or None or "none"."""
        return "auto" if self.balance == "weights" else self.class_weights

    @property
    def asked_baselines(self) -> tuple[str, ...]:
        """Kinds of baselines, of BASELINES; ("auto",) where that is left open, none where none are wanted."""
        if isinstance(self.baselines, bool):
            return ("auto",) if self.baselines else ()
        return () if self.baselines == "none" else _names(self.baselines)

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """The columns named in ``slice_by``."""
        return tuple(name for name in _names(self.slice_by) if name != DETECTED_LANGUAGE)

    @property
    def slices_by_language(self) -> bool:
        """Whether ``slice_by`` asks for a guess at the language."""
        return DETECTED_LANGUAGE in _names(self.slice_by)

    def as_json(self) -> dict[str, Any]:
        """Return every field and its value, ready for JSON, in the order of declaration."""
        return {name: getattr(self, name) for name in settings()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A configuration and, for each field, where its value came from.

    Attributes:
        config: The values.
        origins: Field name -> "flag", "file PATH", "like RUN", "environment", "recipe chapter" or "default".
    """

    config: TrainConfig
    origins: dict[str, str]


def _names(listed: str | None) -> tuple[str, ...]:
    """The different names in a list with commas, in order."""
    return tuple(dict.fromkeys(name.strip() for name in (listed or "").split(",") if name.strip()))


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


def _check_baselines(config: TrainConfig) -> None:
    asked = config.asked_baselines
    unknown = [name for name in asked if name not in BASELINES]
    if unknown and asked != ("auto",):
        hint = f"known: {', '.join(BASELINES)}; auto and none stand alone"
        raise ConfigError(f"--baselines {config.baselines}: {unknown[0]!r} is not known", hint=hint)


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
    if asked and config.method == "probe":
        hint = "take --method tail, or auto to have a tail tried"
        raise ConfigError(f"{asked[0]} is of a tail; a probe is fitted with the plain cross-entropy", hint=hint)


@functools.cache
def settings() -> Mapping[str, Setting]:
    """Return field name -> Setting for every field of TrainConfig, in the order of declaration."""
    hints = typing.get_type_hints(TrainConfig, include_extras=True)
    defaults = {"model": DEFAULT_MODEL}
    return types.MappingProxyType(
        {
            part.name: described(part, hints[part.name], default=defaults.get(part.name))
            for part in dataclasses.fields(TrainConfig)
        }
    )


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
            setting = _known(name, "argument")
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
_ADDED_LATER = ("class_weights", "long", "stride", "merge")
_ADDED_FOR_TAILS = ("loss", "focal_gamma", "label_smoothing")


def _read_choices(run: Path) -> dict[str, Any]:
    """Return the settings that an earlier run was told or chose, so that a new one need not choose again."""
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        config = metrics["config"]
        values = {name: config[name] for name in _TAKEN_OVER}
        later = _ADDED_LATER + (_ADDED_FOR_TAILS if metrics["method"] == "tail" else ())
        values |= {name: config[name] for name in later if name in config}
        values |= {name: metrics[name] for name in ("method", "depth", "precision")}
        chosen = next(choice for choice in metrics["choices"] if choice["chosen"])
        values["penalty"] = chosen.get("penalty", "auto")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        hint = "give the folder of a run that `tailtune train` has finished"
        raise ConfigError(f"--like {run}: no finished run there: {error!r}", hint=hint) from error
    for name, value in values.items():
        settings()[name].check(value, f"{file}: {name}")
    return values


def _known(name: str, where: str) -> Setting:
    from difflib import get_close_matches

    if name in settings():
        return settings()[name]
    close = get_close_matches(name, settings(), n=1)
    hint = f"did you mean {close[0].replace('_', '-')}?" if close else "`tailtune train --help` lists every setting"
    raise ConfigError(f"{where}: unknown setting {name.replace('_', '-')!r}", hint=hint)


def _read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, checked; names with ``_``, "none" as None, integers for numbers as floats."""
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: broken TOML: {error}", hint='lines read like: learning-rate = 5e-5 or model = "name"'
        ) from error
    values: dict[str, Any] = {}
    for key, value in content.items():
        setting = _known(key.replace("-", "_"), str(path))
        if setting.name in values:
            raise ConfigError(f"{path}: {key!r} is given twice, with - and with _")
        spelled_none = value == "none" and setting.optional and str not in setting.types
        values[setting.name] = None if spelled_none else value
        setting.check(values[setting.name], f"{path}: {key}")
    return values
