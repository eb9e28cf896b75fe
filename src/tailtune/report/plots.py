"""The plots of a report, each a pure function of a few numbers from metrics.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tailtune.report import svg
from tailtune.report.svg import Axes, Point
from tailtune.report.words import one_line

_ROW = 44
_LONGEST_NAME = 46


def _percent(share: float) -> str:
    return f"{100 * share:.4g}"


def forest(
    entries: Sequence[tuple[str, float, Sequence[float]]],
    *,
    said: str,
    first: bool = True,
    title: str = "share of right answers, %",
) -> Markup:
    """Return shares with their intervals, one below the other.

    Args:
        entries: (name, share, interval) from the top; at least one.
        said: For screen readers.
        first: Whether the first entry is the one that the plot is about, drawn in the main colour.
        title: Of the axis.
    """
    bounds = [bound for _, share, interval in entries for bound in (share, *interval)]
    height = _ROW * len(entries) + 44
    axes = Axes(x=svg.covering(bounds, within=(0, 1), least=0.01), y=(0, 1), height=height)
    bottom, parts = height - 44, []
    for value, words in svg.named(svg.ticks(*axes.x, most=5), _percent):
        at = axes.across(value)
        parts += [svg.line((at, 6), (at, bottom), "grid"), svg.text(at, bottom + 17, words)]
    parts.append(svg.text(svg.WIDTH / 2, height - 8, title, "title"))
    for place, (name, share, interval) in enumerate(entries):
        y = place * _ROW + 30
        kind = "main" if place == 0 or not first else "other"
        parts.append(svg.text(4, y - 12, _cut(name), "name", anchor="start"))
        parts.append(svg.line((axes.across(interval[0]), y), (axes.across(interval[1]), y), f"whisker {kind}"))
        parts.append(svg.dot(axes.across(share), y, f"dot {kind}", 5))
    return svg.drawing(parts, said=said, height=height)


def reliability(bins: Iterable[Mapping[str, Any]], *, said: str) -> Markup:
    """Return stated confidence against the share of right answers; on the diagonal the two agree."""
    points = [(each["confidence"], each["accuracy"], each["interval"]) for each in bins]
    low = min([0.95, *(min(x, interval[0]) for x, _, interval in points)])
    low = max(0.0, int(low * 20) / 20)
    axes = Axes(x=(low, 1.0), y=(low, 1.0), height=300)
    marks = svg.named(svg.ticks(low, 1.0), _percent)
    parts = svg.frame(axes, across=marks, upwards=marks, titles=("stated probability, %", "right answers, %"))
    parts.append(svg.curve(axes, [(low, low), (1.0, 1.0)], "ideal"))
    parts += [svg.whisker(axes, x, interval, "whisker main") for x, _, interval in points]
    parts += [svg.dot(axes.across(x), axes.down(y), "dot main") for x, y, _ in points]
    return svg.drawing(parts, said=said, height=300)


def unit_curves(
    curves: Mapping[str, Sequence[Point]], *, titles: tuple[str, str], chance: Sequence[Point], said: str
) -> Markup:
    """Return up to two curves in the unit square (ROC, precision and recall) by name, the first in the main colour.

    Args:
        curves: Points by name; names are written where there are two.
        titles: Of the axes.
        chance: What guessing gives.
        said: For screen readers.
    """
    axes = Axes(x=(0, 1), y=(0, 1), height=300)
    marks = svg.named((0, 0.25, 0.5, 0.75, 1), _percent)
    parts = svg.frame(axes, across=marks, upwards=marks, titles=titles)
    parts.append(svg.curve(axes, chance, "ideal"))
    # A ROC curve leaves the right lower corner free, precision and recall the left one.
    across, anchor = (svg.WIDTH - 24.0, "end") if chance[0][1] == 0 else (axes.across(0.04), "start")
    for place, (name, points) in reversed(list(enumerate(curves.items()))):
        kind = ("main", "other")[place % 2]
        parts.append(svg.curve(axes, points, f"line {kind}"))
        if len(curves) > 1:
            parts.append(svg.text(across, axes.down(0.25) + 18 * place, _cut(name, 28), f"name {kind}", anchor=anchor))
    return svg.drawing(parts, said=said, height=300)


def depths(points: Sequence[Mapping[str, Any]], chosen: object, *, said: str) -> Markup:
    """Return log loss by depth, the chosen depth marked."""
    places = [(float(point["depth"]), float(point["loss"])) for point in points]
    axes = Axes(x=svg.covering(x for x, _ in places), y=svg.covering(y for _, y in places))
    across = [(x, f"{x:g}") for x, _ in places] if len(places) <= 12 else svg.named(svg.ticks(*axes.x))
    upwards = svg.named(svg.ticks(*axes.y))
    parts = svg.frame(axes, across=across, upwards=upwards, titles=("depth (blocks below the cut)", "log loss"))
    parts.append(svg.curve(axes, places, "line main"))
    for point, (x, y) in zip(points, places, strict=True):
        here = point["depth"] == chosen
        parts.append(svg.dot(axes.across(x), axes.down(y), "dot chosen" if here else "dot main", 7 if here else 4))
    return svg.drawing(parts, said=said, height=axes.height)


def learning(points: Sequence[Mapping[str, Any]], key: str, title: str, *, said: str) -> Markup:
    """Return a score with its intervals by number of training rows; each step across doubles the rows.

    Args:
        points: Each with ``rows`` (ascending), ``key`` and its interval.
        key: "accuracy" or "log_loss".
        title: Of the score.
        said: For screen readers.
    """
    interval = "interval" if key == "accuracy" else f"{key}_interval"
    values = [bound for point in points for bound in (point[key], *point[interval])]
    rows = [point["rows"] for point in points]
    axes = Axes(x=(rows[0] / 1.2, rows[-1] * 1.2), y=svg.covering(values, within=(0, 1e9)), log_x=True)
    upwards = svg.named(svg.ticks(*axes.y), _percent if key == "accuracy" else "{:g}".format)
    across = [(number, f"{number:,}") for number in rows]
    parts = svg.frame(axes, across=across, upwards=upwards, titles=("training rows", title))
    parts.append(svg.curve(axes, [(point["rows"], point[key]) for point in points], "line main"))
    parts += [svg.whisker(axes, point["rows"], point[interval], "whisker main") for point in points]
    parts += [svg.dot(axes.across(point["rows"]), axes.down(point[key]), "dot main") for point in points]
    return svg.drawing(parts, said=said, height=axes.height)


def losses(curves: Mapping[str, Sequence[Point]], titles: tuple[str, str], *, said: str) -> Markup:
    """Return up to two curves of (x, loss) by name; the first in the main colour, its name beside its end."""
    everything = [point for points in curves.values() for point in points]
    highest = max(y for _, y in everything)
    axes = Axes(x=svg.covering(x for x, _ in everything), y=(0.0, highest * 1.06 or 1.0))
    parts = svg.frame(
        axes, across=svg.named(svg.ticks(*axes.x, most=4)), upwards=svg.named(svg.ticks(*axes.y)), titles=titles
    )
    for place, (name, points) in enumerate(curves.items()):
        kind = ("main", "other")[place % 2]
        parts.append(svg.curve(axes, points, f"line {kind}"))
        if len(points) <= 40:
            parts += [svg.dot(axes.across(x), axes.down(y), f"dot {kind}", 3) for x, y in points]
        if len(curves) > 1:
            parts.append(svg.text(svg.WIDTH - 20, 26 + 16 * place, name, f"name {kind}", anchor="end"))
    return svg.drawing(parts, said=said, height=axes.height)


def _cut(name: str, longest: int = _LONGEST_NAME) -> str:
    name = one_line(name)
    return name if len(name) <= longest else name[: longest - 1] + "…"
