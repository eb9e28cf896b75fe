"""The sections on texts that can have several labels: pure functions of metrics.json, none where a text has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tailtune.report import plots
from tailtune.report.blocks import Block, Figure, Quotes, Section, Table
from tailtune.report.quotes import quote
from tailtune.report.words import (
    Metrics,
    bounds_of,
    decimals,
    labels_of,
    one_line,
    part,
    percent,
    percents,
    records,
    value_of,
)

# More rows than this are folded away at first.
_LONGEST_TABLE = 40
_SCORES = (
    ("micro F1", "micro_f1"),
    ("macro F1", "macro_f1"),
    ("mean average precision", "mean_average_precision"),
    ("whole sets right", "subset_accuracy"),
    ("wrong labels (Hamming loss)", "hamming_loss"),
)


def is_several(metrics: Metrics) -> bool:
    """Return whether the test rows were given any number of labels each."""
    return part(metrics, "test").get("micro_f1") is not None


def headline(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the figures at the top: name, value and interval; none where a text has one label."""
    if not is_several(metrics):
        return []
    test, speed = part(metrics, "test"), part(metrics, "detail").get("milliseconds_per_text")
    shown = [(name, percent(test.get(key)), percents(test.get(f"{key}_interval"))) for name, key in _SCORES]
    shown.append(("log loss", decimals(test.get("log_loss"), 4), bounds_of(test.get("log_loss_interval"))))
    if speed is not None:
        shown.append(("one text", f"{speed:.0f} ms", "on this machine"))
    return [{"name": name, "value": value, "note": "" if note == "-" else note} for name, value, note in shown]


def sections(metrics: Metrics, worst_rows: Sequence[Mapping[str, Any]] = ()) -> list[Section]:
    """Return the sections that have something to show, in the order of the page; none where a text has one label.

    Args:
        metrics: The mapping written to metrics.json.
        worst_rows: Test rows with their texts: ``text``, ``labels``, ``predicted`` and ``row``.
    """
    if not is_several(metrics):
        return []
    made = (baselines(metrics), labels(metrics), pairs(metrics), worst(worst_rows), ranking(metrics), stated(metrics))
    return [section for section in made if section is not None]


def rule_line(metrics: Metrics) -> str:
    """Return one line on how labels are given and calibrated; empty where a text has one label."""
    rules = part(metrics, "label_rules")
    if not rules:
        return ""
    ways = ", ".join(f"{one_line(name)} {count}" for name, count in part(rules, "calibrated").items())
    return f"labels: {one_line(rules.get('rule'))}; calibration by label: {ways}, on {value_of(rules['rows'])} rows"


def baselines(metrics: Metrics) -> Section | None:
    """Return the classifier beside the cheap baselines on the same test rows."""
    others = [each for each in part(metrics, "baselines").values() if isinstance(each, Mapping) and "micro_f1" in each]
    if not others:
        return None
    own = {"title": "this classifier", **part(metrics, "test"), "seconds": part(metrics, "seconds").get("total")}
    ordered = [own, *sorted(others, key=lambda each: -each["micro_f1"])]
    entries = [(one_line(each["title"]), each["micro_f1"], each["micro_f1_interval"]) for each in ordered]
    said = "; ".join(f"{name} {percent(share)} ({percents(bounds)})" for name, share, bounds in entries)
    rows = [
        (
            one_line(each["title"]),
            *(cell for key in ("micro_f1", "macro_f1", "mean_average_precision") for cell in _with_interval(each, key)),
            percent(each.get("subset_accuracy")),
            decimals(each.get("log_loss"), 4),
            decimals(each.get("seconds"), 1),
        )
        for each in ordered
    ]
    named = ("micro F1", "macro F1", "mean average precision")
    header = (
        "classifier",
        *(cell for name in named for cell in (name, "95 % interval")),
        *("whole sets right", "log loss", "seconds to make"),
    )
    embedded = ", or on sentence embeddings" if "minilm_lr" in part(metrics, "baselines") else ""
    svg = plots.forest(entries, said=f"Micro F1 with intervals: {said}.", title="micro F1, %")
    return Section(
        name="baselines",
        title="Beside cheap baselines",
        lead=f"One regression per label on counts of words or letters{embedded}: the same training rows, thresholds "
        "chosen on the same validation rows, read on the same test rows.",
        blocks=(
            Figure(svg=svg, caption="Micro F1 on the test rows; the bar is the 95 % interval."),
            Table(caption="All numbers on the same test rows", header=header, rows=rows, strong=0),
        ),
    )


def _with_interval(scores: Metrics, key: str) -> tuple[str, str]:
    return percent(scores.get(key)), percents(scores.get(f"{key}_interval"))


