"""``tailtune experiments``: the chapter's bonus experiments, run or resumed, beside the book's figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tailtune.cli.screen import Screen, clock_text
from tailtune.config import default_model
from tailtune.errors import ConfigError

if TYPE_CHECKING:
    from tailtune.experiments.results import Result
    from tailtune.experiments.session import Order
    from tailtune.experiments.settings import Row, SplitName

_SPLITS = {"both": ("bonus", "leak-free"), "all": ("chapter", "bonus", "leak-free")}
_OUT = Path("runs/experiments")


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="The chapter's bonus experiments beside the book's figures.", invoke_without_command=True)
    group.callback()(_experiments)
    group.command("list")(_list)
    app.add_typer(group, name="experiments")


def _list(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the rows: what each varies, what the book prints, what is wrong with it."""
    from tailtune.cli import show
    from tailtune.experiments.rows import all_rows

    rows = all_rows()
    if as_json:
        show.as_json({"rows": [_described(row) for row in rows]})
        return
    listed = []
    for row in rows:
        printed = next(iter(row.published.values()), None)
        listed.append((row.number, row.name, row.varies, "-" if printed is None else f"{100 * printed.test:.2f}"))
    show.listing(("row", "name", "what varies", "book: test, %"), listed)


def _described(row: Row) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "number": row.number,
        "name": row.name,
        "varies": row.varies,
        "setting": row.setting.as_json(),
        "model": row.model,
        "splits": list(row.splits),
        "book": {split: asdict(figures) for split, figures in row.published.items()},
        "flaw": row.flaw,
    }


def _experiments(
    context: typer.Context,
    *,
    rows: Annotated[
        str | None, typer.Option(metavar="1,4,16", help="Numbers or names; 6.1 to 6.3 are the exercises, or 'imdb'.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="The small size.")] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="medium=MODEL,...", help="Other sizes, beside those of the catalogue.")
    ] = None,
    data: Annotated[str, typer.Option(metavar="DATA", help="File or public data set.")] = "sms-spam",
    split: Annotated[
        Literal["chapter", "bonus", "leak-free", "both", "all"],
        typer.Option(help="'bonus' is that of the book's table; 'both': that and the one without leaks."),
    ] = "both",
    seeds: Annotated[str, typer.Option(metavar="0,1,2", help="Of head and order of texts.")] = "0",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results; what is there is not run again.")
    ] = _OUT,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch weights that are not here.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Run nothing; print the results in DIR as Markdown.")] = False,
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the plots of the table there.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run nothing; say about how long it would take.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Run the chapter's experiments, one by one or all; those whose results are in DIR already are left out."""
    if context.invoked_subcommand is not None:
        return
    from tailtune.experiments.rows import all_rows, find_rows

    chosen = find_rows([word.strip() for word in (rows or "").split(",") if word.strip()])
    if table:
        _show(out, all_rows() if rows is None else chosen, plots, as_json=as_json)
        return
    if rows is None and not everything:
        raise ConfigError("which experiments?", hint="--rows 1,4,16, or --all; `tailtune experiments list` shows them")
    from tailtune.experiments.models import parse_sizes
    from tailtune.experiments.session import Order

    order = Order(
        rows=chosen,
        model=model or default_model(),
        data=data,
        splits=_splits(split, chosen),
        seeds=_seeds(seeds),
        out=out,
        sizes=parse_sizes(sizes),
        fetch=fetch,
    )
    with Screen(quiet=quiet) as screen:
        if dry_run:
            _estimate(order, screen, as_json=as_json)
            return
        _run(order, screen)
    _show(out, chosen, out if plots is None else plots, as_json=as_json)


def _splits(asked: str, rows: Sequence[Row]) -> tuple[SplitName, ...]:
    """Those asked for; the film reviews have one of their own."""
    wanted = _SPLITS.get(asked, (asked,))
    known = dict.fromkeys(name for row in rows for name in row.splits)
    return tuple(name for name in known if name in wanted or name == "imdb")


def _seeds(given: str) -> tuple[int, ...]:
    words = [word.strip() for word in given.split(",") if word.strip()]
    if not words or not all(word.isdigit() for word in words):
        raise ConfigError(f"--seeds {given}: expected whole numbers with commas between, such as 0,1,2")
    return tuple(dict.fromkeys(map(int, words)))


def _run(order: Order, screen: Screen) -> None:
    from tailtune.experiments.models import Shelf
    from tailtune.experiments.session import plan, run
    from tailtune.storage import cache_home

    shelf = Shelf(cache_home() / "features", screen.progress)
    jobs = plan(order, shelf, screen.progress)
    for result in run(jobs, order.out, shelf, say=screen.say, progress=screen.progress):
        screen.say(_line(result))


def _line(result: Result) -> str:
    test = result["test"]
    low, high = test["interval"]
    return (
        f"  test {100 * test['accuracy']:.2f} % ({100 * low:.1f} to {100 * high:.1f}), {test['correct']} of "
        f"{test['rows']}, {clock_text(result['seconds']['total'])}"
    )


def _estimate(order: Order, screen: Screen, *, as_json: bool) -> None:
    from tailtune.cli import show
    from tailtune.experiments.cost import estimate
    from tailtune.experiments.models import Absent, Shelf
    from tailtune.experiments.session import plan
    from tailtune.storage import cache_home

    found = estimate(plan(order, Shelf(cache_home() / "features", screen.progress), screen.progress))
    total = sum(cost.seconds for cost in found)
    if as_json:
        jobs = [
            {
                "row": cost.job.row.number,
                "split": cost.job.texts.name,
                "seed": cost.job.seed,
                "status": cost.status,
                "tokens": cost.tokens,
                "pass_seconds": float(f"{cost.pass_seconds:.2g}"),
                "training_seconds": float(f"{cost.training_seconds:.2g}"),
            }
            for cost in found
        ]
        show.as_json({"jobs": jobs, "seconds": float(f"{total:.2g}")})
        return
    rows = [
        (
            f"{cost.job.row.number} {cost.job.row.name}",
            cost.job.texts.name,
            str(cost.job.seed),
            f"{cost.tokens:,}" if cost.tokens else "-",
            clock_text(cost.pass_seconds) if cost.pass_seconds else "-",
            clock_text(cost.training_seconds) if cost.tokens else cost.status,
        )
        for cost in found
        if not isinstance(cost.job.model, Absent)
    ]
    if rows:
        show.listing(("row", "split", "seed", "tokens", "pass", "training"), rows)
    for note in dict.fromkeys(cost.job.absence for cost in found if isinstance(cost.job.model, Absent)):
        show.line(f"not here: {note}")
    show.line(
        f"about {clock_text(total)} in all, if nothing is stored yet; a pass is kept piece by piece, so one that is "
        "interrupted goes on where it was"
    )


def _show(out: Path, rows: Sequence[Row], plots: Path | None, *, as_json: bool) -> None:
    from tailtune.cli import show
    from tailtune.experiments.plot import draw, file_name
    from tailtune.experiments.results import read_all
    from tailtune.experiments.summary import sections
    from tailtune.experiments.table import render
    from tailtune.storage import write_text

    found = sections(read_all(out), rows)
    if plots is not None:
        for section in found:
            write_text(plots / file_name(section), str(draw(section)) + "\n")
    if as_json:
        show.as_json({"sections": [section.as_json() for section in found]})
    else:
        show.line(render(found).rstrip())
