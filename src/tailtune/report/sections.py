"""The sections on how good the classifier is: pure functions of metrics.json, None where its numbers are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tailtune.report import plots
from tailtune.report.blocks import Block, Figure, Quotes, Section, Table
from tailtune.report.words import (
    Metrics,
    bounds_of,
    confusions,
    decimals,
    labels_of,
    one_line,
    part,
    percent,
    percents,
    records,
    shortened,
    value_of,
)

# A matrix wider than this is unreadable on a page; the pairs most often confused are listed instead.
WIDEST_MATRIX = 12
MOST_CONFUSIONS = 20
_SHADES = 5


def sections(metrics: Metrics, worst_rows: Sequence[Mapping[str, Any]] = ()) -> list[Section]:
    """Return the sections that have something to show, in the order of the page.

    Args:
        metrics: The mapping written to metrics.json.
        worst_rows: See ``worst``.
    """
    made = (
        baselines(metrics),
        classes(metrics),
        confusion(metrics),
        worst(metrics, worst_rows),
        calibration(metrics),
        ranking(metrics),
        slices(metrics),
    )
    return [section for section in made if section is not None]


def baselines(metrics: Metrics) -> Section | None:
    """Return the classifier beside the cheap baselines on the same test rows."""
    test, others = part(metrics, "test"), part(metrics, "baselines")
    known = [each for each in others.values() if isinstance(each, Mapping) and _drawable(each)]
    if not known or not _drawable(test):
        return None
    own = {"title": "this classifier", **test, "seconds": part(metrics, "seconds").get("total")}
    ordered = [own, *sorted(known, key=lambda each: -each["accuracy"])]
    entries = [(_title(each), each["accuracy"], each["accuracy_interval"]) for each in ordered]
    # The commonest class is mostly far to the left: drawn, it would press what is compared into one point.
    near = [entry for entry in entries if not _far(entry, entries)]
    left = [f"{name}, {percent(share)}" for name, share, bounds in entries if (name, share, bounds) not in near]
    said = "; ".join(f"{name} {percent(share)} ({percents(bounds)})" for name, share, bounds in entries)
    caption = "Accuracy on the test rows; the bar is the 95 % interval."
    if left:
        caption += f" Not drawn, far to the left: {', '.join(left)}."
    header = ("classifier", "accuracy", "95 % interval", "macro F1", "log loss", "seconds to make")
    return Section(
        name="baselines",
        title="Beside cheap baselines",
        lead="Classifiers that count words or letters, fitted on the same training rows, read on the same test rows. "
        "A language model has to beat them to earn its cost.",
        blocks=(
            Figure(svg=plots.forest(near, said=f"Accuracies with intervals: {said}."), caption=caption),
            Table(
                caption="All numbers on the same test rows",
                header=header,
                rows=[_scores(each) for each in ordered],
                strong=0,
            ),
        ),
    )


def _drawable(scores: Metrics) -> bool:
    return scores.get("accuracy") is not None and bool(scores.get("accuracy_interval"))


def _scores(each: Metrics) -> tuple[str, ...]:
    shares = (percent(each["accuracy"]), percents(each["accuracy_interval"]), percent(each.get("macro_f1")))
    return (_title(each), *shares, decimals(each.get("log_loss"), 4), decimals(each.get("seconds"), 1))


def _far(entry: tuple[str, float, Sequence[float]], entries: Sequence[tuple[str, float, Sequence[float]]]) -> bool:
    """Whether an entry lies so far below the lowest of the others that it would press them into one point."""
    rest = [other for other in entries if other is not entry]
    if entry is entries[0] or not rest:
        return False
    low, high = min(other[2][0] for other in rest), max(other[2][1] for other in rest)
    return low - entry[2][1] > high - low


def _title(entry: Metrics) -> str:
    return one_line(entry.get("title") or "a baseline") + ("" if entry.get("converged", True) else " (not converged)")


def classes(metrics: Metrics) -> Section | None:
    """Return how each class fared: precision, recall with its interval, F1."""
    per_class = part(metrics, "test", "per_class")
    names = [name for name in labels_of(metrics) if isinstance(per_class.get(name), Mapping)] or list(per_class)
    if not names:
        return None
    recall = {
        each["name"]: each["interval"]
        for each in records(metrics, "detail", "slices", "class", needs=("name", "interval"))
    }
    rows = []
    for name in names:
        each = part(per_class, name)
        shares = (
            percent(each.get("precision")),
            percent(each.get("recall")),
            percents(recall.get(name)),
            percent(each.get("f1")),
        )
        rows.append((one_line(name), value_of(each.get("support")), *shares))
    header = ("class", "rows", "precision", "recall", "95 % interval of recall", "F1")
    lead = "Precision: of the rows called so, how many are. Recall: of the rows that are, how many were found."
    table = Table(caption="Each class on the test rows", header=header, rows=rows)
    return Section(name="classes", title="Each class", lead=lead, blocks=(table,))


def confusion(metrics: Metrics) -> Section | None:
    """Return what was taken for what: a matrix of few classes, the most confused pairs of many."""
    matrix, names = part(metrics, "test").get("confusion"), [one_line(name) for name in metrics.get("labels") or []]
    if not matrix or len(matrix) != len(names):
        return None
    wrong = confusions(metrics)
    blocks: list[Block] = []
    if len(names) <= WIDEST_MATRIX:
        rows = [(name, *map(value_of, line)) for name, line in zip(names, matrix, strict=True)]
        table = Table(
            caption="Rows: the true class. Columns: what the classifier said.",
            header=("true class", *names),
            rows=rows,
            levels=_levels(matrix),
        )
        blocks.append(table)
    if wrong and len(names) > 2:
        pairs = [(one_line(true), one_line(said), value_of(count)) for count, true, said in wrong[:MOST_CONFUSIONS]]
        caption = f"The {len(pairs)} most frequent of {len(wrong):,} kinds of error"
        blocks.append(Table(caption=caption, header=("true class", "taken for", "rows"), rows=pairs, words=(1,)))
    errors = sum(count for count, _, _ in wrong)
    total = sum(map(sum, matrix))
    lead = f"{errors:,} of {total:,} test rows were given the wrong class."
    if len(names) > WIDEST_MATRIX:
        lead += f" A matrix of {len(names)} classes would not fit; metrics.json has it."
    return Section(name="confusions", title="Confusions", lead=lead, blocks=blocks)


def _levels(matrix: Sequence[Sequence[int]]) -> list[list[str]]:
    """Shade of each cell by its share of the row's true class: "d3" on the diagonal, "3" elsewhere."""
    shades = []
    for i, line in enumerate(matrix):
        whole = max(1, sum(line))
        shades.append(
            [f"{'d' if i == j else 'e'}{min(_SHADES, -(-_SHADES * cell // whole))}" for j, cell in enumerate(line)]
        )
    return shades


