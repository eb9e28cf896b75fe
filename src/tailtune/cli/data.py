"""``tailtune data``: named public data sets, and what a file of labelled texts has to say about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tailtune.cli.options import Data, LabelColumn, LabelColumns, LabelSeparator, TextColumn
from tailtune.cli.screen import Screen

_NAME = Annotated[str, typer.Argument(metavar="NAME", help="A data set of `tailtune data list`.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_QUIET = Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Named public data sets, and checks of your own files.")
    group.command("list")(_list)
    group.command("pull")(_pull)
    group.command("check")(_check)
    app.add_typer(group, name="data")


def _list(*, as_json: _JSON = False) -> None:
    """List the named data sets."""
    from tailtune.cli import show
    from tailtune.data.catalog import entries

    if as_json:
        known = [
            {
                "name": entry.name,
                "description": entry.description,
                "licence": entry.licence,
                "sources": [source.title for source in entry.sources],
            }
            for entry in entries()
        ]
        show.as_json({"data_sets": known})
    else:
        rows = [(entry.name, entry.licence, entry.description) for entry in entries()]
        show.listing(("name", "licence", "what it is"), rows)


def _pull(
    *,
    name: _NAME,
    again: Annotated[bool, typer.Option("--again", help="Ask the sources even if it is cached.")] = False,
    as_json: _JSON = False,
    quiet: _QUIET = False,
) -> None:
    """Fetch a named data set into the cache and print where it lies."""
    from tailtune.data.catalog import pull

    with Screen(quiet=quiet) as screen:
        named = pull(name, again=again, progress=screen.progress)
        for finding in named.findings:
            screen.say(finding.message)
    from tailtune.cli import show

    if as_json:
        show.as_json({"name": name, "path": str(named.path), "source": named.source, "licence": named.licence})
    else:
        show.line(str(named.path))


def _check(
    *,
    data: Data,
    validation: Annotated[
        str | None, typer.Option(metavar="FILE", help="The validation part, to look for leaks.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="The test part, to look for leaks.")] = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    label_separator: LabelSeparator = None,
    label_columns: LabelColumns = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Count lengths in the tokens of this model.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT.csv", help="Write a cleaned copy; DATA is not touched.")
    ] = None,
    as_json: _JSON = False,
    quiet: _QUIET = False,
) -> None:
    """Say all that is to be known of DATA, the worst first; exit code 3 if training would stop there."""
    from tailtune.data.catalog import locate
    from tailtune.data.check import require_trainable
    from tailtune.data.clean import require_new_csv, write_clean
    from tailtune.data.columns import Wanted
    from tailtune.data.review import review
    from tailtune.data.several import LabelForm

    with Screen(quiet=quiet) as screen:
        if fix is not None:
            require_new_csv(fix, locate(data, screen.progress).path)
        wanted = Wanted(
            text_column=text_column,
            label_column=label_column,
            others=() if fix is None else None,
            label_form=LabelForm.given(label_separator, label_columns),
        )
        parts = review(data, validation=validation, test=test, wanted=wanted, model=model, progress=screen.progress)
        cleaned = None if fix is None else write_clean(parts[0].dataset, fix)
    from tailtune.cli import findings

    if as_json:
        findings.as_json(parts, cleaned)
    else:
        findings.for_people(parts, cleaned)
    require_trainable(parts[0].dataset)
