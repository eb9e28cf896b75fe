"""Texts longer than what is read at once, from metrics.json: how many there are, and whether they fare worse."""

from __future__ import annotations

from collections.abc import Sequence

from tailtune.report.blocks import Block, Section, Table
from tailtune.report.words import Metrics, bounds_of, decimals, one_line, part, percent, percents, value_of

_DONE = {
    "truncate-tail": "their end was not read",
    "truncate-head": "their beginning was not read",
    "windows": "they were read in several windows",
}
_CAUSES = "Long texts may differ in other ways too: only a run with another --long tells what the rule itself costs."


def long_texts(metrics: Metrics) -> Section | None:
    """Return how many texts of each part were cut or read in windows, and their accuracy beside that of the others."""
    found = part(metrics, "detail", "long")
    parts = {name: part(found, "parts", name) for name in part(found, "parts")}
    if not any(each.get("longer") for each in parts.values()):
        return None
    counts: list[tuple[str, ...]] = [
        (
            one_line(name),
            value_of(each.get("rows")),
            value_of(each.get("longer")),
            percent(each["longer"] / each["rows"] if each.get("rows") else None),
            value_of(each.get("windows")),
        )
        for name, each in parts.items()
    ]
    header: Sequence[str] = ("part", "texts", "longer", "share", "windows")
    blocks: list[Block] = [Table(caption=f"Texts longer than {_limit(found)}", header=header, rows=counts)]
    if scores := _scores(found):
        header = ("test texts", "rows", "accuracy", "95 % interval", "log loss", "95 % interval")
        blocks.append(Table(caption="Long test texts beside the others", header=header, rows=scores))
    return Section(name="long", title="Long texts", lead=long_line(metrics), blocks=blocks, layout="pair")


def long_line(metrics: Metrics) -> str:
    """Return how many test texts were too long and whether they fare worse, in words; empty where none was."""
    found = part(metrics, "detail", "long")
    longer, others = part(found, "test", "longer"), part(found, "test", "others")
    if not longer:
        return ""
    done, total = _DONE[found["kind"]], longer["rows"] + others.get("rows", 0)
    told = f"{longer['rows']:,} of {total:,} test texts are longer than {_limit(found)}: {done}."
    if not others:
        return f"{told} There are no others to compare them with."
    gap = part(found, "test", "difference")
    points = f"{100 * gap['accuracy']:+.1f} points ({100 * gap['interval'][0]:+.1f} to {100 * gap['interval'][1]:+.1f})"
    verdict = {"worse": "They fare worse", "better": "They fare better"}.get(
        gap["kind"], "They are not distinguishable from the others"
    )
    figures = f"accuracy {percent(longer['accuracy'])} against {percent(others['accuracy'])}, {points}"
    return f"{told} {verdict}: {figures}. {_CAUSES}"


def limit_line(metrics: Metrics) -> str:
    """Return what the classifier does with longer texts, in words; empty where that is not known."""
    found = part(metrics, "detail", "long")
    if not found:
        return ""
    if metrics.get("method") == "ngrams":
        return "Texts are read whole, however long."
    longer = f"texts longer than {value_of(found['limit'])} tokens"
    if found["kind"] == "windows":
        stride = value_of(found["stride"])
        return f"Of {longer} all is read, in windows that start every {stride} tokens; merged: {found['merge']}."
    return f"Of {longer} the {'end' if found['kind'] == 'truncate-tail' else 'beginning'} is not read."


def _limit(found: Metrics) -> str:
    return f"the {value_of(found.get('limit'))} tokens read at once"


def _scores(found: Metrics) -> list[tuple[str, ...]]:
    names = {"longer": "longer", "others": "not longer"}
    return [
        (
            title,
            value_of(each["rows"]),
            percent(each["accuracy"]),
            percents(each["interval"]),
            decimals(each.get("log_loss"), 4),
            bounds_of(each.get("log_loss_interval"), 3),
        )
        for name, title in names.items()
        if (each := part(found, "test", name))
    ]
