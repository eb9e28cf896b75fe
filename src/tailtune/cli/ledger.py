"""``tailtune ledger``: which test parts have been read on this machine, when, and by which run."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("ledger")(_ledger)


def _ledger(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the readings of test parts on this machine; parts with one hash hold the same rows.

    The ledger is a plain file without texts. Who removes it makes this machine forget; runs and bundles keep their own
    record.
    """
    from tailtune.cli import show
    from tailtune.ledger import entries, ledger_file

    found = entries()
    if as_json:
        show.as_json({"file": str(ledger_file()), "readings": [entry.as_json() for entry in found]})
        return
    times: Counter[str] = Counter()
    rows = []
    for entry in found:
        times[entry.part] += 1
        rows.append(
            (entry.date, entry.purpose, entry.run, entry.part[:12], f"{entry.rows:,}", f"{times[entry.part]:,}")
        )
    show.line(str(ledger_file()))
    if rows:
        show.listing(("read at", "for", "run", "test part", "rows", "reading"), rows)
    else:
        show.line("no test part has been read")
