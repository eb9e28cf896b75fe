"""What a run has been told already: marks of all its texts and, where its data can still be read, the labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.data.catalog import open_dataset
from tailtune.data.dataset import Dataset
from tailtune.data.several import LabelForm
from tailtune.errors import TailtuneError
from tailtune.ledger import run_folder, seen_marks
from tailtune.progress import Progress, silent
from tailtune.storage import read_json

_LEARNT = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What a run knows.

    Attributes:
        marks: Of the texts of all its parts; empty for a bundle that stands alone.
        texts: All labelled texts; empty where they cannot be read any more.
        learnt: The rows of its training and validation parts; None where they cannot be read any more.
    """

    marks: frozenset[str]
    texts: tuple[str, ...] = ()
    learnt: Dataset | None = None


def known_of(path: Path, *, progress: Progress = silent) -> Known:
    """Return what a run knows; its data counts only where the very bytes are still where they were.

    Args:
        path: A run folder, the bundle inside, or a bundle that stands alone.
        progress: Told about lines read.
    """
    marks = frozenset(mark for part in seen_marks(path).values() for mark in part)
    if not marks:
        return Known(marks=marks)
    folder = run_folder(path)
    try:
        config, split = read_json(folder / "config.json")["config"], read_json(folder / "split.json")
        whole = _dataset(config, progress)
        same = whole.sha256 == split["sha256"]
        rows = {row for part in _LEARNT for row in split[part]}
    except (TailtuneError, OSError, ValueError, KeyError, TypeError):
        return Known(marks=marks)
    if not same:
        return Known(marks=marks)
    learnt = whole.take([at for at, row in enumerate(whole.rows) if row in rows])
    return Known(marks=marks, texts=whole.texts, learnt=learnt)


def _dataset(config: dict[str, Any], progress: Progress) -> Dataset:
    return open_dataset(
        config["data"],
        text_column=config["text_column"],
        label_column=config["label_column"],
        form=LabelForm.given(config["label_separator"], config["label_columns"]),
        progress=progress,
    )
