"""What a threshold comes to on rows whose labels are known, in words, from the contents of metrics.json."""

from __future__ import annotations

from tailtune.evaluate.decisions import counted as counts_of
from tailtune.report.decisions import counted
from tailtune.report.words import Metrics, labels_of, part, records

_NEEDS = ("class", "positives", "threshold", "true", "false")


def threshold_lines(metrics: Metrics, label: str, least: float) -> list[str]:
    """Return a line for each part whose rows were counted: precision, recall and false positives per 10,000 texts.

    Of curves with more points than are kept, the counts are those of the next higher threshold that is kept.

    Args:
        metrics: The mapping written to metrics.json; runs of earlier versions have no counts.
        label: That is given from ``least`` on.
        least: Probability.
    """
    names, lines = labels_of(metrics), []
    if label not in names:
        return []
    for name in ("test", "validation"):
        rows = part(metrics, "detail", "thresholds", name).get("rows", 0)
        for curve in records(metrics, "detail", "thresholds", name, "classes", needs=_NEEDS):
            if curve["class"] == names.index(label):
                true, false = _at(curve, least)
                precision, recall = counted(counts_of(true, true + false)), counted(counts_of(true, curve["positives"]))
                wrong = f"{10_000 * false / rows:,.0f} of 10,000 such texts called {label} wrongly"
                lines.append(f"on {rows:,} {name} rows: precision {precision}, recall {recall}, {wrong}")
    return lines


def usual_label(metrics: Metrics) -> str | None:
    """Return the label that a threshold is about where none is named: the one that the run's ranking is about."""
    names, place = labels_of(metrics), part(metrics, "detail", "ranking").get("positive")
    return names[place] if isinstance(place, int) and place < len(names) else None


def _at(curve: Metrics, least: float) -> tuple[int, int]:
    """Rows of the class and of others whose probability is at least ``least``."""
    reached = sum(threshold >= least for threshold in curve["threshold"])
    return (curve["true"][reached - 1], curve["false"][reached - 1]) if reached else (0, 0)
