"""The sections on whether probabilities mean what they say, and on what is decided by them; None if empty."""

from __future__ import annotations

from collections.abc import Sequence

from tailtune.report import plots
from tailtune.report.blocks import Block, Figure, Items, Section, Table
from tailtune.report.decisions import told
from tailtune.report.words import (
    ABSENT,
    Metrics,
    bounds_of,
    decimals,
    one_line,
    part,
    percent,
    percents,
    records,
    value_of,
)

_NEEDS = ("rows", "confidence", "accuracy", "interval")
_AIMS = {"max_false_positives": "at most so many false positives", "min_precision": "at least that precision"}


def calibration(metrics: Metrics) -> Section | None:
    """Return whether the probabilities mean what they say, before and after they were set right where they were."""
    bins = records(metrics, "test", "reliability", needs=_NEEDS)
    if not bins:
        return None
    method = part(metrics, "calibration").get("method")
    before = records(metrics, "test", "raw", "reliability", needs=_NEEDS) if method not in (None, "none") else []
    figures = [_reliability(before, "Before calibration: ")] if before else []
    figures.append(_reliability(bins, "After calibration: " if before else ""))
    ece = part(metrics, "test").get("ece")
    gap = f" The mean gap (ECE, 15 bins) is {100 * ece:.2f} points." if isinstance(ece, float) else ""
    tables = [_scores(metrics) if before else None, _tried(metrics), _groups(bins, folded=bool(before))]
    return Section(
        name="calibration",
        title="Do the probabilities mean what they say?",
        lead="Test rows sorted by the probability of the class they were given, in groups of equal number. On the "
        f"dashed line the stated probability is the share of right answers; below it the classifier is too sure.{gap}",
        blocks=(*figures, *(table for table in tables if table is not None)),
        layout="pair",
    )


def _reliability(bins: Sequence[Metrics], when: str) -> Figure:
    inside = sum(each["interval"][0] <= each["confidence"] <= each["interval"][1] for each in bins)
    said = f"{inside} of {len(bins)} groups agree with their stated probability within the 95 % interval."
    caption = f"{when}{said} Groups of equal number, so many lie close together where the classifier is sure."
    return Figure(svg=plots.reliability(bins, said=f"Reliability. {when}{said}"), caption=caption)


def _groups(bins: Sequence[Metrics], *, folded: bool) -> Table:
    rows = [
        (percent(each["confidence"]), percent(each["accuracy"]), percents(each["interval"]), value_of(each["rows"]))
        for each in bins
    ]
    header = ("stated probability", "right answers", "95 % interval", "rows")
    return Table(caption="The groups", header=header, rows=rows, folded=folded)


def _scores(metrics: Metrics) -> Table | None:
    """What calibration did to the scores of the test rows; it was fitted on validation rows."""
    raw, test = part(metrics, "test", "raw"), part(metrics, "test")
    rows = [
        (title, *(_with_bounds(each.get(key), each.get(f"{key}_interval")) for each in (raw, test)))
        for title, key in (("calibration error", "ece"), ("Brier score", "brier"), ("log loss", "log_loss"))
    ]
    rows.append(("accuracy", percent(raw.get("accuracy")), percent(test.get("accuracy"))))
    rows = [row for row in rows if row[1:] != (ABSENT, ABSENT)]
    made = part(metrics, "calibration")
    caption = f"Test rows before and after {one_line(made.get('method'))}"
    if made.get("rows") is not None:
        caption += f", fitted on {value_of(made['rows'])} validation rows"
    return Table(caption=caption, header=("measure", "before", "after"), rows=rows, words=(1, 2)) if rows else None


def _with_bounds(value: float | None, bounds: Sequence[float] | None) -> str:
    shown = decimals(value, 4)
    return f"{shown} ({bounds_of(bounds, 3)})" if value is not None and bounds else shown


def _tried(metrics: Metrics) -> Table | None:
    tried = records(metrics, "calibration", "candidates", needs=("method", "loss", "gain", "standard_error"))
    if len(tried) < 2:
        return None
    chosen = part(metrics, "calibration").get("method")
    rows = [
        (
            one_line(each["method"]) + (" (chosen)" if each["method"] == chosen else ""),
            decimals(each["loss"], 4),
            f"{each['gain']:+.4f} ± {each['standard_error']:.4f}",
        )
        for each in tried
    ]
    strong = next((place for place, each in enumerate(tried) if each["method"] == chosen), None)
    caption = "Ways to set them right, held-out log loss on validation rows; the simplest within one standard error"
    return Table(caption=caption, header=("method", "log loss", "gain"), rows=rows, strong=strong)


def decisions(metrics: Metrics) -> Section | None:
    """Return the rule that labels follow, the promises that go with them, and what they came to."""
    blocks: list[Block] = []
    for sentence, rows in told(metrics):
        said = [one_line(sentence)]
        if sentence.startswith("Labels"):
            said += _aims(metrics)
        header = ("measure", "validation", "test")
        blocks.append(Items(items=said))
        blocks.append(Table(caption="Chosen on validation, measured on test", header=header, rows=rows, words=(1, 2)))
    lead = "What happens between the probabilities and the answers. In brackets: counts, and the 95 % interval."
    return Section(name="decisions", title="Decisions", lead=lead, blocks=blocks) if blocks else None


def _aims(metrics: Metrics) -> list[str]:
    aims, holds = part(metrics, "decision", "aims"), part(metrics, "decision", "test", "holds")
    return [
        f"Asked for: {_AIMS[name]}, {percent(aims[name])}. The test rows "
        + ("leave room for it." if holds.get(name) else "speak against it.")
        for name in _AIMS
        if aims.get(name) is not None and name in holds
    ]
