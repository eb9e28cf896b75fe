"""Results on stdout: tables for people, JSON for machines. Knows the shape of metrics, and computes none."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailtune.report.decisions import calibration_line, decision_lines
from tailtune.report.folds import folds_line
from tailtune.report.losses import losses_lines
from tailtune.report.reading import again_line, overlap_lines, worth_line
from tailtune.report.scope import scope_lines
from tailtune.report.several import is_several, rule_line
from tailtune.report.swept import swept_line
from tailtune.report.words import percent, percents

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tailtune.explain import Highlight
    from tailtune.predict import Prediction

_BAR_WIDTH = 24
# A text among so small a share of the strangest is pointed out.
_STRANGE = 0.05
_TITLE_CHARACTERS = 100
_MEASURES = (
    *("accuracy", "95 % interval", "macro F1", "log loss", "test rows", "method", "depth", "size", "one text"),
    "time to make",
)
_ONE_LABEL = ("accuracy", "95 % interval", "macro F1")
_LABELS = ("micro F1", "95 % interval", "macro F1", "mean average precision")
_VERDICT_STYLES = {"better": "bold green", "worse": "bold red"}


def as_json(value: Mapping[str, Any]) -> None:
    """Print ``value`` as one JSON object on several lines."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def json_line(value: Mapping[str, Any]) -> None:
    """Print ``value`` as one JSON object on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def prediction(
    text: str,
    answer: Prediction,
    highlights: Sequence[Highlight] | None = None,
    *,
    long: str = "truncate-tail",
    sure: float | None = None,
) -> None:
    """Print ``text``, shortened, above every category with its probability, the likeliest first; the label is bold.

    Args:
        text: What was asked.
        answer: What the classifier says of it.
        highlights: The words that the label hangs on, printed below in their order; None for none.
        long: The classifier's rule for long texts.
        sure: Of labels that are paths the finest label so probable is shown; None for none.
    """
    console = _console()
    console.print(_text(short(text), "italic"), soft_wrap=True)
    answered(answer, long=long, sure=sure)
    if highlights is not None:
        said = f"  how far {answer.label} falls without each of these, in points; they do not add up:"
        console.print(_text(said if highlights else "  no words to leave out", "dim"))
        console.print(_words(highlights))
    console.print()


def answered(answer: Prediction, *, long: str = "truncate-tail", sure: float | None = None) -> None:
    """Print every category with its probability, what was decided and how much was read; arguments as above."""
    table = _table()
    for column in ("left", "right", "left"):
        table.add_column(justify=column)
    for label, probability in sorted(answer.probabilities.items(), key=lambda pair: -pair[1]):
        style = "bold" if label in answer.given else "dim"
        cells = (_text(label, style), _text(f"{100 * probability:.1f} %", style), _text(bar(probability), "cyan"))
        table.add_row(*cells, *(_text(cell, "dim") for cell in _threshold(answer, label)))
    console = _console()
    console.print(table)
    if answer.thresholds:
        console.print(_text(f"  labels: {', '.join(answer.given) or 'none'}"))
    if answer.rule is not None:
        console.print(_text(f"  decided: {answer.label} ({answer.rule})"))
    for line in _levels(answer, sure):
        console.print(_text(line))
    if answer.abstained:
        console.print(_text(f"  too uncertain to answer; one of: {', '.join(answer.labels)}", "yellow"))
    if answer.rejected or (answer.out_of_scope or 0.0) >= 1 - _STRANGE:
        _say(console, f"  {_strange(answer)}", "yellow")
    console.print(_text(f"  {_read(answer, long)}", "yellow" if answer.truncated else "dim"))


def short(text: str) -> str:
    """Return ``text`` on one line, its end left out where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1] + "…"


def points(change: float) -> str:
    """Return a change of a probability in points, with its sign."""
    return f"{100 * change:+.1f}".replace("-", "\u2212")


def _levels(answer: Prediction, sure: float | None) -> list[str]:
    """Return the likeliest label above the finest level, level by level, and the finest that is probable enough."""
    coarser = enumerate(answer.levels[:-1], start=1)
    said = [f"  level {number}: {label} {100 * share:.1f} %" for number, (label, share) in coarser]
    if sure is None:
        return said
    found = answer.sure(sure)
    least = f"at least {100 * sure:g} %"
    return [*said, f"  {least} sure of {found[0]}" if found else f"  no label is {least} probable"]


def _threshold(answer: Prediction, label: str) -> tuple[str, ...]:
    """Return what a label has to reach, in a cell of its own; none where each text has one label."""
    if not answer.thresholds:
        return ()
    least = answer.thresholds[label]
    return ("never given" if least > 1 else f"from {100 * least:.1f} %",)


def _read(answer: Prediction, long: str) -> str:
    """What was read of a text."""
    if answer.truncated:
        part = "last" if long == "truncate-head" else "first"
        return f"only its {part} part was read, {answer.tokens:,} of {answer.tokens_total:,} tokens"
    many = f" in {answer.windows:,} windows" if answer.windows > 1 else ""
    return f"{answer.tokens:,} token{'s' if answer.tokens != 1 else ''} read{many}"


