"""The section on the folds of a run that tested every row once; None where there were none."""

from __future__ import annotations

from tailtune.report.blocks import Section, Table
from tailtune.report.words import Metrics, bounds_of, decimals, one_line, part, percent, percents, records, value_of

_SHARES = {"accuracy": "accuracy", "macro_f1": "macro F1", "ece": "calibration error"}
_TOLD = {"accuracy": "accuracy", "macro_f1": "macro F1"}
_NUMBERS = {"log_loss": "log loss", "brier": "Brier score"}


def folds(metrics: Metrics) -> Section | None:
    """Return each fold's scores, their means with corrected intervals, and the difference to the best baseline."""
    found = part(metrics, "folds")
    each = records(metrics, "folds", "each", needs=("fold", "rows", "accuracy", "macro_f1", "log_loss"))
    if not each:
        return None
    means = [
        (title, show(value["mean"]), show(value["sd"]), bounds(value["interval"]))
        for names, show, bounds in (
            (_SHARES, percent, percents),
            (_NUMBERS, lambda number: decimals(number, 4), bounds_of),
        )
        for name, title in names.items()
        if (value := part(found, "measures", name))
    ]
    rows = [
        (
            value_of(one["fold"]),
            value_of(one["rows"]),
            percent(one["accuracy"]),
            percent(one["macro_f1"]),
            decimals(one["log_loss"], 4),
            one_line(one.get("method") or "-"),
            value_of(one.get("depth")),
            one_line(one.get("calibration") or "-"),
        )
        for one in each
    ]
    header = ("fold", "rows", "accuracy", "macro F1", "log loss", "method", "depth", "calibration")
    return Section(
        name="folds",
        title="Fold by fold",
        lead=f"{_difference(metrics)}Two intervals: {one_line(found.get('why') or '')}.",
        blocks=(
            Table(
                caption="Means over the folds",
                header=("", "mean", "standard deviation", "corrected 95 % interval"),
                rows=means,
            ),
            Table(caption="Each fold", header=header, rows=rows, words=(5, 7)),
        ),
    )


def _difference(metrics: Metrics) -> str:
    verdict = part(metrics, "verdict")
    if not verdict.get("fold_interval"):
        return ""
    low, high = verdict["fold_interval"]
    gap = f"{100 * verdict['difference']:+.2f} points"
    return f"Accuracy less that of the best baseline: {gap} ({100 * low:+.2f} to {100 * high:+.2f} over the folds). "


def folds_line(metrics: Metrics) -> str:
    """Return the means over the folds for the screen; empty where there were none."""
    measures = part(metrics, "folds", "measures")
    if not measures:
        return ""
    told = [f"{title} {percent(measures[name]['mean'])}{_around(measures[name])}" for name, title in _TOLD.items()]
    return (
        f"folds: on average {', '.join(told)}; each row was tested once; the saved classifier, made in the same way "
        "from all rows, has no test of its own"
    )


def _around(measure: Metrics) -> str:
    return f" ({percents(measure['interval'])}, shared training rows allowed for)" if measure["interval"] else ""
