"""``tailtune compare``: finished runs side by side, tested in pairs where their test rows are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("compare")(_compare)


def _compare(
    *,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders made by train.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Set runs side by side, with a paired test where they were tested on the same rows."""
    from tailtune.compare import compare

    found = compare(runs)
    from tailtune.cli import show

    if as_json:
        show.as_json(found)
    else:
        show.comparison(found)
