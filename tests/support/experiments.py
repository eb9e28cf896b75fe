"""Orders of experiments on tiny models and on messages written for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from support.texts import messages
from tailtune.evaluate.intervals import wilson
from tailtune.experiments.models import Shelf
from tailtune.experiments.results import FORMAT, Result
from tailtune.experiments.rows import all_rows, find_rows
from tailtune.experiments.session import Order, plan, run
from tailtune.experiments.settings import SIZES, SplitName


def write_collection(path: Path, *, count: int = 40, copies: int = 0) -> Path:
    """Return ``path``, now holding ``count`` messages as the SMS collection is written, and the first few once more."""
    texts, labels = messages(count)
    lines = [f"{label}\t{text}\n" for text, label in zip(texts, labels, strict=True)]
    path.write_text("".join([*lines, *lines[:copies]]), encoding="utf-8")
    return path


def result_of(
    number: str, *, correct: int, split: str = "bonus", seed: int = 0, copied: int = 0, model: str = "gpt2"
) -> Result:
    """Return a result of a row as it is written, with so many of 300 test texts right, the first ones wrong.

    Args:
        number: Of the row.
        correct: Right answers.
        split: Under which.
        seed: Of head and order.
        copied: Test texts that are copies; the last ones, so right.
        model: Asked for.
    """
    row = next(row for row in all_rows() if row.number == number)
    low, high = wilson(correct, 300)
    part = {"rows": 300, "correct": correct, "accuracy": correct / 300, "interval": [low, high]}
    scores = {**part, "macro_f1": correct / 300, "log_loss": 0.5}
    return {
        "key": f"{number}-{split}-{seed}",
        "depends_on": {"format": FORMAT, "setting": row.setting.as_json(), "texts": {"data": "d" * 64}},
        "asked": {"model": model, "named": row.model},
        "split": split,
        "seed": seed,
        "data": {"name": "sms-spam", "sha256": "d" * 64},
        "train": scores,
        "validation": scores,
        "test": scores,
        "test_wrong": list(range(300 - correct)),
        "copies": {"copied": copied, "rows": 300 - copied, "correct": correct - copied},
        "learning_rate": 5e-5,
        "trained_weights": 12_834,
        "tokens": {"read": 1_200, "real": 300},
        "seconds": {"pass": 1.5, "training": 2.25, "total": 4.0},
        "machine": {"processor": "a processor", "threads": 2, "versions": {"tailtune": "0.1.0", "torch": "2"}},
    }


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
