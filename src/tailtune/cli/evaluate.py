"""``tailtune evaluate``: a saved classifier measured on other labelled texts."""

from __future__ import annotations

from typing import Annotated

import typer

from tailtune.cli.options import Data, LabelColumn, LabelColumns, LabelSeparator, TextColumn
from tailtune.cli.screen import Screen


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("evaluate")(_evaluate)


def _evaluate(
    *,
    classifier: Annotated[str, typer.Argument(metavar="BUNDLE_OR_RUN", help="Folder made by train.")],
    data: Data,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    label_separator: LabelSeparator = None,
    label_columns: LabelColumns = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Measure a saved classifier on labelled texts it has not seen."""
    from tailtune.data.several import LabelForm
    from tailtune.evaluation import evaluate_bundle

    with Screen(quiet=quiet) as screen:
        metrics = evaluate_bundle(
            classifier,
            data,
            text_column=text_column,
            label_column=label_column,
            form=LabelForm.given(label_separator, label_columns),
            progress=screen.progress,
            say=screen.say,
        )
    from tailtune.cli import show

    if as_json:
        show.as_json(metrics)
    else:
        show.evaluation(metrics)
