"""``tailtune train``: its flags are the fields of TrainConfig, one to one."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from tailtune.cli.screen import Screen
from tailtune.config import settings
from tailtune.errors import ConfigError
from tailtune.resolving import resolve
from tailtune.settings import Setting

_GROUPS = {
    "Data": (
        "text_column", "label_column", "label_separator", "label_columns", "label_shares", "label_levels", "relabel",
        "validation", "test", "split_by", "near_duplicates", "group", "time_column", "folds", "balance",
        "class_weights", "recipe", "seed",
    ),
    "Model and method": (
        "model", "weights", "method", "time", "ship", "depth", "precision", "budget", "smaller_than", "blocks",
        "from_depth", "pooling", "penalty", "like",
    ),
    "Learning from another classifier": ("teacher", "teacher_share", "teacher_temperature", "unlabelled"),
    "Long texts": ("max_tokens", "long", "stride", "merge"),
    "Training blocks": (
        "epochs", "batch_size", "accumulation", "learning_rate", "layer_decay", "head_rate_factor", "weight_decay",
        "weight_decay_of", "clip_norm", "warmup_fraction", "schedule", "loss", "focal_gamma", "label_smoothing",
        "patience", "ema", "average_last",
    ),
    "LoRA": ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "lora_kind", "keep_adapter"),
    "Probabilities and decisions": (
        "calibration", "max_false_positives", "min_precision", "positive", "costs", "abstain", "prevalence",
        "measure_unused", "out_of_scope", "out_of_scope_texts",
    ),
    "This machine": ("device", "threads", "cache"),
    "Result": (
        "out", "config", "json", "baselines", "no_baselines", "doubts", "highlights", "slice_by", "track", "quiet",
    ),
}  # fmt: skip
_PANELS = {name: group for group, names in _GROUPS.items() for name in names}
_SWITCHES = {name: f"--{name}/--no-{name}" for name in ("cache", "doubts", "highlights")}
_SWITCHES |= {"quiet": "--quiet", "measure_unused": "--measure-unused", "out_of_scope": "--out-of-scope"}
_SWITCHES["keep_adapter"] = "--keep-adapter"
_METAVARS: dict[type, str] = {int: "N", float: "X", str: "NAME"}
_PLACES = dict.fromkeys(("relabel", "validation", "test", "out_of_scope_texts", "class_weights"), "FILE")
_PLACES |= {"out": "DIR", "budget": "TIME", "time": "TIME", "smaller_than": "SIZE", "like": "RUN", "ship": "NAMES"}
_PLACES |= dict.fromkeys(("track", "baselines", "lora_targets"), "NAMES")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    def command(**given: Any) -> None:
        _train(given)

    # Typer reads the signature: one parameter per field, so that flags, files and Python always know the same settings.
    command.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
    app.command(
        "train", help="Train a classifier on DATA; the result is a run folder with bundle, metrics and report."
    )(command)


def _parameters() -> list[inspect.Parameter]:
    about_config, about_json = "TOML file with any of these settings.", "Print the metrics as one JSON object."
    config = typer.Option("--config", metavar="FILE", help=about_config, rich_help_panel=_PANELS["config"])
    json = typer.Option("--json", help=about_json, rich_help_panel=_PANELS["json"])
    about_none = "The same as --baselines none."
    none = typer.Option("--no-baselines", help=about_none, rich_help_panel=_PANELS["no_baselines"])
    return [
        _parameter("context", typer.Context, inspect.Parameter.empty),
        *setting_parameters(),
        _parameter("config", Annotated[Path | None, config], None),
        _parameter("json", Annotated[bool, json], False),
        _parameter("no_baselines", Annotated[bool, none], False),
    ]


def setting_parameters(*, without: Collection[str] = ()) -> list[inspect.Parameter]:
    """Return one parameter of a command per field of TrainConfig but those ``without``, in the order of the panels."""
    given = {name: _annotation(setting) for name, setting in settings().items() if name not in without}
    order = ["data", *(name for name in _PANELS if name in given)]
    return [_parameter(name, given[name], None) for name in order]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _annotation(setting: Setting) -> Any:
    """Return the Typer annotation of one field: plain text, for tailtune.config to parse or refuse in its own words."""
    about = setting.help[:1].upper() + setting.help[1:] + "."
    if setting.name == "data":
        return Annotated[str | None, typer.Argument(metavar="DATA", help=about, show_default=False)]
    panel = _PANELS[setting.name]
    if setting.name in _SWITCHES:
        switch = typer.Option(_SWITCHES[setting.name], help=about, show_default=False, rich_help_panel=panel)
        return Annotated[bool | None, switch]
    if setting.default:
        about = f"{about[:-1]} (default: {setting.default})."
    kinds = [kind for kind in setting.types if kind is not bool]  # true and false are for files and Python
    metavar = "|".join([*setting.words, *(_PLACES.get(setting.name, _METAVARS[kind]) for kind in kinds)])
    option = typer.Option(setting.flag, metavar=metavar, help=about, show_default=False, rich_help_panel=panel)
    return Annotated[str | None, option]


def _train(given: dict[str, Any]) -> None:
    context, file, as_json = given.pop("context"), given.pop("config"), given.pop("json")
    if given.pop("no_baselines"):
        if given["baselines"] not in (None, "none"):
            raise ConfigError(f"--no-baselines and --baselines {given['baselines']} contradict each other")
        given["baselines"] = "none"
    resolved = resolve(given, file)
    from tailtune.train import train

    with Screen(quiet=resolved.config.quiet) as screen:
        run = train(
            resolved.config,
            origins=resolved.origins,
            command=context.obj,
            progress=screen.progress,
            say=screen.say,
        )
    from tailtune.cli import show

    if as_json:
        show.as_json({"run": str(run.folder), **run.metrics})
    else:
        show.training(run.metrics, run.folder)
