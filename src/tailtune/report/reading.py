"""How often the test rows have been read, in words, from the contents of metrics.json; for the screen and the report.

The texts are plain: the report escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailtune.report.words import Metrics, one_line, part, percents

_LEAKS = {
    "train": "repeat training texts of this run (a leak: the scores flatter)",
    "validation": "repeat texts that this run chose by (the scores flatter)",
    "test": "are test rows of this run (no new evidence)",
}


def reading_line(metrics: Metrics) -> str:
    """Return when the test rows were read, how often before, and what that does to the numbers; empty if unknown."""
    test = part(metrics, "test")
    reading = part(test, "reading")
    moment = test.get("read_at")
    if not moment:
        return ""
    if folds := part(metrics, "folds").get("count"):
        again = f"{_before(reading)}{worth_line(reading)}" if reading.get("nth", 1) > 1 else ""
        return f"{_in_folds(metrics, folds, one_line(moment))} {again}".rstrip() + _partly(reading)
    rows = f"{test['rows']:,} test rows" if isinstance(test.get("rows"), int) else "test rows"
    if reading.get("nth", 1) == 1:
        first = "; no earlier reading of them is known on this machine" if reading.get("recorded") else ""
        return (
            f"The {rows} were read once, at {one_line(moment)}, after every choice was made{first}.{_partly(reading)}"
        )
    said = f"The {rows} were read at {one_line(moment)}, after every choice of this run was made. {_before(reading)}"
    return f"{said}{worth_line(reading)}{_partly(reading)}"


def _in_folds(metrics: Metrics, folds: int, moment: str) -> str:
    return (
        f"Each of {part(metrics, 'test')['rows']:,} rows was tested once, from {moment} on, by one of {folds} "
        "classifiers that had seen neither it nor its near duplicates. The saved classifier was made in the same way "
        "from all rows and has no test of its own: the numbers are those of the procedure on "
        f"{folds - 1} of {folds} parts of the rows."
    )


def again_line(metrics: Metrics) -> str:
    """Return ``reading_line`` where these rows, or some of them, were read before; else nothing, for the screen."""
    reading = part(metrics, "test", "reading")
    told = reading.get("nth", 1) > 1 or part(reading, "partial").get("readings")
    return reading_line(metrics) if told else ""


def _before(reading: Metrics) -> str:
    times = reading["nth"] - 1
    earlier = [each for each in reading.get("earlier") or [] if isinstance(each, Mapping)]
    said = f"They had been read {times:,} time{'s' * (times > 1)} before on this machine"
    if earlier:
        shares = sorted(each["share"] for each in earlier)
        last = earlier[-1]
        held = "" if shares[0] == 1 else f"; {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} % of them each time"
        said += f" (last {one_line(last['date'])} by {one_line(last['run'])}{held})"
    return f"{said}."


def worth_line(reading: Metrics) -> str:
    """Return what choosing by these rows does to the accuracy of the best one; empty where there was no choice."""
    best = part(reading, "best_of")
    if not best:
        return ""
    return (
        f" Choosing the best of {best['choices']:,} settings by these rows makes its accuracy too high, by up to about "
        f"{100 * best['optimism']:.2f} points; an interval that allows for the choice is {percents(best['interval'])}."
    )


def _partly(reading: Metrics) -> str:
    partial = part(reading, "partial")
    if not partial.get("readings"):
        return ""
    return f" Earlier readings that hold a part of them: {partial['readings']:,}, up to " + (
        f"{100 * partial['largest_share']:.0f} %."
    )


def overlap_lines(metrics: Metrics) -> list[str]:
    """Return a line per part of the classifier's own run that some of the evaluated rows belong to."""
    overlap: Mapping[str, Any] = part(metrics, "overlap")
    rows = part(metrics, "test").get("rows", 0)
    return [f"{count:,} of {rows:,} rows {_LEAKS[name]}" for name, count in overlap.items() if count and name in _LEAKS]
