"""``tailtune bench``: training and inference beside what people use otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tailtune.cli.screen import Screen
from tailtune.config import DEFAULT_MODEL


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("bench")(_bench)


def _bench(
    *,
    data: Annotated[str, typer.Option(metavar="DATA", help="File of labelled texts or public data set.")] = "sms-spam",
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Catalogue name or folder, Llama's family.")
    ] = DEFAULT_MODEL,
    quick: Annotated[bool, typer.Option("--quick", help="Few texts and steps, to see that it works.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Run the reference loops to their end; half an hour.")] = False,
    only: Annotated[Literal["training", "inference", "pass"] | None, typer.Option(help="One part.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = Path("bench/results"),
    table: Annotated[bool, typer.Option("--table", help="Measure nothing; print the results in DIR.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes.")] = False,
) -> None:
    """Measure the reference library, n-grams, onnxruntime and Tailtune side by side; ten minutes on two cores."""
    from tailtune.bench import page
    from tailtune.cli import show

    if table:
        results = page.read_results(out)
    else:
        from tailtune.bench.run import Order, bench

        order = Order(data=data, model=model, quick=quick, whole=whole, only=only)
        with Screen(quiet=quiet) as screen:
            results = bench(order, out, say=screen.say)
    if as_json:
        show.as_json(results)
    else:
        show.line(page.render(results).rstrip())
