"""The report of a run and the model card of a bundle, as Markdown, from the contents of metrics.json.

Knows nothing about files, models or how a number was measured; keys that are missing leave out their line or section.
Every text that came from data, flags or file names is escaped: none can break a table, add a heading or carry HTML.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tailtune.report import making, ranks, sections, several
from tailtune.report.blocks import Section, Table
from tailtune.report.decisions import calibration_line, decisions_page
from tailtune.report.folds import folds
from tailtune.report.front_matter import front_matter
from tailtune.report.ladder import ladder
from tailtune.report.levels import levels
from tailtune.report.long import limit_line, long_texts
from tailtune.report.losses import drawn_weights, losses_lines
from tailtune.report.reading import reading_line
from tailtune.report.scope import scope_lines
from tailtune.report.swept import swept_line
from tailtune.report.taught import teacher
from tailtune.report.words import (
    ABSENT,
    UNPRINTABLE,
    Metrics,
    bounds_of,
    flat,
    has_model,
    labels_of,
    one_line,
    part,
    parts_of,
    percent,
    percents,
    value_of,
)

# A matrix wider than this is unreadable on a page; the most frequent confusions are listed instead.
_WIDEST_MATRIX = 20
_MOST_CONFUSIONS = 30
_MOST_CURVE_ROWS = 25

# An underscore inside a word is no markup, and names of settings are full of them. The last two kinds open a list or
# underline a heading, at the start of a line only.
_MARKUP = re.compile(r"[\\`*\[\]~$#&<>|]|(?<![^\W_])_|_(?![^\W_])|^[-+=](?=[-= ]|$)|^[0-9]+[.)](?= |$)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}


def render_report(metrics: Metrics) -> str:
    """Return report.md: verdict, test result beside the baselines, data, what was tried, cost, how to do it again.

    Args:
        metrics: The mapping written to metrics.json; shares are fractions, times seconds.
    """
    name = escape(part(metrics, "data").get("source", "a classifier"))
    pieces = [
        f"# Report: {name}",
        _verdict(metrics),
        _test(metrics),
        _comparison(metrics),
        as_text(folds(metrics)),
        _per_class(metrics),
        _confusion(metrics),
        as_text(levels(metrics)),
        as_text(teacher(metrics)),
        *map(as_text, several.sections(metrics)),
        *(as_text(made(metrics)) for made in (ranks.ranking, sections.slices, long_texts, making.learning)),
        decisions_page(metrics, escape, table),
        "\n\n".join(map(escape, scope_lines(metrics))),
        _data(metrics),
        _depths(metrics),
        as_text(ladder(metrics)),
        _choices(metrics),
        _curves(metrics),
        _cost(metrics),
        _reproduce(metrics),
        _versions(metrics),
    ]
    return _joined(pieces)


def model_card(metrics: Metrics) -> str:
    """Return README.md of a bundle: YAML front matter with the test result as model-index, then a page for people.

    Args:
        metrics: The mapping written to metrics.json. ``model.hub_id``, where present, becomes ``base_model``.
    """
    labels = ", ".join(escape(label) for label in labels_of(metrics))
    source = escape(part(metrics, "data").get("source", "labelled texts"))
    use = '    tailtune predict PATH/OF/THIS/FOLDER "a text"\n\n    from tailtune import TextClassifier\n'
    use += '    TextClassifier.load("PATH/OF/THIS/FOLDER").predict_proba(["a text"])'
    pieces = [
        front_matter(metrics),
        f"# Text classifier: {source}",
        f"Tells which of these categories a text belongs to, with a probability for each: {labels}." if labels else "",
        f"{_recipe(metrics)} The folder runs alone, without a network. {limit_line(metrics)}".strip(),
        f"## Use\n\n{use}",
        _verdict(metrics),
        _test(metrics),
        _comparison(metrics),
        _per_class(metrics),
        *(as_text(made) for made in several.sections(metrics) if made.name in ("baselines", "labels")),
        _data(metrics),
        _reproduce({key: metrics[key] for key in ("command", "seed") if key in metrics}),
    ]
    return _joined(pieces)


def escape(text: object) -> str:
    """Return ``text`` on one line such that Markdown shows it as it is, inside a table cell too."""

    def harmless(match: re.Match[str]) -> str:
        before, sign = match.group()[:-1], match.group()[-1]
        return before + _ENTITIES.get(sign, "\\" + sign)

    return _MARKUP.sub(harmless, one_line(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, the first column to the left and the others to the right; cells are escaped already."""
    marks = [":--"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, marks, *rows])