def labels(metrics: Metrics) -> Section | None:
    """Return how each label fared, with its threshold."""
    per_label, rules = part(metrics, "test", "per_label"), part(metrics, "label_rules", "labels")
    names = [name for name in labels_of(metrics) if isinstance(per_label.get(name), Mapping)] or list(per_label)
    if not names:
        return None
    rows = []
    for name in names:
        each, least = part(per_label, name), part(rules, name).get("threshold")
        shares = tuple(percent(each.get(key)) for key in ("precision", "recall", "false_positives"))
        areas = (*_with_interval(each, "f1"), *_with_interval(each, "average_precision"))
        threshold = "never" if least is not None and least > 1 else decimals(least, 3)
        counts = (value_of(each.get("support")), value_of(each.get("given")))
        rows.append((one_line(name), *counts, threshold, *shares, *areas))
    header = (
        *("label", "rows", "given", "threshold", "precision", "recall", "false positives", "F1", "95 % interval"),
        *("average precision", "95 % interval"),
    )
    said = rule_line(metrics)
    lead = (
        "Precision: of the rows given a label, how many have it. Recall: of the rows that have it, how many were given "
        "it. False positives: of the rows without it, how many were given it. Average precision does not depend on the "
        f"threshold (the area under precision by recall). {said[:1].upper()}{said[1:]}. Where an accuracy is shown "
        "below, it is the share of texts whose whole set of labels is right at thresholds of one half."
    )
    table = Table(caption="Each label on the test rows", header=header, rows=rows, folded=len(rows) > _LONGEST_TABLE)
    return Section(name="labels", title="Each label", lead=lead, blocks=(table,))


def pairs(metrics: Metrics) -> Section | None:
    """Return which labels go together, which were given in place of missed ones, and how many labels texts have."""
    blocks: list[Block] = []
    named = (
        ("instead", "Missed, and what was wrongly given in the same rows", ("missed", "given instead", "rows")),
        ("together", "Labels that go together most often", ("label", "with", "rows")),
    )
    for key, caption, header in named:
        found = records(metrics, "detail", key, needs=("first", "second", "rows"))
        rows = [(one_line(each["first"]), one_line(each["second"]), value_of(each["rows"])) for each in found]
        if rows:
            blocks.append(Table(caption=caption, header=header, rows=rows, words=(1,)))
    sizes = records(metrics, "detail", "sets", needs=("labels", "rows", "given"))
    if sizes:
        cells = [(value_of(each["labels"]), value_of(each["rows"]), value_of(each["given"])) for each in sizes]
        header = ("labels of a text", "test rows", "given so many")
        blocks.append(Table(caption="How many labels", header=header, rows=cells))
    test = part(metrics, "test")
    lead = (
        f"A test row has {decimals(test.get('labels_per_row'), 2)} labels on average and was given "
        f"{decimals(test.get('given_per_row'), 2)}."
    )
    return Section(name="pairs", title="Labels beside each other", lead=lead, blocks=blocks, layout="pair")


def worst(rows: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the test rows with the highest loss, with their texts.

    Args:
        rows: Each with ``text``, ``labels``, ``predicted`` and ``row``.
    """
    if not rows:
        return None
    wrong = sum(set(row["labels"]) != set(row["predicted"]) for row in rows)
    lead = (
        f"The {len(rows)} test rows with the highest loss, mean over labels; of {wrong} the set of labels is wrong. "
        "These texts stand in this file alone; the bundle and metrics.json hold none."
    )
    shown = []
    for row in rows:
        wrong_set = set(row["labels"]) != set(row["predicted"])
        said = [
            ("Wrong: called " if wrong_set else "Right, but unsure: called ", False),
            (_listed(row["predicted"]), True),
        ]
        said += [(", is ", False), (_listed(row["labels"]), True)] if wrong_set else []
        shown.append(quote(row, said, wrong=wrong_set))
    return Section(name="worst", title="Worst errors", lead=lead, blocks=(Quotes(rows=shown),))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(one_line, names)) or "no label"


def ranking(metrics: Metrics) -> Section | None:
    """Return how well the probabilities rank: precision by recall over all labels together."""
    found, test = part(metrics, "detail", "all_labels"), part(metrics, "test")
    columns = part(found, "precision_recall")
    points = list(zip(columns.get("x") or [], columns.get("y") or [], strict=False))
    if not points or found.get("average_precision") is None:
        return None
    share, area = found.get("share") or 0.0, found["average_precision"]
    said = f"Precision by recall over all labels, average precision {area:.4f}."
    titles = ("found (recall), %", "precision, %")
    svg = plots.unit_curves({"all labels": points}, titles=titles, chance=((0, share), (1, share)), said=said)
    rows = [
        ("all labels together (micro)", f"{area:.4f}", "-"),
        (
            "mean over labels (macro)",
            decimals(test.get("mean_average_precision"), 4),
            bounds_of(test.get("mean_average_precision_interval")),
        ),
    ]
    return Section(
        name="ranking",
        title="Ranking",
        lead="Every label of every test row, by its probability: what one threshold for all labels could do. The "
        "dashed line is guessing.",
        blocks=(
            Figure(svg=svg, caption="Precision and recall over all labels."),
            Table(caption="Average precision", header=("over", "value", "95 % interval"), rows=rows),
        ),
        layout="pair",
    )


def stated(metrics: Metrics) -> Section | None:
    """Return whether the probabilities mean what they say."""
    bins = records(metrics, "detail", "stated", needs=("cells", "stated", "share"))
    if not bins:
        return None
    rows = [(percent(each["stated"]), percent(each["share"]), value_of(each["cells"])) for each in bins]
    before = part(metrics, "test", "raw").get("log_loss")
    lead = "Every label of every test row, by its stated probability; the share is of those that have the label."
    if before is not None:
        after = decimals(part(metrics, "test").get("log_loss"), 4)
        lead += f" Log loss {decimals(before, 4)} before calibration, {after} after."
    header = ("stated probability", "have the label", "labels x rows")
    table = Table(caption="Stated and found", header=header, rows=rows)
    return Section(name="calibration", title="Do the probabilities mean what they say?", lead=lead, blocks=(table,))
