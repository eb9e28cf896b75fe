"""Exports of labelling tools become records: who answered what is counted, and what is not settled is left out.

Label Studio's JSON and JSON-MIN, and the records of Argilla 1.x (text classification, feedback) and 2.x, as one array
or one object per line. How each is written is in ``label_studio`` and ``argilla``. Knows nothing about models.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.data import argilla, label_studio
from tailtune.data.answers import Item, Names
from tailtune.data.columns import Wanted, choose_columns, choose_others
from tailtune.data.dataset import Finding, Severity, name_rows
from tailtune.data.delimited import Records
from tailtune.data.several import spell
from tailtune.data.structured import load_json, plain_value, text_value
from tailtune.errors import DataError

_START = re.compile(r"\s*\[?\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tool:
    """One form: whether an object looks like it, how all of them are read, whether answers stand among the fields."""

    looks: Callable[[Mapping[str, Any]], bool]
    items: Callable[[Sequence[Mapping[str, Any]]], list[Item]]
    mixed: bool = False


_TOOLS = (
    _Tool(looks=label_studio.is_task, items=label_studio.read_tasks),
    _Tool(looks=label_studio.is_short, items=label_studio.read_short, mixed=True),
    _Tool(looks=argilla.is_record, items=argilla.read_records),
    _Tool(looks=argilla.is_first_record, items=argilla.read_first_records),
)


def looks_annotated(text: str) -> bool:
    """Return whether the first object in ``text`` is of a labelling tool; only that one is read."""
    return _tool_of(text) is not None


def _tool_of(text: str) -> _Tool | None:
    start = _START.match(text)
    try:
        first, _ = json.JSONDecoder().raw_decode(text, start.end() if start else 0)
    except (ValueError, RecursionError):
        return None
    return next((tool for tool in _TOOLS if isinstance(first, dict) and tool.looks(first)), None)


def parse_annotations(text: str, path: Path, wanted: Wanted) -> Records:
    """Return the texts with the labels that their annotators gave; ``lines`` are numbers of texts, from 1.

    Several annotators: the majority; of any number of labels, those that more than half gave. Texts without an answer
    or without a majority are among ``Records.left_out``; they are rows where no labels are wanted.

    Args:
        text: Of the file, for which ``looks_annotated`` holds.
        path: For errors.
        wanted: ``text_column`` names a field, ``label_column`` a question (``from_name`` in Label Studio).

    Raises:
        DataError: If it is not JSON, the field or question is not clear, or no text has an answer.
    """
    tool = _tool_of(text)
    objects = _objects(text, path)
    items = tool.items(objects) if tool is not None else []
    names = list(dict.fromkeys(name for item in items for name in item.fields))
    text_at, question = _columns(names, items, wanted, path, mixed=tool is not None and tool.mixed)
    others = choose_others(names, wanted, (text_at, -1), path)
    labels, left_out, findings = _labels(items, question, path) if question is not None else ([], frozenset(), ())
    key = names[text_at]
    return Records(
        texts=[text_value(item.fields.get(key), path, number) for number, item in enumerate(items, start=1)],
        labels=labels,
        lines=range(1, len(items) + 1),
        findings=findings,
        columns={name: [plain_value(item.fields.get(names[at])) for item in items] for name, at in others.items()},
        names=(key, question or "label"),
        left_out=left_out,
    )


def _objects(text: str, path: Path) -> list[Mapping[str, Any]]:
    if text.lstrip().startswith("["):
        values = load_json(text, path, 1)
    else:
        numbered = enumerate(text.split("\n"), start=1)
        values = [load_json(line, path, number) for number, line in numbered if line.strip()]
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise DataError(f"entry {number} is no object, as the first one is", path=path)
    return list(values)


def _columns(
    names: Sequence[str], items: Sequence[Item], wanted: Wanted, path: Path, *, mixed: bool
) -> tuple[int, str | None]:
    """Place of the text's field in ``names``, and the question whose answers are labels; None where none is wanted."""
    plain = Wanted(text_column=wanted.text_column, labelled=False)
    text_at = 0 if len(names) == 1 and not wanted.text_column else choose_columns(names, plain, path)[0]
    if not wanted.labelled:
        return text_at, None
    answered = {name for item in items for answer in item.answers for name in answer} - {names[text_at]}
    if mixed and len(answered) > 1:
        return text_at, names[choose_columns(names, wanted, path)[1]]
    return text_at, _question(sorted(answered), wanted, path)


def _question(known: Sequence[str], wanted: Wanted, path: Path) -> str:
    if wanted.label_column is not None and wanted.label_column in known:
        return wanted.label_column
    if not known:
        raise DataError("no text has an answer yet", path=path, hint="export it again after labelling")
    if len(known) == 1 and wanted.label_column is None:
        return known[0]
    asked = "several questions" if wanted.label_column is None else f"no question {wanted.label_column!r}"
    listed = ", ".join(map(repr, known))
    raise DataError(f"{asked}; questions answered: {listed}", path=path, hint="name one with --label-column")


def _labels(items: Sequence[Item], question: str, path: Path) -> tuple[list[str], frozenset[int], tuple[Finding, ...]]:
    """One label per item, a list of names spelled as JSON where texts can have several; those left out; what to say."""
    # An annotator who submitted nothing at all said: none of the labels.
    given = [
        [answer.get(question, Names(names=())) for answer in item.answers if question in answer or not answer]
        for item in items
    ]
    several = any(names.several for own in given for names in own)
    decided = [_several(own) if several else _one(own) for own in given]
    silent = [at for at, own in enumerate(given) if not (own if several else [each for each in own if each.names])]
    split = [at for at, label in enumerate(decided) if label is None and at not in set(silent)]
    voted = [at for at, own in enumerate(given) if decided[at] is not None and len({each.names for each in own}) > 1]
    if len(silent) + len(split) == len(items):
        raise DataError("no text has an answer that counts", path=path, hint="export it again after labelling")
    skipped = sum(items[at].skipped for at in silent)
    unanswered = "texts without an answer, left out" + (f" (skipped {skipped} times)" if skipped else "")
    said = (
        _said("unanswered", "note", unanswered, silent),
        _said("voted", "note", "texts whose annotators differ, with the label of the majority", voted),
        _said("no_majority", "warning", "texts whose annotators differ without a majority, left out", split),
    )
    findings = tuple(finding for finding in said if finding is not None)
    return [label or "" for label in decided], frozenset([*silent, *split]), findings


def _one(answers: Sequence[Names]) -> str | None:
    """The label that more annotators gave than any other."""
    votes = Counter(names.names[0] for names in answers if names.names).most_common(2)
    return None if not votes or (len(votes) == 2 and votes[0][1] == votes[1][1]) else votes[0][0]


def _several(answers: Sequence[Names]) -> str | None:
    """The labels that more than half of the annotators gave; None where one has exactly half."""
    votes = Counter(name for names in answers for name in names.names)
    if not answers or any(2 * count == len(answers) for count in votes.values()):
        return None
    return spell([name for name, count in votes.items() if 2 * count > len(answers)])


def _said(kind: str, severity: Severity, message: str, places: Sequence[int]) -> Finding | None:
    if not places:
        return None
    rows = tuple(at + 1 for at in places)
    return Finding(kind=kind, message=f"{message}: {len(rows)}, {name_rows(rows)}", rows=rows, severity=severity)
