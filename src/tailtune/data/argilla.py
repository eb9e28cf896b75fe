"""Records of Argilla as ``to_json`` and ``to_dict`` write them: 2.x, feedback of 1.x, text classification of 1.x.

In 2.x ``responses`` is an object, question -> list of answers; in the feedback records of 1.x a list with one object of
values per annotator. The text classification records before them have one ``annotation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tailtune.data.answers import Item, Names, names_of

_NO_ANSWER = {"discarded", "draft"}
FIRST_QUESTION = "annotation"


def is_record(value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is a record of 2.x, or a feedback record of 1.x."""
    return isinstance(value.get("fields"), dict) and bool({"responses", "suggestions"} & set(value))


def is_first_record(value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is a text classification record of 1.x."""
    return {"annotation", "prediction", "multi_label"} <= set(value) and bool({"text", "inputs"} & set(value))


def read_records(records: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return one item per record, in order; suggestions are not answers."""
    return [_record(record) for record in records]


def _record(record: Mapping[str, Any]) -> Item:
    made = list(_responses(record.get("responses") or {}))
    counted = [answers for answers, status in made if status not in _NO_ANSWER]
    fields = record.get("fields")
    return Item(
        fields=fields if isinstance(fields, dict) else {}, answers=tuple(counted), skipped=len(made) - len(counted)
    )


def _responses(responses: Any) -> Iterator[tuple[dict[str, Names], str]]:
    """Answers of one annotator, or of one annotator to one question, with their status."""
    if isinstance(responses, dict):
        for question, given in responses.items():
            for each in given or []:
                yield _named({question: each.get("value")}), str(each.get("status") or "submitted")
    else:
        for each in responses:
            values = {question: (answer or {}).get("value") for question, answer in (each.get("values") or {}).items()}
            yield _named(values), str(each.get("status") or "submitted")


def _named(values: Mapping[str, Any]) -> dict[str, Names]:
    return {question: names for question, value in values.items() if (names := names_of(value)) is not None}


def read_first_records(records: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return one item per text classification record of 1.x; the question is called FIRST_QUESTION."""
    return [_first_record(record) for record in records]


def _first_record(record: Mapping[str, Any]) -> Item:
    inputs = record.get("inputs")
    fields = inputs if isinstance(inputs, dict) else {"text": record.get("text")}
    answers = _named({FIRST_QUESTION: record.get("annotation")})
    if record.get("status") == "Discarded":
        return Item(fields=fields, skipped=1)
    return Item(fields=fields, answers=(answers,) if answers else ())
