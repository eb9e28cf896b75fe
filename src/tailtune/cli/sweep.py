"""``tailtune sweep``: settings tried on the validation part; takes the flags of train for what is not varied."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from tailtune.cli.screen import Screen
from tailtune.cli.train import setting_parameters
from tailtune.resolving import resolve
from tailtune.settings import parse_seconds

_HELP = """Try settings of train on DATA and keep the best on the validation part; the test part is not read.

All trials share one split and the stored features, so most cost a fit alone.
The same command goes on with a sweep that was interrupted.

Flags of train fix a setting; --vary and --space vary it: --vary learning-rate=1e-5..1e-3:log --vary blocks=1,2,3.
Without either the settings of the method are varied that matter most.
"""
_PANEL = "Sweep"
# Those of train that are no setting of a trial.
_NOT_HERE = ("out", "folds")
_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    def command(**given: Any) -> None:
        _sweep(given)

    command.__signature__ = inspect.Signature(_parameters())  # type: ignore[attr-defined]
    app.command("sweep", help=_HELP)(command)


def _parameters() -> list[inspect.Parameter]:
    def option(*names: str, about: str, metavar: str | None = None, default: bool = False) -> Any:
        return typer.Option(*names, metavar=metavar, help=about, rich_help_panel=_PANEL, show_default=default)

    space = option("--space", metavar="FILE", about="TOML file of what is varied, a setting per line.")
    vary = option("--vary", metavar="NAME=VALUES", about="low..high[:log][:step=S], a,b,c or auto; may be repeated.")
    trials = option("--trials", metavar="N", about="Trials that the study is to hold in all.", default=True)
    timeout = option("--timeout", metavar="TIME", about="Begin no trial after so long, such as 10m or 2h.")
    workers = option("--workers", metavar="N", about="Trials at once, each in a process of its own.", default=True)
    objective = option("--objective", about="What is judged by, on the validation part.", default=True)
    prune = option("--prune/--no-prune", about="End a tail that is worse than most after as many epochs.", default=True)
    study = option("--study", metavar="FILE", about="Where the trials are kept (default: study.db in --out).")
    out = option("--out", metavar="DIR", about="Folder of the result (default: runs/<data>-sweep).")
    best = option("--train-best", about="Train with the best settings at last; this reads the test part, once.")
    file = option("--config", metavar="FILE", about="TOML file with settings of train that are not varied.")
    json = option("--json", about="Print the result as one JSON object.")
    own: dict[str, tuple[Any, Any]] = {
        "space": (Annotated[Path | None, space], None),
        "vary": (Annotated[list[str] | None, vary], None),
        "trials": (Annotated[int, trials], 30),
        "timeout": (Annotated[str | None, timeout], None),
        "workers": (Annotated[int, workers], 1),
        "objective": (Annotated[Literal["log-loss", "accuracy", "macro-f1"], objective], "log-loss"),
        "prune": (Annotated[bool, prune], True),
        "study": (Annotated[Path | None, study], None),
        "out": (Annotated[Path | None, out], None),
        "train_best": (Annotated[bool, best], False),
        "config": (Annotated[Path | None, file], None),
        "as_json": (Annotated[bool, json], False),
    }
    kind = inspect.Parameter.KEYWORD_ONLY
    data, *others = setting_parameters(without=_NOT_HERE)
    return [
        inspect.Parameter("context", kind, annotation=typer.Context),
        data,
        *(inspect.Parameter(name, kind, annotation=about, default=value) for name, (about, value) in own.items()),
        *others,
    ]


def _sweep(given: dict[str, Any]) -> None:
    context, file, as_json = given.pop("context"), given.pop("config"), given.pop("as_json")
    own = {name: given.pop(name) for name in ("space", "trials", "workers", "study", "out", "prune", "train_best")}
    vary, timeout, objective = given.pop("vary"), given.pop("timeout"), given.pop("objective")
    seconds = None if timeout is None else parse_seconds(timeout, "--timeout")
    resolved = resolve(given, file)
    from tailtune.sweep.run import Order, sweep

    order = Order(
        resolved=resolved,
        vary=tuple(vary or ()),
        seconds=seconds,
        objective=cast("Any", objective),
        command=context.obj,
        **own,
    )
    with Screen(quiet=resolved.config.quiet) as screen:
        swept = sweep(order, progress=screen.progress, say=screen.say)
    from tailtune.cli import show

    if as_json:
        run = {} if swept.run is None else {"run": str(swept.run.folder)}
        show.as_json({"folder": str(swept.folder), **run, **swept.result})
        return
    _show(swept.result, swept.folder)
    if swept.run is not None:
        show.line("")
        show.training(swept.run.metrics, swept.run.folder)
    else:
        show.line(f"next: tailtune train --config {shlex.quote(str(swept.folder / 'best.toml'))}")


def _show(result: Mapping[str, Any], folder: Path) -> None:
    from tailtune.cli import show
    from tailtune.sweep.words import TITLES, trials_line, varied_text, verdict, worth_lines

    sign = 1 if result["smaller_is_better"] else -1
    complete = [trial for trial in result["trials"] if trial["state"] == "complete"]
    complete.sort(key=lambda trial: sign * trial["scores"][result["objective"]])
    rows = [
        (str(trial["trial"]), *(f"{trial['scores'][name]:.4f}" for name in TITLES), varied_text(trial["varied"]))
        for trial in complete[:_SHOWN]
    ]
    if (given := result["given"]) and given["scores"]:
        rows.append(("-", *(f"{given['scores'][name]:.4f}" for name in TITLES), "nothing varied"))
    show.listing(("trial", *TITLES.values(), "settings"), rows)
    for line in ("", f"{trials_line(result)}.", verdict(result)[0], *worth_lines(result)):
        show.line(line)
    show.line(f"best settings: {folder / 'best.toml'}")
    show.line(f"report: {folder / 'report.html'}")
