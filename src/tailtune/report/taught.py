"""The classifier beside the teacher whose answers it learnt, from metrics.json."""

from __future__ import annotations

from tailtune.report.blocks import Section, Table
from tailtune.report.words import Metrics, decimals, one_line, part, percent, percents, value_of


def teacher(metrics: Metrics) -> Section | None:
    """Return who taught, how, and its own scores on the same test rows; None without a teacher."""
    about = part(metrics, "teacher")
    if not about:
        return None
    rows = [_scores("this classifier", part(metrics, "test")), _scores("its teacher", part(about, "test"))]
    lead = (
        f"Learnt beside the labels: the probabilities of {one_line(about.get('teacher', 'a classifier'))}, counting "
        f"{percent(about.get('share'))}, at temperature {value_of(about.get('temperature'))}"
    )
    if about.get("unlabelled"):
        lead += f", and its answers to {value_of(about['unlabelled'])} unlabelled texts"
    header = ("classifier", "accuracy", "95 % interval", "macro F1", "log loss")
    table = Table(caption="On the same test rows", header=header, rows=rows, strong=0)
    return Section(name="teacher", title="Beside its teacher", lead=f"{lead}.", blocks=(table,))


def _scores(name: str, scores: Metrics) -> tuple[str, ...]:
    shares = (
        percent(scores.get("accuracy")),
        percents(scores.get("accuracy_interval")),
        percent(scores.get("macro_f1")),
    )
    return (name, *shares, decimals(scores.get("log_loss"), 4))
