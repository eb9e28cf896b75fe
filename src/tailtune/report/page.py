"""report.html: one file that needs no network and no script, from metrics.json and the worst rows with their texts.

Texts of users stand in this page and nowhere else in a run. Every one is escaped by the template engine, and the page's
policy forbids loading anything and running any script, so that a text could do nothing even unescaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from tailtune.report import making, quotes, ranks, sections, several, trust
from tailtune.report.blocks import Section
from tailtune.report.folds import folds
from tailtune.report.ladder import ladder
from tailtune.report.levels import levels
from tailtune.report.long import long_texts
from tailtune.report.losses import drawn_weights
from tailtune.report.reading import reading_line
from tailtune.report.scope import scope
from tailtune.report.swept import swept_line
from tailtune.report.taught import teacher
from tailtune.report.words import Metrics, has_model, one_line, part, parts_of

if TYPE_CHECKING:
    from jinja2 import Template

_TONES = {"better": "good", "worse": "bad"}


Rows = Sequence[Mapping[str, Any]]


def render_page(metrics: Metrics, worst: Rows = (), doubtful: Rows = ()) -> str:
    """Return report.html.

    Args:
        metrics: The mapping written to metrics.json; what is missing leaves out its section.
        worst: Test rows with their texts, see ``quotes.worst``.
        doubtful: Training and validation rows with their texts, see ``quotes.doubtful``.
    """
    verdict = part(metrics, "verdict")
    return filled(
        kicker="Tailtune report",
        source=one_line(part(metrics, "data").get("source") or "a classifier"),
        made=made_with(metrics),
        verdict=one_line(verdict.get("text") or ""),
        tone=_TONES.get(str(verdict.get("kind")), "even"),
        read=f"{reading_line(metrics)} {swept_line(metrics)}".strip(),
        figures=several.headline(metrics) or making.headline(metrics),
        sections=sections_of(metrics, worst, doubtful),
        footer="This page holds texts of the data; the bundle and metrics.json hold none.",
    )


def filled(
    *,
    kicker: str,
    source: str,
    made: str,
    verdict: str,
    tone: str,
    read: str,
    figures: Sequence[Mapping[str, str]],
    sections: Sequence[Section],
    footer: str,
) -> str:
    """Return one page that needs no network and no script.

    Args:
        kicker: What kind of page it is.
        source: What it is about, its heading.
        made: What was used, one line.
        verdict: The sentence that matters most.
        tone: "good", "bad" or "even".
        read: Sentences below the figures.
        figures: The numbers at the top: name, value, note.
        sections: In order.
        footer: Which texts stand in it.
    """
    style = _file("page.css")
    page = _template().render(
        # The sheet is allowed by its hash: no other style could be put in, not even by a text that were not escaped.
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        style=style,
        kicker=kicker,
        source=source,
        made=made,
        verdict=verdict,
        tone=tone,
        read=read,
        figures=figures,
        sections=sections,
        footer=footer,
    )
    return page + "\n"


def _of_one(metrics: Metrics, worst: Rows, doubtful: Rows) -> list[Section | None]:
    """The sections on how good it is, where each text has one label; the counterpart of ``several.sections``."""
    return [
        sections.baselines(metrics),
        folds(metrics),
        sections.classes(metrics),
        sections.confusion(metrics),
        levels(metrics),
        teacher(metrics),
        quotes.worst(metrics, worst),
        quotes.doubtful(metrics, doubtful),
        trust.calibration(metrics),
        trust.decisions(metrics),
        ranks.ranking(metrics),
        scope(metrics),
        sections.slices(metrics),
        long_texts(metrics),
    ]


def sections_of(metrics: Metrics, worst: Rows = (), doubtful: Rows = ()) -> list[Section]:
    """Return the sections that have something to show, in the order of the page."""
    made = (
        *(several.sections(metrics, worst) if several.is_several(metrics) else _of_one(metrics, worst, doubtful)),
        making.learning(metrics),
        making.depth(metrics),
        ladder(metrics),
        making.losses(metrics),
        making.tried(metrics),
        making.data(metrics),
        making.cost(metrics),
        making.again(metrics),
    )
    return [section for section in made if section is not None]


def made_with(metrics: Metrics) -> str:
    """Return one sentence on model, method and depth, empty where none is known."""
    parts = []
    said = parts_of(metrics)
    if name := part(metrics, "model").get("name"):
        parts.append(one_line(name) + drawn_weights(metrics))
    if method := metrics.get("method"):
        parts.append(f"method {one_line(method)}" + (f": {said}" if said else ""))
    if has_model(metrics) and (depth := metrics.get("depth")) is not None:
        blocks = metrics.get("blocks_total")
        parts.append(f"depth {one_line(depth)}" + (f" of {one_line(blocks)} blocks" if blocks else ""))
    if precision := metrics.get("precision"):
        parts.append(one_line(precision))
    return " · ".join(parts)


def _file(name: str) -> str:
    return resources.files("tailtune.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return made.from_string(_file("page.html"))
