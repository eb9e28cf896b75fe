"""Results of several seeds put together, row by row, beside what the book prints. Reads no file."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailtune.evaluate.intervals import mcnemar_p, mean_interval, wilson
from tailtune.experiments.results import Result
from tailtune.experiments.settings import Published, Row, SplitName

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """A row beside the first one, on the same test texts with the same seed.

    Attributes:
        points: Its accuracy less that of the first row.
        p: Of the exact McNemar test.
    """

    points: float
    p: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One row on one split.

    Attributes:
        row: Which.
        published: The book's figures for that split.
        seeds: That were run, ascending; none where it was not.
        results: By seed.
        against: The first row, with the lowest seed that both were run with.
    """

    row: Row
    published: Published | None
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    against: Against | None

    def mean(self, part: str, figure: str = "accuracy") -> float | None:
        """Return the mean of a figure over the seeds; None where the row was not run."""
        return statistics.fmean(self.each(part, figure)) if self.results else None

    def each(self, part: str, figure: str = "accuracy") -> list[float]:
        """Return a figure of every seed."""
        return [float(result[part][figure]) for result in self.results]

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval of the mean test accuracy: how far other test texts could move it."""
        if not self.results:
            return None
        rows = int(self.results[0]["test"]["rows"])
        return wilson(round((self.mean("test") or 0.0) * rows), rows)

    @property
    def over_seeds(self) -> Interval | None:
        """95 % interval of the mean test accuracy over seeds: how far other seeds could move it; needs two."""
        return mean_interval(self.each("test")) if len(self.results) > 1 else None

    @property
    def without_copies(self) -> float | None:
        """Mean test accuracy on the texts that are no copies of training texts."""
        counts = [(result["copies"]["correct"], result["copies"]["rows"]) for result in self.results]
        shares = [correct / rows for correct, rows in counts if rows]
        return statistics.fmean(shares) if shares else None

    def as_json(self) -> dict[str, Any]:
        """Return the summary, ready for JSON; null for what was not run or is not printed in the book."""
        parts = ("train", "validation", "test")
        book = self.published
        return {
            "number": self.row.number,
            "name": self.row.name,
            "varies": self.row.varies,
            "corrected": self.row.corrected,
            "flaw": self.row.flaw,
            "book": None
            if book is None
            else {
                **{part: getattr(book, part) for part in parts},
                "interval": list(book.interval),
                "minutes": book.minutes,
            },
            "seeds": list(self.seeds),
            **{part: self.mean(part) for part in parts},
            "test_each": self.each("test"),
            "test_interval": None if self.interval is None else list(self.interval),
            "test_interval_over_seeds": None if self.over_seeds is None else list(self.over_seeds),
            "test_without_copies": self.without_copies,
            "macro_f1": self.mean("test", "macro_f1"),
            "log_loss": self.mean("test", "log_loss"),
            "against_first": None if self.against is None else {"points": self.against.points, "p": self.against.p},
            "learning_rates": [result["learning_rate"] for result in self.results],
            "trained_weights": self.results[0]["trained_weights"] if self.results else None,
            "seconds": [result["seconds"]["total"] for result in self.results],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """All rows on one split of one data set with one model.

    Attributes:
        split: Its name.
        data: Name of the data.
        model: Name of the small model.
        example: A result, for what all have in common.
        summaries: In the order of the table; rows that were not run are among them.
    """

    split: SplitName
    data: str
    model: str
    example: Result
    summaries: tuple[Summary, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the section, ready for JSON."""
        return {
            "split": self.split,
            "data": self.data,
            "model": self.model,
            "rows": [summary.as_json() for summary in self.summaries],
        }


def sections(results: Iterable[Result], rows: Sequence[Row]) -> list[Section]:
    """Return one section for each split and data set among ``results``, models together.

    Args:
        results: Of any rows.
        rows: Those to be shown; a result of a setting that several have is that of each of them.
    """
    grouped: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        place = (result["asked"]["model"], result["depends_on"]["texts"]["data"], result["split"])
        grouped.setdefault(place, []).append(result)
    found = []
    for (model, _, split), held in grouped.items():
        summaries = _summaries(held, [row for row in rows if split in row.splits], split)
        if any(summary.results for summary in summaries):
            section = Section(
                split=held[0]["split"],
                data=held[0]["data"]["name"],
                model=model,
                example=held[0],
                summaries=summaries,
            )
            found.append(section)
    return found


def _summaries(held: Sequence[Result], rows: Sequence[Row], split: str) -> tuple[Summary, ...]:
    by_row = [(row, _of(row, held)) for row in rows]
    first = next((own for row, own in by_row if row.number == "1"), ())
    return tuple(
        Summary(
            row=row,
            published=_published(row, split, held[0]),
            seeds=tuple(result["seed"] for result in own),
            results=own,
            against=None if row.number == "1" else _against(own, first),
        )
        for row, own in by_row
    )


def _published(row: Row, split: str, example: Result) -> Published | None:
    """The book's figures, where the test part is as large as the book's: other data have none."""
    figures = next((figures for name, figures in row.published.items() if name == split), None)
    return figures if figures is not None and figures.tests == example["test"]["rows"] else None


def _of(row: Row, held: Sequence[Result]) -> tuple[Result, ...]:
    """The results of the row's setting on the row's model, by seed."""
    setting = row.setting.as_json()
    own = [r for r in held if r["depends_on"]["setting"] == setting and r["asked"]["named"] == row.model]
    return tuple(sorted(own, key=lambda result: int(result["seed"])))


def _against(own: Sequence[Result], first: Sequence[Result]) -> Against | None:
    pairs = [(one, other) for one in own for other in first if one["seed"] == other["seed"]]
    if not pairs:
        return None
    one, other = pairs[0]
    right, other_right = (_right(result) for result in (one, other))
    return Against(points=one["test"]["accuracy"] - other["test"]["accuracy"], p=mcnemar_p(right, other_right))


def _right(result: Result) -> np.ndarray[Any, np.dtype[np.bool_]]:
    right = np.ones(int(result["test"]["rows"]), dtype=np.bool_)
    right[result["test_wrong"]] = False
    return right
