"""The sections on how good the classifier is: pure functions of metrics.json, None where its numbers are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tailtune.report import plots
from tailtune.report.blocks import Block, Figure, Section, Table
from tailtune.report.losses import losses_lines
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
    value_of,
)

# A matrix wider than this is unreadable on a page; the pairs most often confused are listed instead.
WIDEST_MATRIX = 12
MOST_CONFUSIONS = 20
_SHADES = 5


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
        lead=f"Classifiers that count words or letters{_sentences(others)}, fitted on the same training rows, read on "
        "the same test rows. A language model has to beat them to earn its cost.",
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


def _sentences(others: Metrics) -> str:
    return ", and one on sentence embeddings" if "minilm_lr" in others else ""


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
    lead = " ".join([lead, *(f"{line[:1].upper()}{line[1:]}." for line in losses_lines(metrics))])
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


def slices(metrics: Metrics) -> Section | None:
    """Return the scores by length, for few classes by class, and by the columns asked for."""
    blocks: list[Block] = []
    tables: list[Block] = []
    own = [("length", "By length"), ("class", "By true class")]
    parts = [(title, key == "class", ("detail", "slices", key)) for key, title in own]
    columns = part(metrics, "detail", "slices_by")
    parts += [(f"By {one_line(name)}", False, ("detail", "slices_by", name)) for name in columns]
    for title, worst_first, keys in parts:
        entries = records(metrics, *keys, needs=("name", "rows", "accuracy", "interval"))
        if len(entries) < 2:
            continue
        if len(entries) <= WIDEST_MATRIX:
            blocks.append(_forest(title, entries))
        tables.append(_parts(title, sorted(entries, key=lambda each: each["accuracy"] if worst_first else 0)))
    lead = "Parts of the test rows. Intervals that overlap widely do not tell two parts apart."
    if not tables:
        return None
    title = "Where it does better and worse"
    return Section(name="slices", title=title, lead=lead, blocks=(*blocks, *tables), layout="pair")


def _forest(title: str, entries: Sequence[Metrics]) -> Figure:
    shown = [(one_line(each["name"]), each["accuracy"], each["interval"]) for each in entries]
    said = "; ".join(f"{name} {percent(share)} ({percents(bounds)})" for name, share, bounds in shown)
    svg = plots.forest(shown, said=f"{title}: {said}.", first=False)
    return Figure(svg=svg, caption=f"{title}: accuracy with its 95 % interval.")


def _parts(title: str, entries: Sequence[Metrics]) -> Table:
    rows = [
        (
            one_line(each["name"]),
            value_of(each["rows"]),
            percent(each["accuracy"]),
            percents(each["interval"]),
            decimals(each.get("log_loss"), 4),
            bounds_of(each.get("log_loss_interval"), 3),
        )
        for each in entries
    ]
    header = (title.lower(), "rows", "accuracy", "95 % interval", "log loss", "95 % interval")
    return Table(caption=title, header=header, rows=rows, folded=len(rows) > WIDEST_MATRIX)