def _strange(answer: Prediction) -> str:
    said = "rejected: " if answer.rejected else ""
    return f"{said}unlike the training texts, stranger than {100 * (answer.out_of_scope or 0.0):.1f} % of held-out ones"


def _words(highlights: Sequence[Highlight]) -> Table:
    table = _table()
    for justify in ("right", "left"):
        table.add_column(justify=justify)
    strongest = max((abs(each.change) for each in highlights), default=0.0)
    for each in highlights:
        style = "bold" if strongest and abs(each.change) >= strongest / 2 else ""
        table.add_row(_text(f"  {points(each.change)}", style), _text(short(each.text), style))
    return table


def bar(share: float, width: int = _BAR_WIDTH) -> str:
    """Return a bar of block signs, ``width`` long at a share of 1, to an eighth of a sign."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths]


def training(metrics: Mapping[str, Any], folder: Path) -> None:
    """Print what a training came to: test scores beside the baselines, the verdict, the choice, and what to do next."""
    from tailtune.report.long import long_line

    console = _console()
    if scan := metrics.get("depth_scan"):
        depths(scan)
        console.print()
    console.print(_scores(metrics, own=f"tailtune ({metrics['method']})"))
    console.print()
    if verdict := metrics.get("verdict"):
        _say(console, verdict["text"], _VERDICT_STYLES.get(verdict["kind"], "bold"))
    where = f" at depth {metrics['depth']} of {metrics['blocks_total']} blocks, {metrics.get('precision', 'fp32')}"
    said = f" ({blend['said']})" if (blend := metrics.get("blend")) else ""
    _say(console, f"method: {metrics['method']}{said}{where if not blend or blend.get('language_model', True) else ''}")
    if reason := metrics.get("reason"):
        _say(console, f"why: {reason}")
    for sentence in (
        folds_line(metrics),
        *losses_lines(metrics),
        calibration_line(metrics),
        rule_line(metrics),
        *decision_lines(metrics),
        *scope_lines(metrics),
        long_line(metrics),
        swept_line(metrics),
        again_line(metrics),
    ):
        if sentence:
            _say(console, sentence)
    _say(console, _cost(metrics))
    console.print(_text(f"run folder: {folder}"), soft_wrap=True)
    console.print(_text(f'next: tailtune predict {shlex.quote(str(folder))} "your text"'), soft_wrap=True)


def depths(scan: Mapping[str, Any]) -> None:
    """Print the depth curve: score with interval and cost of every depth, a bar for the accuracy above the worst one's.

    An arrow marks the chosen depth, a dash in place of the bar what is beyond the limits.

    Args:
        scan: ``depth_scan`` of metrics.json.
    """
    points = scan["points"]
    lowest = min(point["accuracy"] for point in points)
    span = max(point["accuracy"] for point in points) - lowest
    table = _table("depth", "accuracy", "95 % interval", "log loss", "one text", "size", "")
    table.columns[0].justify, table.columns[-1].justify = "right", "left"
    for point in points:
        low, high = point["interval"]
        chosen = point["depth"] == scan["chosen_depth"]
        height = (point["accuracy"] - lowest) / span if span else 1.0
        cells = (
            f"{'→ ' if chosen else ''}{point['depth']}",
            f"{100 * point['accuracy']:.2f} %",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{point['loss']:.4f}",
            f"{point['milliseconds']:.1f} ms",
            f"{point['megabytes']:.0f} MB",
            bar(height, 8) if point["within_limits"] else "—",
        )
        table.add_row(*(_text(cell, "bold" if chosen else "") for cell in cells))
    console = _console()
    console.print(table)
    told = f"{points[0]['rows']:,} sampled rows, each judged by a probe that did not see it; {scan['why_precision']}"
    _say(console, told, "dim")


def evaluation(metrics: Mapping[str, Any]) -> None:
    """Print the scores of a saved classifier on labelled texts, overall and per class."""
    console = _console()
    console.print(_scores(metrics, own="tailtune"))
    console.print()
    test = metrics["test"]
    table = _table("category", "precision", "recall", "F1", "texts")
    for name, scores in (test.get("per_class") or test["per_label"]).items():
        values = (f"{scores[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(_text(name), *values, f"{scores['support']:,}")
    console.print(table)
    named = (("log_loss", "log loss"), ("ece", "calibration error"), ("hamming_loss", "wrong labels"))
    said = [f"{name} {test[key]:.4f}" for key, name in named if key in test]
    console.print(f"{test['rows']:,} texts, {', '.join(said)}")
    for sentence in (*decision_lines(metrics), *overlap_lines(metrics), again_line(metrics)):
        _say(console, sentence)


def comparison(found: Mapping[str, Any]) -> None:
    """Print runs side by side, then each pair: what a test on the same rows says, or why there is none.

    Args:
        found: As ``tailtune.compare.compare`` returns it.
    """
    runs = found["runs"]
    # One column per run: of nine columns of figures none would fit a terminal of 80 signs.
    table = _table("", *(run["run"] for run in runs))
    for name, cells in zip(_MEASURES, zip(*map(_figures, runs), strict=True), strict=True):
        table.add_row(name, *map(_text, cells))
    console = _console()
    console.print(table)
    console.print()
    for pair in found["pairs"]:
        _say(console, _pair(pair))
    for reading in found["readings"]:
        of = f"the {reading['rows']:,} test rows of {', '.join(reading['runs'])}"
        _say(console, f"{of} have been read {reading['times']:,} times.{worth_line(reading)}")


def _figures(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one run, in the order of _MEASURES."""
    low, high = run["accuracy_interval"]
    return (
        f"{100 * run['accuracy']:.2f} %",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{run['macro_f1']:.4f}",
        f"{run['log_loss']:.4f}",
        f"{run['rows']:,}",
        f"{run['method'] or '-'}",
        f"{run['depth'] or '-'}",
        _measured(run["bundle_bytes"], 1e-6, "MB"),
        _measured(run["milliseconds"], 1, "ms"),
        _measured(run["seconds"], 1, "s"),
    )


