"""Suggestions as files: a table to fill in, JSON lines, tasks for Label Studio, records for Argilla."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Literal

from tailtune.data.marks import row_marks
from tailtune.labelling.suggest import Suggestion, Suggestions
from tailtune.labels import LabelSet

Format = Literal["csv", "jsonl", "label-studio", "argilla", "argilla-1"]


def render(found: Suggestions, form: Format) -> str:
    """Return the suggestions as the content of a file in that form.

    ``csv`` has an empty column ``label`` to fill in. ``label-studio`` is a list of tasks with predictions to import,
    ``argilla`` one of records as Argilla 2.x reads them (``Record.from_dict``), ``argilla-1`` one of text
    classification records of 1.x.
    """
    return _FORMS[form](found)


def _csv(found: Suggestions) -> str:
    out = io.StringIO(newline="")
    # Every field quoted: the csv module leaves a bare carriage return unquoted, and readers take it for a line end.
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["text", "label", "guess", "confidence", "uncertainty", "line"])
    for each in found.rows:
        numbers = ("" if value is None else f"{value:.4f}" for value in (each.confidence, each.uncertainty))
        writer.writerow([each.text, "", _spelled(each, found.labels), *numbers, each.line])
    return out.getvalue()


def _spelled(each: Suggestion, labels: LabelSet | None) -> str:
    if each.guess is None or labels is None:
        return ""
    return json.dumps(list(each.guess), ensure_ascii=False) if labels.several else each.guess[0]


def _jsonl(found: Suggestions) -> str:
    lines = []
    for each in found.rows:
        value: dict[str, Any] = {"text": each.text, "line": each.line, "stands_for": each.stands_for}
        if each.guess is not None and found.labels is not None:
            value |= {"guess": list(each.guess) if found.labels.several else each.guess[0]}
            value |= {"uncertainty": each.uncertainty, "probabilities": each.probabilities}
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def _array(task: Callable[[Suggestion, Suggestions], Mapping[str, Any]]) -> Callable[[Suggestions], str]:
    def rendered(found: Suggestions) -> str:
        return json.dumps([task(each, found) for each in found.rows], ensure_ascii=False, indent=1) + "\n"

    return rendered


def _label_studio(each: Suggestion, found: Suggestions) -> Mapping[str, Any]:
    task: dict[str, Any] = {"data": {"text": each.text, "line": each.line}}
    if each.guess is None:
        return task
    result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": list(each.guess)}}
    results = [result] if each.guess else []
    return task | {"predictions": [{"model_version": found.source, "score": each.confidence, "result": results}]}


def _argilla(each: Suggestion, found: Suggestions) -> Mapping[str, Any]:
    suggestions = {}
    if each.guess is not None and found.labels is not None:
        several = found.labels.several
        value = list(each.guess) if several else each.guess[0]
        score = [each.probabilities[name] for name in each.guess] if several else each.confidence
        suggestions = {"label": {"value": value, "score": score, "agent": found.source}}
    return {
        "id": row_marks([each.text])[0],
        "fields": {"text": each.text},
        "metadata": {"line": each.line},
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
    }


def _argilla_1(each: Suggestion, found: Suggestions) -> Mapping[str, Any]:
    known = each.guess is not None
    ranked = sorted(each.probabilities.items(), key=lambda pair: -pair[1])
    return {
        "text": each.text,
        "inputs": {"text": each.text},
        "prediction": [list(pair) for pair in ranked] if known else None,
        "prediction_agent": found.source if known else None,
        "annotation": None,
        "multi_label": found.labels is not None and found.labels.several,
        "id": row_marks([each.text])[0],
        "metadata": {"line": each.line},
        "status": "Default",
    }


_FORMS: Mapping[Format, Callable[[Suggestions], str]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "label-studio": _array(_label_studio),
    "argilla": _array(_argilla),
    "argilla-1": _array(_argilla_1),
}


def label_studio_config(labels: LabelSet) -> str:
    """Return the labelling interface that tasks for these labels belong to, to paste into Label Studio's settings."""
    choices = "".join(f'<Choice value="{escape(name)}"/>' for name in labels.names)
    choice = "multiple" if labels.several else "single"
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="label" toName="text" choice="{choice}" showInline="true">{choices}</Choices></View>'
    )
