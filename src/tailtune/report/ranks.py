"""The section on how well the probabilities rank: curves of two classes; means, the worst and each one of more."""

from __future__ import annotations

from collections.abc import Mapping

from tailtune.report import plots
from tailtune.report.blocks import Block, Figure, Section, Table
from tailtune.report.svg import Point
from tailtune.report.words import Metrics, bounds_of, labels_of, one_line, part, records, value_of

# A table of more classes is folded away at first.
_MOST_OPEN = 12
_ROC = ("others taken for it, %", "found (recall), %")
_PRECISION = ("found (recall), %", "precision, %")


def ranking(metrics: Metrics) -> Section | None:
    """Return how well the probabilities rank: curves for two classes, means, worst and all areas for more."""
    found, names = part(metrics, "detail", "ranking"), [one_line(name) for name in labels_of(metrics)]
    if found.get("auroc") is None or found.get("average_precision") is None:
        return None
    positive = found.get("positive")
    if not isinstance(positive, int) or positive >= len(names):
        return _many(found, names)
    name = names[positive]
    lead = (
        f"What a threshold on the probability of “{name}” could do. A perfect classifier reaches the upper left corner "
        "of the first plot and the upper right corner of the second; the dashed line is guessing."
    )
    table = Table(caption="Areas under the curves", header=("measure", "value", "95 % interval"), rows=_areas(found))
    captions = (
        f"ROC: rows of “{name}” found against others wrongly called so.",
        f"Precision and recall: how many called “{name}” are so, as more of them are found.",
    )
    blocks: list[Block] = [*_figures({name: found}, captions), table]
    return Section(name="ranking", title="Ranking", lead=lead, blocks=blocks, layout="pair")


def _areas(found: Metrics) -> list[tuple[str, str, str]]:
    return [
        ("area under the ROC curve (AUROC)", f"{found['auroc']:.4f}", bounds_of(found.get("auroc_interval"))),
        ("average precision", f"{found['average_precision']:.4f}", bounds_of(found.get("average_precision_interval"))),
    ]


def _many(found: Metrics, names: list[str]) -> Section:
    lead = f"Means over {found.get('classes', 'the')} classes, each against all others. "
    lead += "1 is perfect; guessing gives an AUROC of 0.5."
    micro, worst = part(found, "micro"), part(found, "worst")
    figures: list[Figure] = []
    if _known(micro) and _known(worst) and isinstance(worst.get("class"), int) and worst["class"] < len(names):
        lead += " The curves: all pairs of row and class together, and the class of the least average precision."
        captions = ("ROC: found against others wrongly called so.", "Precision and recall.")
        figures = _figures({"all pairs": micro, names[worst["class"]]: worst}, captions)
    rows = [(f"{title}, mean", *rest) for title, *rest in _areas(found)]
    if _known(micro):
        rows += [(f"{title}, all pairs together", value, "-") for title, value, _ in _areas(micro)]
    blocks: list[Block] = [*figures, Table(caption="Averages", header=("measure", "value", "95 % interval"), rows=rows)]
    if table := _classes(found, names):
        blocks.append(table)
    return Section(name="ranking", title="Ranking", lead=lead, blocks=blocks, layout="pair")


def _known(each: Metrics) -> bool:
    return each.get("auroc") is not None and each.get("average_precision") is not None


def _classes(found: Metrics, names: list[str]) -> Table | None:
    """Each class, the one that ranks worst first."""
    each_class = [
        each
        for each in records(found, "per_class", needs=("class", "rows", "auroc", "average_precision"))
        if each["class"] < len(names)
    ]
    rows = [
        (
            names[each["class"]],
            value_of(each["rows"]),
            f"{each['average_precision']:.4f}",
            bounds_of(each.get("average_precision_interval")),
            f"{each['auroc']:.4f}",
            bounds_of(each.get("auroc_interval")),
        )
        for each in sorted(each_class, key=lambda each: each["average_precision"])
    ]
    header = ("class", "rows", "average precision", "95 % interval", "AUROC", "95 % interval")
    caption = "Each class against all others, the worst first"
    return Table(caption=caption, header=header, rows=rows, folded=len(rows) > _MOST_OPEN) if rows else None


def _figures(curves: Mapping[str, Metrics], captions: tuple[str, str]) -> list[Figure]:
    """ROC, and precision with recall, of one or two sets of areas by name; a curve without points is left out."""
    figures = []
    first = next(iter(curves.values()))
    share = first.get("share") or 0.0
    for key, area, titles, chance, caption in (
        ("roc", "auroc", _ROC, ((0, 0), (1, 1)), captions[0]),
        ("precision_recall", "average_precision", _PRECISION, ((0, share), (1, share)), captions[1]),
    ):
        drawn = {name: points for name, each in curves.items() if (points := _points(each, key))}
        if drawn:
            said = "; ".join(f"{name} {curves[name][area]:.4f}" for name in drawn)
            kind = "ROC curve, area" if key == "roc" else "Precision and recall, average precision"
            svg = plots.unit_curves(drawn, titles=titles, chance=chance, said=f"{kind}: {said}.")
            figures.append(Figure(svg=svg, caption=caption))
    return figures


def _points(found: Metrics, key: str) -> list[Point]:
    columns = part(found, key)
    return list(zip(columns.get("x") or [], columns.get("y") or [], strict=False))
