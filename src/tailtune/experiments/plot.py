"""Test accuracy row by row, the book's and ours with their intervals, as one SVG file that needs nothing beside it."""

from __future__ import annotations

from markupsafe import Markup

from tailtune.experiments.summary import Section, Summary
from tailtune.report import svg
from tailtune.report.svg import Axes

_ROW = 40
_HEAD = 34
_FOOT = 44
# The colours of the reports' style sheet, which a file that stands alone cannot use.
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.name{fill:#1b1f24;font-size:13px}.grid{stroke:#dfe3e8}"
    ".whisker{stroke-width:2.5;stroke-linecap:round}.main.whisker{stroke:#1d5fbf;opacity:.55}"
    ".other.whisker{stroke:#7a828c;opacity:.8}.dot{fill:#1d5fbf}.dot.other{fill:#7a828c}.main.name{fill:#1d5fbf}"
    "@media(prefers-color-scheme:dark){text{fill:#a2aab4}.name{fill:#e7e9ec}.grid{stroke:#32373e}"
    ".main.whisker{stroke:#79b0ff}.other.whisker{stroke:#929aa5}.dot,.main.name{fill:#79b0ff}.dot.other{fill:#929aa5}}"
)


def file_name(section: Section) -> str:
    """Return what the file of a section is called."""
    words = "-".join((section.model, section.data, section.split))
    return "experiments-" + "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in words) + ".svg"


def draw(section: Section) -> Markup:
    """Return the plot of one section: a line per row that was run, the book's above ours.

    Args:
        section: With at least one row that was run.
    """
    shown = [summary for summary in section.summaries if summary.results]
    bounds = [bound for summary in shown for bound in _bounds(summary)]
    height = _HEAD + _ROW * len(shown) + _FOOT
    axes = Axes(x=svg.covering(bounds, within=(0, 1), least=0.01), y=(0, 1), height=height)
    bottom = height - _FOOT
    parts = [Markup("<style>{}</style>").format(Markup(_STYLE))]
    for value, words in svg.named(svg.ticks(*axes.x, most=5), lambda share: f"{100 * share:.4g}"):
        at = axes.across(value)
        parts += [svg.line((at, _HEAD), (at, bottom), "grid"), svg.text(at, bottom + 17, words)]
    parts.append(svg.text(svg.WIDTH / 2, height - 8, "right answers on the test part, %", "title"))
    if any(summary.published for summary in shown):
        parts.append(svg.text(4, 14, "grey: the book", "other", anchor="start"))
    parts.append(svg.text(svg.WIDTH - 4, 14, f"blue: {section.model}", "name main", anchor="end"))
    for place, summary in enumerate(shown):
        parts += _line(axes, summary, _HEAD + _ROW * place)
    said = f"Test accuracy of {len(shown)} experiments on the {section.split} split, with intervals"
    return svg.drawing(parts, said=said, height=height)


def _bounds(summary: Summary) -> list[float]:
    own = [*(summary.interval or ()), *summary.each("test")]
    return own if summary.published is None else [*own, summary.published.test, *summary.published.interval]


def _line(axes: Axes, summary: Summary, top: float) -> list[Markup]:
    parts = [svg.text(4, top + 13, f"{summary.row.number}  {summary.row.varies}", "name", anchor="start")]
    book, interval, mean = summary.published, summary.interval, summary.mean("test")
    if book is not None:
        parts += _share(axes, book.test, book.interval, top + 22, "other")
    if interval is not None and mean is not None:
        parts += _share(axes, mean, interval, top + 31, "main")
        parts += [svg.dot(axes.across(each), top + 31, "dot main", 1.5) for each in summary.each("test")]
    return parts


def _share(axes: Axes, share: float, interval: tuple[float, float], y: float, kind: str) -> list[Markup]:
    low, high = (axes.across(bound) for bound in interval)
    return [svg.line((low, y), (high, y), f"whisker {kind}"), svg.dot(axes.across(share), y, f"dot {kind}", 4)]