def ranking(metrics: Metrics) -> Section | None:
    """Return how well the probabilities rank: curves for two classes, mean areas for more."""
    found, names = part(metrics, "detail", "ranking"), labels_of(metrics)
    if found.get("auroc") is None or found.get("average_precision") is None:
        return None
    areas = [
        ("area under the ROC curve (AUROC)", f"{found['auroc']:.4f}", bounds_of(found.get("auroc_interval"))),
        ("average precision", f"{found['average_precision']:.4f}", bounds_of(found.get("average_precision_interval"))),
    ]
    positive = found.get("positive")
    if not isinstance(positive, int) or positive >= len(names):
        lead = f"Means over {found.get('classes', 'the')} classes, each against all others. "
        lead += "1 is perfect; guessing gives an AUROC of 0.5."
        table = Table(caption="Macro averages", header=("measure", "mean"), rows=[row[:2] for row in areas])
        return Section(name="ranking", title="Ranking", lead=lead, blocks=(table,))
    name = one_line(names[positive])
    lead = (
        f"What a threshold on the probability of “{name}” could do. A perfect classifier reaches the upper left corner "
        "of the first plot and the upper right corner of the second; the dashed line is guessing."
    )
    table = Table(caption="Areas under the curves", header=("measure", "value", "95 % interval"), rows=areas)
    return Section(name="ranking", title="Ranking", lead=lead, blocks=(*_curves(found, name), table), layout="pair")


def _curves(found: Metrics, name: str) -> list[Figure]:
    share = found.get("share") or 0.0
    figures = []
    roc, precision = _points(found, "roc"), _points(found, "precision_recall")
    if roc:
        said = f"ROC curve, area {found['auroc']:.4f}."
        titles = ("others taken for it, %", "found (recall), %")
        svg = plots.unit_curve(roc, titles=titles, chance=((0, 0), (1, 1)), said=said)
        figures.append(Figure(svg=svg, caption=f"ROC: rows of “{name}” found against others wrongly called so."))
    if precision:
        said = f"Precision and recall, average precision {found['average_precision']:.4f}."
        titles = ("found (recall), %", "precision, %")
        svg = plots.unit_curve(precision, titles=titles, chance=((0, share), (1, share)), said=said)
        caption = f"Precision and recall: how many called “{name}” are so, as more of them are found."
        figures.append(Figure(svg=svg, caption=caption))
    return figures


