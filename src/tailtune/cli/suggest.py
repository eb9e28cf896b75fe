"""``tailtune suggest``: which texts to label next, shown or as a file for people and labelling tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from tailtune.cli.options import TextColumn
from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError

if TYPE_CHECKING:
    from tailtune.labelling.formats import Format
    from tailtune.labelling.suggest import Suggestions

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("suggest")(_suggest)


def _suggest(
    *,
    paths: Annotated[
        list[str], typer.Argument(metavar="[RUN_OR_BUNDLE] UNLABELLED", help="Folder made by train, if any; the texts.")
    ],
    count: Annotated[int, typer.Option(metavar="N", help="How many texts.")] = 50,
    by: Annotated[
        Literal["uncertainty", "margin", "entropy", "diversity", "both"] | None,
        typer.Option(help="What makes a text worth a label (default: both; diversity where nothing is trained yet)."),
    ] = None,
    labelled: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Texts with labels beside those of the run; can be given several times."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Without a run: the model that compares texts.")
    ] = None,
    text_column: TextColumn = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the texts to this new file.")] = None,
    form: Annotated[
        Literal["csv", "jsonl", "label-studio", "argilla", "argilla-1"] | None,
        typer.Option("--format", help="Of the file, or of what is printed (default: by the file's name)."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same texts.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Choose the texts to label next: uncertain ones that are unlike each other, or typical ones before any training.

    Texts that the run has seen, near duplicates of those and blank ones are left out; of near duplicates among the
    others one is asked.
    """
    classifier, file = _places(paths, model)
    wanted = _format(form, out)
    from tailtune.cli.texts import read_unlabelled
    from tailtune.config import default_model
    from tailtune.data.read import read_texts
    from tailtune.labelling.suggest import suggest

    with Screen(quiet=quiet) as screen:
        found = suggest(
            read_unlabelled(file, text_column, screen.progress),
            classifier=classifier,
            model=None if classifier else model or default_model(),
            labelled=[text for path in labelled or () for text in read_texts(path).texts],
            count=count,
            by=by,
            seed=seed,
            progress=screen.progress,
            say=screen.say,
        )
        if wanted == "label-studio" and found.labels is not None:
            from tailtune.labelling.formats import label_studio_config

            screen.say(f"labelling interface for Label Studio: {label_studio_config(found.labels)}")
    _show(found, wanted, out)


def _show(found: Suggestions, form: Format | None, out: Path | None) -> None:
    """Write the suggestions where they were asked for."""
    from tailtune.cli import show
    from tailtune.cli.asking import show_suggestions
    from tailtune.labelling.formats import render
    from tailtune.storage import write_text

    if form is None:
        show_suggestions(found)
    elif out is None:
        print(render(found, form), end="")
    else:
        write_text(out, render(found, form))
        show.line(f"{len(found.rows)} texts in {out}")


def _places(paths: list[str], model: str | None) -> tuple[str | None, Path]:
    """The run or bundle, if there is one, and the file of texts."""
    if len(paths) > 2:
        raise ConfigError(f"expected a run and a file, got {len(paths)} names", hint="put all texts into one file")
    if len(paths) == 2 and model is not None:
        raise ConfigError(f"--model {model}: the run brings its own model", hint="leave one of them out")
    return (paths[0] if len(paths) == 2 else None), Path(paths[-1])


def _format(form: str | None, out: Path | None) -> Format | None:
    if out is not None and out.exists():
        raise ConfigError(f"--out {out}: exists already", hint="nothing is overwritten: name a new file")
    if form is not None or out is None:
        return cast("Format | None", form)
    if out.suffix.casefold() not in _SUFFIXES:
        raise ConfigError(f"--out {out}: the form is not clear from the name", hint="say it with --format")
    return _SUFFIXES[out.suffix.casefold()]
