"""``tailtune try``: type a text, see what a classifier says of it and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tailtune.cli.screen import Screen


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("try")(_try)


def _try(
    *,
    classifier: Annotated[str, typer.Argument(metavar="RUN", help="Run folder or bundle.")],
    highlights: Annotated[
        bool, typer.Option("--highlights/--no-highlights", help="Show which words each answer hangs on; slower.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Type or paste texts and see every category's probability, the words that count, and why there is no answer.

    :help lists what else can be asked for: a threshold, a file, the report, the model card. Where texts come through a
    pipe, each line is a text.
    """
    from tailtune.cli.trying import Prompt, Trial, answer_lines, try_out
    from tailtune.predict import Predictor

    with Screen(quiet=quiet) as screen:
        predictor = Predictor.load(classifier)
        trial = Trial.of(predictor, Path(classifier), screen, highlights=highlights)
        if sys.stdin.isatty():
            trial.greet()
            try_out(trial, Prompt())
        else:
            answer_lines(trial)
