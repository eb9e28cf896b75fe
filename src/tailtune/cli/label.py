"""``tailtune label``: give labels in the terminal, the texts that teach most first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tailtune.cli.options import TextColumn
from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("label")(_label)


def _label(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Texts to label: CSV, TSV, Parquet, JSON, lines.")],
    labels: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Labels that may be given (default: those of the run)."),
    ] = None,
    classifier: Annotated[
        str | None, typer.Option("--with", metavar="RUN", help="Run or bundle that guesses; its texts are left out.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Without a run: the model that compares texts.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Answers; gone on with (default: FILE-labelled.csv).")
    ] = None,
    every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Learn from the answers after every N of them; 0 for never.")
    ] = 10,
    text_column: TextColumn = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Label the texts of FILE one by one, those first that teach most; each answer is saved at once.

    Keys: the number of a label or its name, s to skip, u to undo, q to quit. Start again to go on. The answers are a
    CSV that `tailtune train` reads.
    """
    names = [name.strip() for name in labels.split(",")] if labels else []
    if not all(names):
        raise ConfigError(f"--labels {labels!r}: expected names with a comma between them, such as spam,ham")
    if classifier is not None and model is not None:
        raise ConfigError(f"--model {model}: the run brings its own model", hint="leave one of them out")
    from tailtune.cli.asking import Asker, Keys, ask, at_once
    from tailtune.cli.texts import read_unlabelled
    from tailtune.config import default_model
    from tailtune.labelling.session import open_session

    with Screen(quiet=quiet) as screen:
        session = open_session(
            read_unlabelled(file, text_column, screen.progress),
            out or file.with_name(f"{file.stem}-labelled.csv"),
            names=names,
            classifier=classifier,
            model=None if classifier else model or default_model(),
            every=every,
            seed=seed,
            progress=screen.progress,
            say=screen.say,
        )
    try:
        with Keys(sys.stdin, at_once(session.labels.names), sys.stdout) as keys:
            ask(session, keys, Asker(sys.stdout))
    finally:
        print(f"\n{len(session.answers.answers):,} answers in {session.answers.path}")