def _joined(pieces: Iterable[str]) -> str:
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _cell(value: object) -> str:
    """Return one value for people, escaped; the sign of what is absent is no list."""
    return ABSENT if value is None else escape(value_of(value))


def _words(key: str) -> str:
    return escape(key.replace("_", " "))


def _pairs(title: tuple[str, str], values: Mapping[str, object]) -> str:
    return table(title, [(_words(key), _cell(value)) for key, value in values.items()])


def _verdict(metrics: Metrics) -> str:
    text = part(metrics, "verdict").get("text")
    return f"**{escape(text)}**" if text else ""


def _recipe(metrics: Metrics) -> str:
    """Return one sentence on model, method, depth and pooling, empty where none is known."""
    parts = []
    if name := part(metrics, "model").get("name"):
        parts.append(f"model {escape(name)}{drawn_weights(metrics)}")
    if method := metrics.get("method"):
        asked = metrics.get("requested_method", method)
        parts.append(f"method {escape(method)}" + ("" if asked == method else f" (asked for: {escape(asked)})"))
    if said := parts_of(metrics):
        parts.append(escape(said))
    if has_model(metrics) and (depth := metrics.get("depth")) is not None:
        blocks = metrics.get("blocks_total")
        parts.append(f"depth {_cell(depth)}" + (f" of {_cell(blocks)} blocks" if blocks else ""))
    if has_model(metrics) and (pooling := metrics.get("pooling")):
        parts.append(f"pooling {escape(pooling)}")
    return f"Made with {', '.join(parts)}." if parts else ""


def _test(metrics: Metrics) -> str:
    test, validation = part(metrics, "test"), part(metrics, "validation")
    if not test:
        return ""
    rows: list[tuple[str, Callable[[Any], str], str]] = [
        ("rows", _cell, "rows"),
        ("accuracy", percent, "accuracy"),
        ("95 % interval (Wilson)", percents, "accuracy_interval"),
        ("micro F1", percent, "micro_f1"),
        ("macro F1", percent, "macro_f1"),
        ("mean average precision", percent, "mean_average_precision"),
        ("whole sets right", percent, "subset_accuracy"),
        ("wrong labels (Hamming loss)", percent, "hamming_loss"),
        ("log loss", _cell, "log_loss"),
        ("calibration error (ECE, 15 bins)", _cell, "ece"),
        ("Brier score", _cell, "brier"),
    ]
    columns = [scores for scores in (test, validation) if scores]
    known = [row for row in rows if any(scores.get(row[2]) is not None for scores in columns)]
    lines = [(title, *(show(scores.get(key)) for scores in columns)) for title, show, key in known]
    header = ("", "test", "validation")[: 1 + len(columns)]
    rule = calibration_line(metrics) or several.rule_line(metrics)
    said = [escape(line) for line in (rule, *losses_lines(metrics), reading_line(metrics), swept_line(metrics))]
    return _joined(["## Result", table(header, lines), _spread(metrics), *said, _recipe(metrics)]).rstrip("\n")


def _comparison(metrics: Metrics) -> str:
    baselines = part(metrics, "baselines")
    if not baselines or several.is_several(metrics):
        return ""
    seconds = part(metrics, "seconds").get("total")
    model = {"title": "this classifier", **part(metrics, "test"), "seconds": seconds}
    entries = [model, *sorted(baselines.values(), key=lambda entry: -entry.get("accuracy", 0))]
    rows = [
        (
            escape(entry.get("title", ABSENT)) + ("" if entry.get("converged", True) else " (not converged)"),
            percent(entry.get("accuracy")),
            percents(entry.get("accuracy_interval")),
            percent(entry.get("macro_f1")),
            _cell(entry.get("log_loss")),
            _cell(entry.get("seconds")),
        )
        for entry in entries
    ]
    header = ("on the same test rows", "accuracy", "95 % interval", "macro F1", "log loss", "seconds")
    return f"## Beside cheap baselines\n\n{table(header, rows)}"


def _per_class(metrics: Metrics) -> str:
    per_class = part(part(metrics, "test"), "per_class")
    if not per_class:
        return ""
    names = [name for name in labels_of(metrics) if name in per_class] or list(per_class)
    rows = []
    for name in names:
        shares = (percent(per_class[name].get(key)) for key in ("precision", "recall", "f1"))
        rows.append((escape(name), *shares, _cell(per_class[name].get("support"))))
    return f"## Each class on the test rows\n\n{table(('class', 'precision', 'recall', 'F1', 'rows'), rows)}"


def _confusion(metrics: Metrics) -> str:
    # Only ``labels`` says which row is which: the order of a JSON object's names is not that of the ids.
    matrix, names = part(metrics, "test").get("confusion"), [escape(name) for name in metrics.get("labels") or []]
    if not matrix or len(matrix) != len(names):
        return ""
    if len(names) <= _WIDEST_MATRIX:
        rows = [(name, *(_cell(cell) for cell in line)) for name, line in zip(names, matrix, strict=True)]
        return f"## Confusions\n\n{table(('true class, predicted as', *names), rows)}"
    wrong = [(rows, i, j) for i, line in enumerate(matrix) for j, rows in enumerate(line) if i != j and rows]
    worst = sorted(wrong, key=lambda entry: (-entry[0], entry[1], entry[2]))[:_MOST_CONFUSIONS]
    lines = [(names[i], names[j], _cell(rows)) for rows, i, j in worst]
    title = f"The {len(worst)} most frequent of {len(wrong)} kinds:"
    return f"## Confusions\n\n{title}\n\n{table(('true class', 'predicted as', 'rows'), lines)}"


def as_text(section: Section | None) -> str:
    """Return the words and tables of a section of report.html; its plots are left to that."""
    if section is None:
        return ""
    tables = [block for block in section.blocks if isinstance(block, Table)]
    shown = [
        table([escape(t) for t in each.header], [[escape(c) for c in row] for row in each.rows]) for each in tables
    ]
    return _joined([f"## {escape(section.title)}", escape(section.lead), *shown]).rstrip("\n")


def _spread(metrics: Metrics) -> str:
    """Return the intervals of the scores that are no shares, in one sentence."""
    found = part(metrics, "detail", "intervals")
    named = (("macro F1", "macro_f1"), ("log loss", "log_loss"), ("Brier score", "brier"))
    told = [f"{title} {bounds_of(found[key])}" for title, key in named if found.get(key)]
    return f"95 % intervals on the test rows: {', '.join(told)}." if told else ""


def _data(metrics: Metrics) -> str:
    data = part(metrics, "data")
    if not data:
        return ""
    told = ("source", "sha256", "rows", "duplicates", "leaked_test_rows")
    facts = flat({key: data[key] for key in told if key in data})
    facts |= {f"rows for {name}": rows for name, rows in part(data, "parts").items()}
    classes = part(data, "classes")
    names = [name for name in labels_of(metrics) if name in classes] or list(classes)
    findings = [f"- {escape(finding.get('message', ''))}" for finding in data.get("findings") or []]
    return _joined(
        [
            "## Data",
            _pairs(("", "value"), facts),
            table(("class", "rows"), [(escape(name), _cell(classes[name])) for name in names]) if names else "",
            "\n".join(["Found while reading and checking:", "", *findings]) if findings else "",
        ]
    ).rstrip("\n")


def _choices(metrics: Metrics) -> str:
    choices = metrics.get("choices") or []
    return f"## What was tried\n\n{_records(choices)}" if choices else ""


