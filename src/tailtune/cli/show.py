"""Results on stdout: tables for people, JSON for machines. Knows the shape of metrics, and computes none."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_BAR_WIDTH = 24
_TITLE_CHARACTERS = 100
_VERDICT_STYLES = {"better": "bold green", "worse": "bold red"}


def as_json(value: Mapping[str, Any]) -> None:
    """Print ``value`` as one JSON object on several lines."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def json_line(value: Mapping[str, Any]) -> None:
    """Print ``value`` as one JSON object on one line."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def prediction(text: str, probabilities: Mapping[str, float], *, truncated: bool = False) -> None:
    """Print ``text``, shortened, above every category with its probability, the likeliest first."""
    title = " ".join(text.split())
    title = title if len(title) <= _TITLE_CHARACTERS else title[: _TITLE_CHARACTERS - 1] + "…"
    table = _table()
    for column in ("left", "right", "left"):
        table.add_column(justify=column)
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    for place, (label, probability) in enumerate(ranked):
        style = "bold" if place == 0 else "dim"
        table.add_row(_text(label, style), _text(f"{100 * probability:.1f} %", style), _text(bar(probability), "cyan"))
    console = _console()
    console.print(_text(title, "italic"), soft_wrap=True)
    console.print(table)
    if truncated:
        console.print(_text("  only its first part was read: it is longer than the model's context", "yellow"))
    console.print()


def bar(share: float, width: int = _BAR_WIDTH) -> str:
    """Return a bar of block signs, ``width`` long at a share of 1, to an eighth of a sign."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths]


def training(metrics: Mapping[str, Any], folder: Path) -> None:
    """Print what a training came to: test scores beside the baselines, the verdict, the choice, and what to do next."""
    console = _console()
    console.print(_scores(metrics, own=f"tailtune ({metrics['method']})"))
    _print_verdict(console, metrics)
    console.print(_choice(metrics), soft_wrap=True, markup=False)
    console.print(_cost(metrics), soft_wrap=True, markup=False)
    console.print(f"run folder: {folder}", soft_wrap=True, markup=False)
    console.print(f'next: tailtune predict {shlex.quote(str(folder))} "your text"', soft_wrap=True, markup=False)


def evaluation(metrics: Mapping[str, Any]) -> None:
    """Print the scores of a saved classifier on labelled texts, overall and per class."""
    console = _console()
    console.print(_scores(metrics, own="tailtune"))
    _print_verdict(console, metrics)
    test = metrics["test"]
    table = _table("category", "precision", "recall", "F1", "texts")
    for name, scores in test["per_class"].items():
        values = (f"{scores[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(_text(name), *values, f"{scores['support']:,}")
    console.print(table)
    said = [f"{name} {test[key]:.4f}" for key, name in (("log_loss", "log loss"), ("ece", "calibration error"))]
    console.print(f"{test['rows']:,} texts, {', '.join(said)}")


def listing(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print ``rows`` as a table under ``headings``."""
    table = _table(*headings, right_from=len(headings))
    for row in rows:
        table.add_row(*map(_text, row))
    _console().print(table)


def line(text: str) -> None:
    """Print ``text`` on one line, as it is."""
    print(text)


def _scores(metrics: Mapping[str, Any], own: str) -> Table:
    table = _table(f"test, {metrics['test']['rows']:,} texts", "accuracy", "95 % interval", "macro F1")
    table.add_row(_text(own, "bold"), *_score_cells(metrics["test"]))
    for name, scores in metrics.get("baselines", {}).items():
        table.add_row(_text(scores.get("title", name)), *_score_cells(scores))
    return table


def _score_cells(scores: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = scores["accuracy_interval"]
    return f"{100 * scores['accuracy']:.2f} %", f"{100 * low:.1f} to {100 * high:.1f}", f"{scores['macro_f1']:.4f}"


def _print_verdict(console: Console, metrics: Mapping[str, Any]) -> None:
    verdict = metrics.get("verdict")
    if verdict:
        console.print(_text(verdict["text"], _VERDICT_STYLES.get(verdict.get("kind", ""), "bold")))


def _choice(metrics: Mapping[str, Any]) -> str:
    """Return how method and depth came about, for example ``method: probe (as asked) at depth 15 of 30 blocks (…)``."""
    reasons = {True: "chosen on validation", False: "as asked"}
    method = reasons[metrics["requested_method"] == "auto"]
    depth = reasons[metrics["config"]["depth"] == "auto"]
    blocks = f"depth {metrics['depth']} of {metrics['blocks_total']} blocks"
    return f"method: {metrics['method']} ({method}) at {blocks} ({depth})"


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


def plain(value: Any) -> Any:
    """Return dataclasses, paths and tuples as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