def _measured(value: float | None, factor: float, unit: str) -> str:
    return "-" if value is None else f"{value * factor:,.1f} {unit}"


def _pair(pair: Mapping[str, Any]) -> str:
    """Return one sentence on two runs."""
    both = f"{pair['a']} and {pair['b']}"
    if not pair["paired"]:
        return f"{both}: not paired; {pair['why']}"
    p_value = "p < 0.001" if pair["p_value"] < 0.001 else f"p = {pair['p_value']:.3f}"
    counts = f"{pair['only_a_right']} rows only the first has right, {pair['only_b_right']} only the second"
    winner = {
        "a": f"{pair['a']} is more accurate than {pair['b']}",
        "b": f"{pair['b']} is more accurate than {pair['a']}",
    }
    said = winner.get(pair["more_accurate"], f"{both}: accuracies not distinguishable")
    return f"{said} on the same {pair['rows']:,} rows: {counts}, McNemar {p_value}; {_loss_words(pair)}"


def _loss_words(pair: Mapping[str, Any]) -> str:
    words = f"log loss of the first less that of the second {pair['log_loss_difference']:+.4f}"
    if bounds := pair["log_loss_interval"]:
        words += f" ({bounds[0]:+.4f} to {bounds[1]:+.4f})"
    return words


def listing(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print ``rows`` as a table under ``headings``."""
    table = _table(*headings, right_from=len(headings))
    table.columns[0].no_wrap = True  # a name cut short is no use
    for row in rows:
        table.add_row(*map(_text, row))
    _console().print(table)


def facts(values: Mapping[str, Any]) -> None:
    """Print one name and value per line, as they are; the values of a mapping below its name."""
    width = max(map(len, values), default=0) + 2
    for name, value in values.items():
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        if isinstance(value, Mapping):
            shown = ", ".join(f"{inner} {item}" for inner, item in value.items())
        print(f"{name.replace('_', ' '):{width}}{shown}")


def line(text: str) -> None:
    """Print ``text`` on one line, as it is."""
    print(text)


def _scores(metrics: Mapping[str, Any], own: str) -> Table:
    headings, cells = (_LABELS, _label_cells) if is_several(metrics) else (_ONE_LABEL, _score_cells)
    table = _table(f"test, {metrics['test']['rows']:,} texts", *headings)
    table.add_row(_text(own, "bold"), *cells(metrics["test"]))
    for name, scores in metrics.get("baselines", {}).items():
        table.add_row(_text(scores.get("title", name)), *cells(scores))
    return table


def _label_cells(scores: Mapping[str, Any]) -> tuple[str, ...]:
    shown = (percent(scores.get(key)) for key in ("macro_f1", "mean_average_precision"))
    return percent(scores["micro_f1"]), percents(scores["micro_f1_interval"]), *shown


def _score_cells(scores: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = scores["accuracy_interval"]
    return f"{100 * scores['accuracy']:.2f} %", f"{100 * low:.1f} to {100 * high:.1f}", f"{scores['macro_f1']:.4f}"


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a sentence, broken between words on a terminal and nowhere else: scripts look for it whole."""
    console.print(_text(text, style), soft_wrap=not console.is_terminal)


def _cost(metrics: Mapping[str, Any]) -> str:
    seconds = dict(metrics["seconds"])
    total = seconds.pop("total", None) or sum(seconds.values())
    longest = sorted(seconds.items(), key=lambda pair: -pair[1])[:3]
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in longest)
    return f"time: {total:.1f} s ({parts}), memory at most {metrics['peak_rss_mib']:,.0f} MiB"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _table(*headings: str, right_from: int = 1) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=bool(headings), header_style="bold", padding=(0, 3, 0, 0), pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(_text(heading), justify="right" if place >= right_from else "left")
    return table


def _text(content: str, style: str = "") -> Any:
    """Return ``content`` for rich to print as it is: labels and texts may hold its markup signs."""
    from rich.text import Text

    return Text(content, style=style)
