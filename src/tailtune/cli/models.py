"""``tailtune models``: pretrained language models by name, in Hugging Face layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailtune.cli.cache import size_text
from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError

if TYPE_CHECKING:
    from tailtune.models.sources.catalog import KeptModel
    from tailtune.models.sources.entries import Entry

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_QUIET = Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")]
_FOR = Annotated[
    str | None, typer.Option("--for", metavar="TEXTS", help="About how long it takes here for the texts of this file.")
]
# Products of a width from 256 on come to nearly the same speed: 99 and 101 GFLOP/s at 256 and 1,024.
_USUAL_WIDTH = 1024
_REFERENCE = "Catalogue name, local folder or file, or hub id (org/name, org/name@revision)."


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Pretrained language models.")
    group.command("list")(_list)
    group.command("pull")(_pull)
    group.command("inspect")(_inspect)
    group.command("rm")(_remove)
    app.add_typer(group, name="models")


def _list(*, texts: _FOR = None, as_json: _JSON = False, quiet: _QUIET = False) -> None:
    """List the models of the catalogue; local folders, GGUF files and hub ids work too."""
    from tailtune.cli import show
    from tailtune.models.sources.catalog import entries, kept

    here = kept()
    listed = [_described(entry, here) for entry in entries()]
    made = [model for model in here if model.converted_from]
    if texts is not None:
        with Screen(quiet=quiet) as screen:
            _add_estimates(listed, texts, screen)
    if as_json:
        converted = [
            {
                "name": model.name,
                "sha256": model.converted_from,
                "source": model.source,
                "path": str(model.path),
                "bytes": model.bytes,
            }
            for model in made
        ]
        show.as_json({"models": listed, "converted": converted})
        return
    if texts is not None:
        show.listing(("name", "weights", "here", "one pass", "with a tail"), [_costs(each) for each in listed])
        show.line(_basis(listed, texts))
        return
    show.listing(("name", "weights", "context", "fetch", "here", "from", "licence"), [_row(each) for each in listed])
    if made:
        rows = [(model.name, size_text(model.bytes), model.source) for model in made]
        show.listing(("converted", "here", "from"), rows)


def _described(entry: Entry, here: tuple[KeptModel, ...]) -> dict[str, Any]:
    from tailtune.models.sources.catalog import is_cached

    found = next((model for model in here if model.name == entry.name and not model.converted_from), None)
    return {
        "name": entry.name,
        "description": entry.description,
        "licence": entry.licence,
        "restrictions": entry.restrictions,
        "gated": entry.gated,
        "parameters": entry.parameters,
        "context": entry.context,
        "blocks": entry.blocks,
        "width": entry.width,
        "download_bytes": entry.download_bytes,
        "source": entry.sources[0].title,
        "sources": [source.as_json() for source in entry.sources],
        "cached": is_cached(entry.name),
        "path": str(found.path) if found else None,
        "bytes": found.bytes if found else None,
    }


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry["name"],
        f"{entry['parameters'] / 1e6:,.0f} M",
        f"{entry['context']:,}",
        _short(entry["download_bytes"]),
        _short(entry["bytes"]) if entry["cached"] else "no",
        entry["sources"][0]["kind"],
        entry["licence"] + (", restricted" if entry["restrictions"] else ""),
    )


def _short(size: int) -> str:
    """A size in so few signs that the table fits a terminal of 80 columns."""
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def _add_estimates(listed: list[dict[str, Any]], reference: str, screen: Screen) -> None:
    """Say of each model about how long it takes; one measurement of this machine serves all."""
    from tailtune.estimate import distinct_texts, estimate_entry, speed
    from tailtune.models.sources.catalog import entries

    texts = distinct_texts(reference, screen.progress)
    operations_per_second = speed(_USUAL_WIDTH)
    for described, entry in zip(listed, entries(), strict=True):
        described["estimate"] = estimate_entry(entry, texts, operations_per_second).as_json()


def _costs(entry: dict[str, Any]) -> tuple[str, ...]:
    found = entry["estimate"]
    return (
        entry["name"],
        f"{entry['parameters'] / 1e6:,.0f} M",
        "yes" if entry["cached"] else "no",
        _about(found["pass_seconds"]),
        _about(found["tail_seconds"]),
    )


def _basis(listed: list[dict[str, Any]], reference: str) -> str:
    from tailtune.estimate import CHARACTERS_PER_TOKEN

    found = listed[0]["estimate"]
    return (
        f"estimates for {found['texts']:,} texts of {reference}, in fp32 at {found['gflops']:g} GFLOP/s of plain "
        f"products here; a tail is 5 epochs on 70 % of them; tokens are counted by the models that are here, for "
        f"others one per {CHARACTERS_PER_TOKEN:g} characters"
    )


def _about(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.2g} {unit}"
    return f"about {seconds:.2g} s"


def _pull(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help=_REFERENCE)],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="The licence was read, with its restrictions, and is accepted.")
    ] = False,
    as_json: _JSON = False,
    quiet: _QUIET = False,
) -> None:
    """Fetch a model into the cache and print its folder, which transformers loads as it is."""
    from tailtune.models.sources.catalog import resolve

    with Screen(quiet=quiet) as screen:
        accepted = _accepted(name, screen, accept_licence)
        model = resolve(name, accept_licence=accepted, progress=screen.progress)
        for note in model.notes:
            screen.say(note)
    from tailtune.cli import show

    if as_json:
        show.json_line({"name": name, "path": str(model.path), "source": model.source, "licence": model.licence})
    else:
        show.line(str(model.path))


def _accepted(name: str, screen: Screen, given: bool) -> bool:
    """Say what a restricted licence asks before anything is fetched; on a terminal it can be accepted there."""
    from tailtune.models.sources.catalog import find_entry, is_cached

    entry = find_entry(name)
    if entry is None or not entry.restrictions or is_cached(name):
        return given
    gated = "; gated: the hub asks for HF_TOKEN of an account that has accepted it there" if entry.gated else ""
    screen.say(f"{entry.name}: {entry.licence}, not an open-source one: {entry.restrictions}{gated}")
    return given or (sys.stdin.isatty() and typer.confirm("Do you accept this licence?", err=True))


def _inspect(
    *,
    reference: Annotated[str, typer.Argument(metavar="MODEL", help=_REFERENCE)],
    texts: _FOR = None,
    as_json: _JSON = False,
    quiet: _QUIET = False,
) -> None:
    """Show family, depth, width, context, tokenizer, size in memory and hash of a model."""
    from tailtune.cli import show
    from tailtune.models.sources.facts import inspect

    with Screen(quiet=quiet) as screen:
        facts = inspect(reference, progress=screen.progress)
        if texts is not None:
            facts["estimate"] = _estimated(facts, texts, screen)
    if as_json:
        show.as_json(facts)
    else:
        if texts is not None:
            found = facts["estimate"]
            facts["estimate"] = (
                f"{found['texts']:,} texts, {found['tokens']:,} tokens: one pass {_about(found['pass_seconds'])}, with "
                f"a tail {_about(found['tail_seconds'])}, in fp32 at {found['gflops']:g} GFLOP/s of plain products here"
            )
        show.facts(facts)


def _estimated(facts: dict[str, Any], reference: str, screen: Screen) -> dict[str, Any]:
    from tailtune.estimate import distinct_texts, estimate_folder, speed
    from tailtune.models.sources.catalog import find_entry

    texts = distinct_texts(reference, screen.progress)
    folder, entry = Path(facts["path"]), find_entry(facts["name"])
    return estimate_folder(folder, texts, speed(facts["width"]), entry=entry).as_json()


def _remove(
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Catalogue name, or the file that a converted model was made of.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: _JSON = False,
) -> None:
    """Remove a model from the cache; files of your own and the hub's cache are not touched."""
    from tailtune.cli import show
    from tailtune.models.sources.catalog import find_kept, remove

    model = find_kept(name)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"{model.path}: {size_text(model.bytes)} would be removed", hint="add --yes")
        typer.confirm(f"Remove {model.path}, {size_text(model.bytes)}?", abort=True, err=True)
    remove(model)
    if as_json:
        show.json_line({"removed": model.name, "path": str(model.path), "freed_bytes": model.bytes})
    else:
        show.line(f"removed {model.name}, freed {size_text(model.bytes)}")