def _points(found: Metrics, key: str) -> list[tuple[float, float]]:
    columns = part(found, key)
    return list(zip(columns.get("x") or [], columns.get("y") or [], strict=False))


def calibration(metrics: Metrics) -> Section | None:
    """Return whether the probabilities mean what they say."""
    bins = records(metrics, "detail", "reliability", needs=("rows", "confidence", "accuracy", "interval"))
    if not bins:
        return None
    inside = sum(each["interval"][0] <= each["confidence"] <= each["interval"][1] for each in bins)
    said = f"{inside} of {len(bins)} groups agree with their stated probability within the 95 % interval."
    rows = [
        (percent(each["confidence"]), percent(each["accuracy"]), percents(each["interval"]), value_of(each["rows"]))
        for each in bins
    ]
    ece = part(metrics, "test").get("ece")
    gap = f" The mean gap (ECE, 15 bins) is {100 * ece:.2f} points." if isinstance(ece, float) else ""
    header = ("stated probability", "right answers", "95 % interval", "rows")
    caption = f"{said} Groups of equal number, so many lie close together where the classifier is sure."
    return Section(
        name="calibration",
        title="Do the probabilities mean what they say?",
        lead="Test rows sorted by the probability of the class they were given, in groups of equal number. On the "
        f"dashed line the stated probability is the share of right answers; below it the classifier is too sure.{gap}",
        blocks=(
            Figure(svg=plots.reliability(bins, said=f"Reliability: {said}"), caption=caption),
            Table(caption="The groups", header=header, rows=rows),
        ),
        layout="pair",
    )


def slices(metrics: Metrics) -> Section | None:
    """Return the scores by length and, for few classes, by class."""
    blocks: list[Block] = []
    tables: list[Block] = []
    for key, title in (("length", "By length"), ("class", "By true class")):
        entries = records(metrics, "detail", "slices", key, needs=("name", "rows", "accuracy", "interval"))
        if len(entries) < 2:
            continue
        shown = [(each["name"], each["accuracy"], each["interval"]) for each in entries]
        if len(shown) <= WIDEST_MATRIX:
            said = "; ".join(f"{one_line(name)} {percent(share)} ({percents(bounds)})" for name, share, bounds in shown)
            svg = plots.forest(shown, said=f"{title}: {said}.", first=False)
            blocks.append(Figure(svg=svg, caption=f"{title}: accuracy with its 95 % interval."))
        rows = [
            (
                one_line(each["name"]),
                value_of(each["rows"]),
                percent(each["accuracy"]),
                percents(each["interval"]),
                decimals(each.get("log_loss"), 4),
                bounds_of(each.get("log_loss_interval"), 3),
            )
            for each in sorted(entries, key=lambda each: each["accuracy"] if key == "class" else 0)
        ]
        header = (title.lower(), "rows", "accuracy", "95 % interval", "log loss", "95 % interval")
        tables.append(Table(caption=title, header=header, rows=rows, folded=len(rows) > WIDEST_MATRIX))
    lead = "Parts of the test rows. Intervals that overlap widely do not tell two parts apart."
    if not tables:
        return None
    title = "Where it does better and worse"
    return Section(name="slices", title=title, lead=lead, blocks=(*blocks, *tables), layout="pair")


def worst(metrics: Metrics, rows: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the test rows with the highest loss, with their texts, and how many errors are not shown.

    Args:
        metrics: Of the run.
        rows: Each with ``text``, ``label``, ``predicted``, ``probability``, ``probability_of_label`` and ``row``.
    """
    if not rows:
        return None
    errors = sum(count for count, _, _ in confusions(metrics))
    here = sum(row["label"] != row["predicted"] for row in rows)
    left = max(0, errors - here)
    lead = f"The {len(rows)} test rows whose true class got the least probability; {here} of them are errors. "
    lead += f"{left:,} more errors are not shown." if left else "No error is left out."
    lead += " These texts stand in this file alone; the bundle and metrics.json hold none."
    quotes = [
        {
            "row": value_of(row["row"]),
            "text": shortened(row["text"]),
            "label": one_line(row["label"]),
            "predicted": one_line(row["predicted"]),
            "probability": percent(row["probability"]),
            "probability_of_label": percent(row["probability_of_label"]),
            "wrong": row["label"] != row["predicted"],
        }
        for row in rows
    ]
    return Section(name="worst", title="Worst errors", lead=lead, blocks=(Quotes(rows=quotes),))
