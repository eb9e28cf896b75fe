"""The plots of a sweep: trials in order, how much each setting matters, the objective along one setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from tailtune.report import svg
from tailtune.report.svg import Axes, Point

_ROW = 40


def history(trials: Sequence[Point], best: Sequence[Point], given: float | None, *, title: str, said: str) -> Markup:
    """Return the objective by trial, with the best so far and what there was without a sweep (dashed).

    Args:
        trials: (number, objective) of those that completed.
        best: (number, best so far).
        given: The objective where nothing is varied.
        title: Of the objective.
        said: For screen readers.
    """
    values = [value for _, value in trials] + ([] if given is None else [given])
    axes = Axes(x=svg.covering((x for x, _ in trials), least=1.0), y=svg.covering(values))
    across = svg.named(value for value in svg.ticks(*axes.x) if value == int(value))
    parts = svg.frame(axes, across=across, upwards=svg.named(svg.ticks(*axes.y)), titles=("trial", title))
    if given is not None:
        parts.append(svg.curve(axes, [(axes.x[0], given), (axes.x[1], given)], "ideal"))
    parts.append(svg.curve(axes, _stairs(best), "line main"))
    parts += [svg.dot(axes.across(x), axes.down(y), "dot other", 3.5) for x, y in trials]
    return svg.drawing(parts, said=said, height=axes.height)


def importance(shares: Mapping[str, float], *, said: str) -> Markup:
    """Return a bar per setting, as long as its share of the differences between trials."""
    height = _ROW * len(shares) + 44
    axes = Axes(x=(0.0, max(0.01, *shares.values())), y=(0, 1), height=height)
    bottom, parts = height - 44, []
    for value, words in svg.named(svg.ticks(*axes.x, most=4), lambda share: f"{100 * share:.3g}"):
        at = axes.across(value)
        parts += [svg.line((at, 6), (at, bottom), "grid"), svg.text(at, bottom + 17, words)]
    parts.append(svg.text(svg.WIDTH / 2, height - 8, "share of the differences, %", "title"))
    for place, (name, share) in enumerate(shares.items()):
        y = place * _ROW + 28
        parts.append(svg.text(axes.across(0), y - 8, name, "name", anchor="start"))
        parts.append(svg.line((axes.across(0), y), (axes.across(share), y), "whisker main"))
        parts.append(svg.dot(axes.across(share), y, "dot main"))
    return svg.drawing(parts, said=said, height=height)


def along(
    points: Sequence[tuple[object, float]], best: int, *, log: bool, titles: tuple[str, str], said: str
) -> Markup:
    """Return the objective along one setting; values that are no numbers stand beside each other.

    Args:
        points: (value of the setting, objective).
        best: Place of the point to ring.
        log: Whether equal steps across are equal factors.
        titles: The setting and the objective.
        said: For screen readers.
    """
    names = sorted({str(value) for value, _ in points if not _is_number(value)})
    if names:
        names = sorted({str(value) for value, _ in points})
        places = [(float(names.index(str(value))), y) for value, y in points]
        across = [(float(place), name[:14]) for place, name in enumerate(names)]
        axes = Axes(x=(-0.5, len(names) - 0.5), y=svg.covering(y for _, y in points))
    else:
        places = [(float(str(value)), y) for value, y in points]
        low, high = min(x for x, _ in places), max(x for x, _ in places)
        room = (low / 1.2, high * 1.2) if log else svg.covering((low, high), least=1e-6)
        axes = Axes(x=room, y=svg.covering(y for _, y in points), log_x=log)
        across = svg.named(_decades(*room) if log else svg.ticks(*room))
    parts = svg.frame(axes, across=across, upwards=svg.named(svg.ticks(*axes.y)), titles=titles)
    for place, (x, y) in enumerate(places):
        kind, radius = ("dot chosen", 6) if place == best else ("dot main", 3.5)
        parts.append(svg.dot(axes.across(x), axes.down(y), kind, radius))
    return svg.drawing(parts, said=said, height=axes.height)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten and their triples within a range."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [
        value for power in range(first, last + 1) for value in (10.0**power, 3 * 10.0**power) if low <= value <= high
    ]


def _stairs(points: Sequence[Point]) -> list[Point]:
    """The corners of a line that stays until the next point."""
    corners: list[Point] = []
    for x, y in points:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners
