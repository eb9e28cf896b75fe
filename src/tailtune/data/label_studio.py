"""Label Studio's two JSON exports (1.x): JSON, a task with all its annotations, and JSON-MIN, an object per annotation.

Answers are those of ``Choices`` controls, called by their ``name`` (``from_name`` in the export). Older exports call
annotations ``completions`` and cancelled ones ``skipped``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailtune.data.answers import Item, Names, names_of

# What JSON-MIN adds to the fields of a task and the answers of one annotation.
_ABOUT = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}


def is_task(value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is a task of the full export, annotated or not."""
    return isinstance(value.get("data"), dict) and bool({"annotations", "completions", "predictions"} & set(value))


def is_short(value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is one annotation of JSON-MIN."""
    return {"annotator", "annotation_id"} <= set(value)


def read_tasks(tasks: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return one item per task, in order; predictions are not answers."""
    return [_task(task) for task in tasks]


def _task(task: Mapping[str, Any]) -> Item:
    made = task.get("annotations", task.get("completions")) or []
    made = [each for each in made if isinstance(each, dict)]
    counted = [each for each in made if not (each.get("was_cancelled") or each.get("skipped"))]
    data = task.get("data")
    return Item(
        fields=data if isinstance(data, dict) else {},
        answers=tuple(_answers(each.get("result") or []) for each in counted),
        skipped=len(made) - len(counted),
    )


def _answers(results: Sequence[Any]) -> dict[str, Names]:
    found: dict[str, Names] = {}
    for result in results:
        if isinstance(result, dict) and result.get("type") == "choices":
            choices = names_of((result.get("value") or {}).get("choices"))
            if choices is not None:
                found[str(result.get("from_name"))] = replace(choices, several=len(choices.names) > 1)
    return found


def read_short(annotations: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return one item per task: annotations of JSON-MIN with the same ``id`` are of the same one."""
    tasks: dict[Any, Item] = {}
    for place, value in enumerate(annotations):
        fields = {name: each for name, each in value.items() if name not in _ABOUT}
        answers = {name: names for name, each in fields.items() if (names := _short_answer(each)) is not None}
        own = (answers,) if value.get("annotation_id") is not None else ()
        key = value.get("id", ("no id", place))
        known = tasks.get(key, Item(fields=fields))
        tasks[key] = replace(known, answers=(*known.answers, *own))
    return list(tasks.values())


def _short_answer(value: Any) -> Names | None:
    """One choice is written as a string, several as an object with the list; numbers are fields of the task."""
    choices = value.get("choices") if isinstance(value, dict) else value
    return None if isinstance(choices, int) else names_of(choices)
