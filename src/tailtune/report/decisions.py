"""Calibration, decisions and abstaining in words, from the contents of metrics.json; for the screen and the report.

Keys that are missing leave out their line. The texts are plain: the report escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tailtune.report.words import ABSENT, Metrics, part

Row = tuple[str, str, str]


def calibration_line(metrics: Metrics) -> str:
    """Return one line: how probabilities were calibrated, and the calibration error on test rows before and after."""
    calibration, test = metrics.get("calibration"), metrics.get("test", {})
    if not calibration:
        return ""
    if calibration["method"] == "none":
        return f"calibration: none ({calibration['reason']})"
    line = f"calibration: {calibration['method']}, fitted on {calibration['rows']:,} validation rows"
    if before := test.get("raw"):
        line += f"; calibration error {_error(before)} before, {_error(test)} after"
    return line


def decision_lines(metrics: Metrics) -> list[str]:
    """Return a line per decision and promise: the rule, and what it came to on the test rows."""
    lines = []
    if decision := metrics.get("decision"):
        test = decision["test"]
        parts = [f"{name} {figure}" for name, _, figure in decision_rows(metrics) if figure != "-"]
        lines.append(f"decision: {decision['rule']}; on {test['rows']:,} test rows {', '.join(parts)}")
    if abstain := metrics.get("abstain"):
        test = abstain["test"]
        lines.append(
            f"abstaining: {counted(test['answered'])} answered, wrong {counted(test['wrong_of_all'])} of all "
            f"({100 * abstain['error']:g} % promised on average), {counted(test['wrong_of_answered'])} of the answered"
        )
    if unused := metrics.get("unused"):
        lines.append(f"rows that undersampling left out: {counted(unused['wrong'])} called wrongly")
    return lines


def decisions_page(
    metrics: Metrics, escape: Callable[[object], str], table: Callable[[Sequence[str], Iterable[Sequence[str]]], str]
) -> str:
    """Return the section on decisions and promises, a sentence and a short table each; empty where there are none.

    Args:
        metrics: The mapping written to metrics.json.
        escape: Makes a text harmless on the page.
        table: Makes a table of a header and rows of escaped cells.
    """
    parts = []
    for sentence, rows in told(metrics):
        parts += [escape(sentence), table(("", "validation", "test"), [tuple(map(escape, row)) for row in rows])]
    return "\n\n".join(["## Decisions", *parts]) if parts else ""


def told(metrics: Metrics) -> list[tuple[str, list[Row]]]:
    """Return each decision and promise in a sentence, with what it was measured by."""
    found: list[tuple[str, list[Row]]] = []
    if rule := part(metrics, "decision").get("rule"):
        found.append((f"Labels are decided: {rule}.", decision_rows(metrics)))
    if promise := part(metrics, "abstain").get("promise"):
        found.append((f"Promised: {promise}.", abstain_rows(metrics)))
    if wrong := part(metrics, "unused", "wrong"):
        found.append(("Rows that undersampling left out:", [("called wrongly", ABSENT, counted(wrong))]))
    return found


def decision_rows(metrics: Metrics) -> list[Row]:
    """Return name, validation figure and test figure of each thing that a decision was measured by."""
    parts = (part(metrics, "decision", "validation"), part(metrics, "decision", "test"))
    named = (
        ("false positives", "false_positives"),
        ("recall", "recall"),
        ("precision", "precision"),
        ("accuracy", "accuracy"),
    )
    rows = [_row(title, *(counted(each.get(key)) for each in parts)) for title, key in named]
    bound = [part(each, "false_positives").get("upper_bound") for each in parts]
    rows.append(_row("false positives at most (95 %, one-sided)", *map(_percent, bound)))
    costs = [each.get("mean_cost") for each in parts]
    rows.append(_row("mean cost", *("-" if cost is None else f"{cost:.4g}" for cost in costs)))
    return [row for row in rows if row[1:] != ("-", "-")]


def abstain_rows(metrics: Metrics) -> list[Row]:
    """Return name, validation figure and test figure of each thing that abstaining was measured by."""
    parts = (part(metrics, "abstain", "validation"), part(metrics, "abstain", "test"))
    named = (
        ("answered", "answered"),
        ("wrong answers among all rows", "wrong_of_all"),
        ("wrong answers among the answered", "wrong_of_answered"),
    )
    rows = [_row(title, *(counted(each.get(key)) for each in parts)) for title, key in named]
    sets = [part(each, "sets") for each in parts]
    rows.append(_row("label sets that hold the true label", *(counted(one.get("coverage")) for one in sets)))
    sizes = [one.get("mean_size") for one in sets]
    rows.append(_row("labels in a set, mean", *("-" if size is None else f"{size:.2f}" for size in sizes)))
    return [row for row in rows if row[1:] != ("-", "-")]


def counted(value: Metrics | None) -> str:
    """Return a share as people read it: percent, counts and its 95 % interval."""
    if not value or any(value.get(key) is None for key in ("share", "interval", "count", "of")):
        return "-"
    low, high = value["interval"]
    counts = f"{value['count']:,} of {value['of']:,}"
    return f"{100 * value['share']:.2f} % ({counts}; {100 * low:.2f} to {100 * high:.2f})"


def _row(title: str, validation: str, test: str) -> Row:
    return title, validation, test


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _error(scores: Metrics) -> str:
    if "ece_interval" not in scores:
        return f"{scores['ece']:.4f}"
    low, high = scores["ece_interval"]
    return f"{scores['ece']:.4f} ({low:.3f} to {high:.3f})"
