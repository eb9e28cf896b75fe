"""``tailtune inspect``: what a finished run found out on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tailtune.errors import BundleError


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="What a finished run found out.")
    group.command("depth")(_depth)
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


def _scan(run: Path) -> dict[str, Any]:
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{file}: cannot be read: {error}", hint="give a folder that `tailtune train` made"
        ) from error
    if not isinstance(metrics, dict) or not isinstance(scan := metrics.get("depth_scan"), dict):
        raise BundleError(f"{file}: no depth scan: the depth was given", hint="train with --depth auto")
    return scan
