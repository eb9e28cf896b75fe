"""Small plots as inline SVG: axes, lines, points with intervals. Colours are classes of the page's style sheet.

Drawn by hand because a plotting library costs a second to import and 30 to 100 KB a plot; these are 2 to 6 KB. All are
360 units wide, so that on a phone their 12-unit letters stay 12 pixels high.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 14, 44
Point = tuple[float, float]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """Where numbers lie on a plot.

    Attributes:
        x: Lowest and highest number across.
        y: Lowest and highest number upwards.
        height: Of the plot, in units; it is WIDTH wide.
        log_x: Whether equal steps across are equal factors.
    """

    x: Range
    y: Range
    height: int = 250
    log_x: bool = False

    def across(self, value: float) -> float:
        """Return the place of ``value`` from the left."""
        low, high, at = (*self.x, value)
        if self.log_x:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * ((at - low) / (high - low) if high > low else 0.5)

    def down(self, value: float) -> float:
        """Return the place of ``value`` from the top."""
        low, high = self.y
        return (
            self.height
            - _BOTTOM
            - (self.height - _TOP - _BOTTOM) * ((value - low) / (high - low) if high > low else 0.5)
        )


def drawing(parts: Iterable[Markup], *, said: str, height: int) -> Markup:
    """Return the SVG element that holds ``parts``; ``said`` is what a screen reader tells of it."""
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">{}</svg>')
    return frame.format(WIDTH, height, said, Markup("").join(parts))


def text(x: float, y: float, words: str, kind: str = "tick", anchor: str = "middle") -> Markup:
    """Return words at a place; ``kind`` is a class of the style sheet."""
    element = Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>')
    return element.format(_place(x), _place(y), kind, anchor, words)


def line(start: Point, end: Point, kind: str) -> Markup:
    """Return a straight line between two places."""
    places = [_place(number) for number in (*start, *end)]
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*places, kind)


def dot(x: float, y: float, kind: str, radius: float = 4) -> Markup:
    """Return a round point."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(_place(x), _place(y), radius, kind)


def frame(
    axes: Axes,
    *,
    across: Sequence[tuple[float, str]],
    upwards: Sequence[tuple[float, str]],
    titles: tuple[str, str],
) -> list[Markup]:
    """Return the grid with its ticks (number, words) and what the axes mean."""
    bottom, parts = axes.height - _BOTTOM, []
    for value, words in upwards:
        y = axes.down(value)
        parts += [line((_LEFT, y), (WIDTH - _RIGHT, y), "grid"), text(_LEFT - 6, y + 4, words, anchor="end")]
    for value, words in across:
        parts.append(text(axes.across(value), bottom + 17, words))
    parts.append(line((_LEFT, bottom), (WIDTH - _RIGHT, bottom), "axis"))
    parts.append(text((WIDTH + _LEFT - _RIGHT) / 2, axes.height - 8, titles[0], "title"))
    parts.append(Markup('<g transform="translate(12 {}) rotate(-90)">{}</g>').format(
        _place((_TOP + bottom) / 2), text(0, 0, titles[1], "title")
    ))  # fmt: skip
    return parts


def curve(axes: Axes, points: Sequence[Point], kind: str) -> Markup:
    """Return a line through ``points``."""
    places = " ".join(f"{_place(axes.across(x))},{_place(axes.down(y))}" for x, y in points)
    return Markup('<polyline points="{}" class="{}"/>').format(places, kind)


def whisker(axes: Axes, x: float, bounds: Sequence[float], kind: str) -> Markup:
    """Return an upright interval at ``x``, cut at the edges of the plot."""
    low, high = (min(max(bound, axes.y[0]), axes.y[1]) for bound in bounds)
    at = axes.across(x)
    return line((at, axes.down(low)), (at, axes.down(high)), kind)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within a range, at most about ``most``."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def named(values: Iterable[float], say: Callable[[float], str] = "{:g}".format) -> list[tuple[float, str]]:
    """Return ticks with their words."""
    return [(value, say(round(value, 10))) for value in values]


def covering(values: Iterable[float], *, within: Range = (-math.inf, math.inf), least: float = 0.0) -> Range:
    """Return a range with some room around ``values``, at least ``least`` wide, kept ``within`` bounds."""
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    room = max(0.06 * (high - low), (least - (high - low)) / 2, 1e-9)
    return max(low - room, within[0]), min(high + room, within[1])


def _place(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
