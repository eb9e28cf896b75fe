"""What the page tells of a classifier beside its answers: what was measured, every threshold, card, versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.report import making, sections, several
from tailtune.report.blocks import Section, Table
from tailtune.report.page import made_with
from tailtune.report.reading import reading_line
from tailtune.report.words import Metrics, one_line, part
from tailtune.service.page.card import blocks_of
from tailtune.service.served import Served

_TONES = {"better": "good", "worse": "bad"}


def about(served: Served) -> dict[str, Any]:
    """Return what is shown of a classifier, ready for json.dumps; what its run did not measure is empty or None.

    ``thresholds`` has the curves of ``evaluate.operating`` by part, with the names of the classes.
    """
    metrics, card = served.metrics, served.folder / "README.md"
    verdict = part(metrics, "verdict")
    return {
        "made": made_with(metrics) if metrics else "",
        "verdict": one_line(verdict.get("text") or ""),
        "tone": _TONES.get(str(verdict.get("kind")), "even"),
        "read": reading_line(metrics),
        "figures": several.headline(metrics) or making.headline(metrics),
        "tables": _tables(metrics),
        "thresholds": _thresholds(served),
        "card": blocks_of(card.read_text(encoding="utf-8")) if card.is_file() else [],
        "report": report_of(served) is not None,
        "versions": {name: str(version) for name, version in part(metrics, "versions").items()},
    }


def report_of(served: Served) -> Path | None:
    """Return the report of the run whose bundle is served; None where a bundle is served alone."""
    file = served.folder.parent / "report.html"
    return file if served.folder.name == "bundle" and file.is_file() else None


def _tables(metrics: Metrics) -> list[dict[str, Any]]:
    """The classifier beside its baselines, and each class."""
    made: list[Section | None]
    if several.is_several(metrics):
        made = [each for each in several.sections(metrics) if each.name in ("baselines", "labels")]
    else:
        made = [sections.baselines(metrics), sections.classes(metrics)]
    return [
        {
            "title": section.title,
            "lead": section.lead,
            "header": list(block.header),
            "rows": [list(row) for row in block.rows],
            "words": list(block.words),
        }
        for section in made
        if section is not None
        for block in section.blocks
        if isinstance(block, Table)
    ]


def _thresholds(served: Served) -> dict[str, Any]:
    found, names = part(served.metrics, "detail", "thresholds"), served.predictor.labels
    return {name: _named(curves, names) for name, curves in found.items() if curves}


def _named(curves: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "rows": curves["rows"],
        "classes": {
            names[each["class"]]: {k: v for k, v in each.items() if k != "class"} for each in curves["classes"]
        },
    }
