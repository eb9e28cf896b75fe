"""``tailtune inspect``: what a finished run found out on its way, and what answers in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tailtune.errors import BundleError


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="What a finished run found out.")
    group.command("depth")(_depth)
    group.command("parts")(_parts)
    app.add_typer(group, name="inspect")


def _depth(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or bundle made by train.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw the depth curve of a run: score and cost of every depth, and where it was cut."""
    scan = _scan(run)
    from tailtune.cli import show

    if as_json:
        show.as_json(scan)
    else:
        show.depths(scan)


def _parts(
    *,
    classifier: Annotated[Path, typer.Argument(metavar="CLASSIFIER", help="Bundle or run folder made by train.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what answers in a saved classifier: the language model, n-grams and others, each with its weight."""
    within = classifier / "bundle"
    folder = within if (within / "bundle.json").is_file() else classifier
    manifest = _read(folder / "bundle.json")
    try:
        parts = list(_listed(manifest))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}: does not hold a classifier: {error!r}", hint="train again") from error
    from tailtune.cli import show

    if as_json:
        show.as_json({"parts": [{"name": name, "weight": weight} for name, weight in parts]})
    else:
        show.listing(("part", "weight"), [(name, f"{weight:.3g}") for name, weight in parts])


def _listed(manifest: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and weight of each part, those of weight 0 left out."""
    described = manifest["classifier"]
    own, members = described.get("own", described), described.get("members", [])
    weights = described.get("weights", [1.0])
    depth = own["depths"][-1] if "depths" in own else own.get("first", 0) + own.get("blocks", 0)
    model = (manifest["about"].get("model") or {}).get("name", "the model")
    names = [f"{model} {own['method']} at depth {depth}", *(member["name"] for member in members)]
    yield from ((name, weight) for name, weight in zip(names, weights, strict=True) if weight)


def _scan(run: Path) -> dict[str, Any]:
    file = run / "metrics.json"
    metrics = _read(file)
    if not isinstance(scan := metrics.get("depth_scan"), dict):
        raise BundleError(f"{file}: no depth scan: the depth was given", hint="train with --depth auto")
    return scan


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{file}: cannot be read: {error}", hint="give a folder that `tailtune train` made"
        ) from error
    return content if isinstance(content, dict) else {}
