"""Orders of experiments on tiny models and on messages written for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from support.texts import messages
from tailtune.experiments.models import Shelf
from tailtune.experiments.results import Result
from tailtune.experiments.rows import find_rows
from tailtune.experiments.session import Order, plan, run
from tailtune.experiments.settings import SIZES, SplitName


def write_collection(path: Path, *, count: int = 40, copies: int = 0) -> Path:
    """Return ``path``, now holding ``count`` messages as the SMS collection is written, and the first few once more."""
    texts, labels = messages(count)
    lines = [f"{label}\t{text}\n" for text, label in zip(texts, labels, strict=True)]
    path.write_text("".join([*lines, *lines[:copies]]), encoding="utf-8")
    return path


def order_of(
    rows: Sequence[str],
    model: Path,
    data: Path,
    out: Path,
    *,
    splits: tuple[SplitName, ...] = ("bonus",),
    seeds: tuple[int, ...] = (0,),
) -> Order:
    """Return an order in which every size is the same tiny model."""
    sizes = {size: str(model) for size in SIZES[1:]}
    return Order(
        rows=find_rows(rows), model=str(model), data=str(data), splits=splits, seeds=seeds, out=out, sizes=sizes
    )


def run_all(order: Order, store: Path) -> list[Result]:
    """Return the results of an order, features in ``store``."""
    shelf = Shelf(store)
    return list(run(plan(order, shelf), order.out, shelf))
