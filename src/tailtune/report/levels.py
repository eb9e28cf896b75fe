"""The scores at each level of labels that are paths, from metrics.json."""

from __future__ import annotations

from tailtune.report.blocks import Section, Table
from tailtune.report.words import Metrics, decimals, percent, percents, records, value_of


def levels(metrics: Metrics) -> Section | None:
    """Return how the classifier fares at each level; None where labels are no paths."""
    found = records(metrics, "detail", "levels", needs=("level", "classes", "accuracy", "accuracy_interval"))
    if not found:
        return None
    rows = [
        (
            value_of(each["level"]),
            value_of(each["classes"]),
            percent(each["accuracy"]),
            percents(each["accuracy_interval"]),
            percent(each.get("macro_f1")),
            decimals(each.get("log_loss"), 4),
        )
        for each in found
    ]
    header = ("level", "labels", "accuracy", "95 % interval", "macro F1", "log loss")
    lead = "Labels are paths; a coarser label has the sum of the probabilities below it. The last level is the labels."
    table = Table(caption="The test rows at each level", header=header, rows=rows)
    return Section(name="levels", title="Levels of the labels", lead=lead, blocks=(table,))
