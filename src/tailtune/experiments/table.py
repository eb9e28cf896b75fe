"""The experiments as a page of Markdown: a pure function of the results, so that no figure on it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tailtune.experiments.models import FAMILIES
from tailtune.experiments.plot import file_name
from tailtune.experiments.rows import EXERCISES
from tailtune.experiments.settings import SIZES, Row
from tailtune.experiments.splits import ABOUT
from tailtune.experiments.summary import Interval, Section, Summary
from tailtune.report.markdown import escape, table
from tailtune.report.words import ABSENT

_NOTES = (
    "Book: as printed, for one seed and without an interval; the interval here follows from the number of test texts. "
    "Here: the mean over the seeds with the 95 % Wilson interval of such a share, which says how far other test texts "
    "could move it; after ± half the 95 % interval of the mean over seeds. *Copies out*: without the test texts that "
    "are training texts too, letter for letter. *Against row 1*: points, and the p value of the exact McNemar test on "
    "the same texts with the same seed, the lowest; most differences below two points are noise.",
    "Rows with a letter are not in the book: they stand beside a row that is flawed, put right. An epoch here sees "
    "every training text; the book leaves out its last batch when that is not full.",
)


def render(found: Sequence[Section]) -> str:
    """Return the page.

    Args:
        found: At least one section.
    """
    pieces = [
        "# The chapter's experiments",
        "Written by `tailtune experiments --table`; `make experiments` runs what is missing.",
        *_NOTES,
    ]
    for section in found:
        pieces += _section(section)
    pieces += ["## What is wrong with rows of the book", _flaws(found)]
    return "\n\n".join(pieces) + "\n"


def _section(section: Section) -> Iterator[str]:
    example = section.example
    yield f"## {escape(section.model)} on {escape(section.data)}: {section.split}"
    rows = " / ".join(f"{example[part]['rows']:,}" for part in ("train", "validation", "test"))
    copied = example["copies"]["copied"]
    yield (
        f"{ABOUT[section.split].capitalize()}: {rows} texts (sha256 {example['data']['sha256'][:12]}); {copied} test "
        f"texts are copies of training texts. {_machine(section)}"
    )
    yield f"![test accuracy, row by row]({file_name(section)})"
    yield table(_ACCURACY, [_accuracy(summary) for summary in section.summaries])
    yield table(_COST, [_cost(summary) for summary in section.summaries if summary.results])
    missing = [summary.row for summary in section.summaries if not summary.results]
    if missing:
        yield "Not run:\n\n" + "\n".join(f"- {_missing(row, section.model)}" for row in missing)
    if exercises := list(_exercises(section)):
        yield "### Exercises\n\n" + "\n".join(exercises)


def _machine(section: Section) -> str:
    machine = section.example["machine"]
    versions = machine["versions"]
    return (
        f"{escape(machine['processor'])}, {machine['threads']} threads; tailtune {versions['tailtune']}, "
        f"torch {versions['torch']}."
    )


_ACCURACY = (
    *("row", "what varies", "book: train", "validation", "test", "here: train", "validation", "test", "copies out"),
    *("macro F1", "seeds", "against row 1"),
)


def _accuracy(summary: Summary) -> list[str]:
    book = summary.published
    cells = [f"{summary.row.number}", escape(summary.row.varies)]
    if book is None:
        cells += [ABSENT] * 3
    else:
        cells += [_share(book.train), _share(book.validation), _with_interval(book.test, book.interval)]
    if not summary.results:
        return cells + [ABSENT] * 7
    cells += [_share(summary.mean(part)) for part in ("train", "validation")]
    spread = summary.over_seeds
    test = _with_interval(summary.mean("test"), summary.interval)
    cells.append(test if spread is None else f"{test} ± {50 * (spread[1] - spread[0]):.1f}")
    f1 = summary.mean("test", "macro_f1")
    cells += [_share(summary.without_copies), ABSENT if f1 is None else f"{f1:.3f}", str(len(summary.seeds))]
    against = summary.against
    cells.append(ABSENT if against is None else f"{100 * against.points:+.1f}, p = {against.p:.2g}")
    return cells


_COST = ("row", "learning rate", "trained weights", "tokens read", "of them text", "pass s", "training s", "book min")


def _cost(summary: Summary) -> list[str]:
    result = summary.results[0]
    tokens, seconds, book = result["tokens"], result["seconds"], summary.published
    return [
        summary.row.number,
        ", ".join(dict.fromkeys(_number(each["learning_rate"], "g") for each in summary.results)),
        *(_number(value, ",") for value in (result["trained_weights"], tokens["read"], tokens["real"])),
        *(_number(seconds.get(stage), ",.1f") for stage in ("pass", "training")),
        ABSENT if book is None or book.minutes is None else f"{book.minutes:.2f}",
    ]


def _missing(row: Row, model: str) -> str:
    command = f"`tailtune experiments --rows {row.number} --model {escape(model)}`"
    said = f"{row.number} {escape(row.varies)}"
    family = next((family for family in FAMILIES if model in family), ())
    place = SIZES.index(row.setting.size)
    if row.model is not None:
        return f"{said}: weights of {escape(row.model)} not at hand; then {command}"
    if place and place < len(family):
        return f"{said}: weights not at hand; `tailtune models pull {family[place]}`, then {command}"
    if place:
        size = row.setting.size
        return f"{said}: no {size} size in the catalogue; {command[:-1]} --sizes {size}=MODEL`"
    return f"{said}: {command}"


def _exercises(section: Section) -> Iterator[str]:
    """The answers to the chapter's exercises on one split, where both rows were run."""
    known = {summary.row.number: summary for summary in section.summaries if summary.results}
    for exercise, (first, other) in EXERCISES.items():
        if first in known and other in known:
            one, two = known[first], known[other]
            against = two.against
            told = "" if against is None else f" ({100 * against.points:+.1f} points, p = {against.p:.2g})"
            yield (
                f"- {exercise}, {escape(two.row.varies)}: {_share(two.mean('test'))} beside {_share(one.mean('test'))}"
                f"{told}. The book sets its figure, from one split, beside that of another."
            )


def _flaws(found: Sequence[Section]) -> str:
    flawed = {summary.row.number: summary.row for section in found for summary in section.summaries if summary.row.flaw}
    return "\n".join(f"- **{number}, {escape(row.varies)}**: {escape(row.flaw)}." for number, row in flawed.items())


def _number(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form)


def _share(share: float | None) -> str:
    return ABSENT if share is None else f"{100 * share:.2f}"


def _with_interval(share: float | None, interval: Interval | None) -> str:
    if share is None or interval is None:
        return _share(share)
    return f"{_share(share)} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
