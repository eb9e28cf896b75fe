"""``tailtune models``: pretrained language models by name, in Hugging Face layout."""

from __future__ import annotations

from typing import Annotated

import typer

from tailtune.cli.screen import Screen

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_QUIET = Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Pretrained language models.")
    group.command("list")(_list)
    group.command("pull")(_pull)
    group.command("inspect")(_inspect)
    app.add_typer(group, name="models")


def _list(*, as_json: _JSON = False) -> None:
    """List the models of the catalogue; any local Hugging Face folder or hub id works too."""
    from tailtune.cli import show
    from tailtune.models.catalog import entries, is_cached

    known = [
        {
            "name": entry.name,
            "description": entry.description,
            "licence": entry.licence,
            "parameters": entry.parameters,
            "context": entry.context,
            "source": entry.requirement,
            "cached": is_cached(entry.name),
        }
        for entry in entries()
    ]
    if as_json:
        show.as_json({"models": known})
    else:
        rows = [
            (str(item["name"]), str(item["licence"]), "yes" if item["cached"] else "no", str(item["description"]))
            for item in known
        ]
        show.listing(("name", "licence", "here", "what it is"), rows)


def _pull(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Catalogue name or hub id.")],
    as_json: _JSON = False,
    quiet: _QUIET = False,
) -> None:
    """Fetch a model into the cache and print its folder, which transformers loads as it is."""
    from tailtune.models.catalog import resolve

    with Screen(quiet=quiet) as screen:
        path = resolve(name, progress=screen.progress).path
    from tailtune.cli import show

    if as_json:
        show.json_line({"name": name, "path": str(path)})
    else:
        show.line(str(path))


def _inspect(
    *,
    reference: Annotated[str, typer.Argument(metavar="MODEL", help="Catalogue name, local folder or hub id.")],
    as_json: _JSON = False,
) -> None:
    """Show family, depth, width, context and hash of a model."""
    from tailtune.cli import show
    from tailtune.models.catalog import inspect

    facts = inspect(reference)
    if as_json:
        show.as_json(facts)
    else:
        show.facts(facts)