def _records(records: Sequence[Metrics]) -> str:
    """Return a table with one row for each mapping; its columns are all their keys, in order of appearance."""
    leaves = [flat(record) for record in records]
    keys = list(dict.fromkeys(itertools.chain.from_iterable(leaves)))
    return table([_words(key) for key in keys], [[_cell(record.get(key)) for key in keys] for record in leaves])


def _depths(metrics: Metrics) -> str:
    scan = part(metrics, "depth_scan")
    rows = [
        (
            f"{point['depth']}{' (chosen)' if point['depth'] == scan['chosen_depth'] else ''}",
            percent(point["accuracy"]),
            percents(point["interval"]),
            f"{point['loss']:.4f}",
            f"{point['milliseconds']:.1f} ms",
            f"{point['megabytes']:.0f} MB",
        )
        for point in scan.get("points", [])
    ]
    if not rows:
        return ""
    drawn = table(("depth", "accuracy", "95 % interval", "log loss", "one text", "size"), rows)
    return f"## Depth\n\n{drawn}\n\n{escape(scan['sampled_rows'])} sampled rows; {escape(scan['why_precision'])}."


def _curves(metrics: Metrics) -> str:
    curves = metrics.get("curves")
    if not curves:
        return ""
    return f"## Curves\n\n{_curve_tables(curves)}"


def _curve_tables(curves: Any) -> str:
    """Return tables of a list of points, of columns of numbers by name, or of several such by name."""
    if not isinstance(curves, Mapping):
        return _thinned([point if isinstance(point, Mapping) else {"value": point} for point in curves])
    if any(isinstance(value, Mapping) or (value and isinstance(value[0], Mapping)) for value in curves.values()):
        return "\n\n".join(f"### {_words(name)}\n\n{_curve_tables(points)}" for name, points in curves.items())
    columns = itertools.zip_longest(*curves.values())
    return _thinned([dict(zip(curves, values, strict=True)) for values in columns])


def _thinned(records: Sequence[Metrics]) -> str:
    """Return a table of evenly spaced records, the first and the last among them, when there are too many to read."""
    if len(records) <= _MOST_CURVE_ROWS:
        return _records(records)
    last = len(records) - 1
    kept = [records[round(i * last / (_MOST_CURVE_ROWS - 1))] for i in range(_MOST_CURVE_ROWS)]
    return f"{_MOST_CURVE_ROWS} of {len(records):,} points; metrics.json has them all.\n\n{_records(kept)}"


def _cost(metrics: Metrics) -> str:
    tables = []
    if seconds := part(metrics, "seconds"):
        tables.append(_pairs(("stage", "seconds"), seconds))
    if tokens := part(metrics, "tokens"):
        tables.append(_pairs(("tokens", "count"), tokens))
    if (memory := metrics.get("peak_rss_mib")) is not None:
        tables.append(f"Peak memory: {memory:,.0f} MiB.")
    if (size := metrics.get("bundle_bytes")) is not None:
        tables.append(f"The saved classifier takes {size / 1e6:,.1f} MB.")
    if (speed := part(metrics, "detail").get("milliseconds_per_text")) is not None:
        tables.append(f"One text of middling length, alone: {speed:.1f} ms on this machine.")
    return "\n\n".join(["## Cost", *tables]) if tables else ""


def _reproduce(metrics: Metrics) -> str:
    lines = []
    if command := metrics.get("command"):
        # Indented, so that no run of backticks in it can end the block.
        shown = command if isinstance(command, str) else " ".join(str(word) for word in command)
        lines.append("\n".join("    " + UNPRINTABLE.sub(" ", line) for line in shown.splitlines()))
    if (seed := metrics.get("seed")) is not None:
        lines.append(f"Seed {escape(seed)}.")
    if config := flat(part(metrics, "config")):
        origins = flat(part(metrics, "origins"))
        rows = [(escape(key), escape(value), escape(origins.get(key, ABSENT))) for key, value in config.items()]
        lines.append(table(("setting", "value", "from"), rows))
    return "\n\n".join(["## How to do it again", *lines]) if lines else ""


def _versions(metrics: Metrics) -> str:
    versions = part(metrics, "versions")
    return f"## Versions\n\n{_pairs(('package', 'version'), versions)}" if versions else ""
