"""The section on the steps from a probe upwards: what each gained on held-out rows, what it took, why it was left."""

from __future__ import annotations

from tailtune.report.blocks import Section, Table
from tailtune.report.words import ABSENT, Metrics, one_line, part, percent, records, value_of

_ON = {"folds": "held out in folds", "validation": "of the validation part"}


def ladder(metrics: Metrics) -> Section | None:
    """Return the rungs, from the lowest up: scores, gain over what stood, seconds, taken or not and why."""
    rungs = records(metrics, "ladder", "rungs", needs=("title", "why"))
    if not rungs:
        return None
    found = part(metrics, "ladder")
    header = ("rung", "log loss", "accuracy", "gain", "rows", "seconds", "foreseen", "outcome")
    rows = [
        (
            one_line(each["title"]),
            ABSENT if each.get("loss") is None else f"{each['loss']:.4f}",
            percent(each.get("accuracy")),
            _gain(each),
            _rows(each),
            _seconds(each.get("seconds")),
            _seconds(each.get("foreseen")),
            f"{_outcome(each)}: {one_line(each['why'])}",
        )
        for each in rungs
    ]
    taken = [place for place, each in enumerate(rungs) if each.get("taken")]
    lead = f"From the cheapest upwards; {one_line(found.get('rule', ''))}. The test part had no say. {_limit(found)}"
    strong = taken[-1] if taken else None
    table = Table(caption="What each step brought", header=header, rows=rows, strong=strong, words=(4, 7))
    return Section(name="ladder", title="The ladder", lead=lead.strip(), blocks=(table,))


def _outcome(rung: Metrics) -> str:
    if rung.get("taken"):
        return "taken"
    return "not tried" if rung.get("loss") is None else "not taken"


def _gain(rung: Metrics) -> str:
    gain, error = rung.get("gain"), rung.get("gain_error")
    return ABSENT if gain is None or error is None else f"{gain:+.4f} ± {error:.4f}"


def _rows(rung: Metrics) -> str:
    where = _ON.get(str(rung.get("judged_on")))
    return ABSENT if where is None else f"{value_of(rung.get('rows'))} {where}"


def _seconds(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{seconds:,.1f}"


def _limit(found: Metrics) -> str:
    seconds = found.get("seconds_allowed")
    if seconds is None:
        return "Without --time no more than one block is trained."
    return f"{seconds:,.0f} seconds were allowed for all of it, calibration and test included."
