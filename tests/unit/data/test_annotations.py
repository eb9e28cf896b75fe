"""Exports of Label Studio and Argilla: what was answered becomes labels, what was not settled is counted and left out.

The objects have the shape that label-studio-sdk 2.1.2 and argilla 2.8.0 wrote.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tailtune.data.dataset import Dataset
from tailtune.data.read import read_dataset, read_texts
from tailtune.errors import DataError


def write(folder: Path, value: Any, name: str = "export.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
    return path


def annotation(choices: Sequence[str] | None, *, cancelled: bool = False, name: str = "label") -> dict[str, Any]:
    result = {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": list(choices or ())}}
    return {"id": 7, "was_cancelled": cancelled, "completed_by": 1, "result": [] if choices is None else [result]}


def task(number: int, *annotations: dict[str, Any], text: str = "") -> dict[str, Any]:
    data = {"text": text or f"text {number}", "line": number, "from": f"sender {number}"}
    return {"id": number, "data": data, "annotations": list(annotations), "predictions": []}


def short(number: int, choices: str | Sequence[str] | None, annotator: int = 1) -> dict[str, Any]:
    about = {"annotator": annotator, "annotation_id": None if choices is None else 9, "lead_time": 1.5}
    value = choices if isinstance(choices, str) else {"choices": list(choices or ())}
    return {
        "text": f"text {number}",
        "line": number,
        "id": number,
        **about,
        **({} if choices is None else {"tag": value}),
    }


def record(number: int, *values: Any, suggested: str = "ham", **responses: Any) -> dict[str, Any]:
    answers = [{"value": value, "user_id": f"user {at}"} for at, value in enumerate(values)]
    return {
        "id": str(number),
        "fields": {"text": f"text {number}"},
        "metadata": {},
        "suggestions": {"label": {"value": suggested, "score": 0.9, "agent": "run"}},
        "responses": responses or ({"label": answers} if answers else {}),
        "vectors": {},
        "status": "pending",
        "_server_id": None,
    }


def first_record(number: int, label: str | list[str] | None, status: str = "Validated") -> dict[str, Any]:
    several = isinstance(label, list)
    known = {"text": f"text {number}", "inputs": {"text": f"text {number}"}, "prediction": [["ham", 0.7]]}
    return {**known, "annotation": label, "multi_label": several, "status": status, "id": number, "metrics": {}}


def said(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    return {finding.kind: finding.rows for finding in dataset.findings}


EXPORTS: dict[str, list[dict[str, Any]]] = {
    "label studio": [
        task(1, annotation(["spam"])),
        task(2, annotation(["ham"]), annotation(["ham"]), annotation(["spam"])),
        task(3, annotation(["ham"]), annotation(["spam"])),
        task(4, annotation(["ham"], cancelled=True)),
        task(5),
        task(6, annotation(["ham"], cancelled=True), annotation(["spam"])),
    ],
    "label studio, JSON-MIN": [
        short(1, "spam"),
        *(short(2, label, annotator) for annotator, label in enumerate(("ham", "ham", "spam"))),
        *(short(3, label, annotator) for annotator, label in enumerate(("ham", "spam"))),
        short(4, None),
        short(5, None),
        short(6, "spam"),
    ],
    "argilla 2": [
        record(1, "spam"),
        record(2, "ham", "ham", "spam"),
        record(3, "ham", "spam"),
        record(4, label=[{"value": "ham", "user_id": "a", "status": "discarded"}]),
        record(5),
        record(6, label=[{"value": "ham", "user_id": "a", "status": "draft"}, {"value": "spam", "user_id": "b"}]),
    ],
}


@pytest.mark.parametrize("form", EXPORTS)
@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
def test_answers_become_labels(tmp_path: Path, form: str, lines: bool) -> None:
    """Majorities are labels; ties, skipped and unanswered texts are left out and counted; all texts can be read."""
    path = write(tmp_path, EXPORTS[form])
    if lines:
        path = tmp_path / "export.jsonl"
        path.write_text("".join(json.dumps(value) + "\n" for value in EXPORTS[form]), encoding="utf-8")
    dataset = read_dataset(path)
    assert dict(zip(dataset.rows, dataset.labels, strict=True)) == {1: "spam", 2: "ham", 6: "spam"}
    assert dataset.texts == ("text 1", "text 2", "text 6")
    assert dataset.sets is None
    assert said(dataset) == {"unanswered": (4, 5), "voted": (2,), "no_majority": (3,)}
    assert read_texts(path).texts == tuple(f"text {number}" for number in range(1, 7))


def test_first_argilla_records(tmp_path: Path) -> None:
    """Text classification records of 1.x have one annotation; a discarded one does not count."""
    values = [first_record(1, "spam"), first_record(2, None, "Default"), first_record(3, "ham", "Discarded")]
    dataset = read_dataset(write(tmp_path, [*values, first_record(4, "ham")]))
    assert dict(zip(dataset.rows, dataset.labels, strict=True)) == {1: "spam", 4: "ham"}
    assert said(dataset) == {"unanswered": (2, 3)}


def test_feedback_records_of_argilla_1(tmp_path: Path) -> None:
    """Responses as a list with an object of values per annotator."""
    one = record(1) | {"responses": [{"values": {"label": {"value": "spam"}}, "status": "submitted"}]}
    two = record(2) | {"responses": [{"values": {"label": {"value": "ham"}}, "status": "discarded"}]}
    dataset = read_dataset(write(tmp_path, [one, two]))
    assert (dataset.texts, dataset.labels) == (("text 1",), ("spam",))


@pytest.mark.parametrize(
    "values",
    [
        [task(1, annotation(["b", "a"])), task(2, annotation(["a"])), task(3, annotation(None)), task(4)],
        [short(1, ["b", "a"]), short(2, "a"), short(3, []), short(4, None)],
        [record(1, ["b", "a"]), record(2, ["a"]), record(3, []), record(4)],
        [first_record(1, ["b", "a"]), first_record(2, ["a"]), first_record(3, []), first_record(4, None)],
    ],
    ids=["label studio", "label studio, JSON-MIN", "argilla 2", "argilla 1"],
)
def test_several_choices_are_several_labels(tmp_path: Path, values: list[dict[str, Any]]) -> None:
    """One text with two labels is enough: then an empty answer means none, and no answer still means no answer."""
    dataset = read_dataset(write(tmp_path, values))
    assert dict(zip(dataset.rows, dataset.members, strict=True)) == {1: ("a", "b"), 2: ("a",), 3: ()}
    assert said(dataset) == {"unanswered": (4,)}


def test_majorities_of_several_labels(tmp_path: Path) -> None:
    """Each label that more than half gave; a label with exactly half of the answers settles nothing."""
    two_of_three = [annotation(["a", "b"]), annotation(["a"]), annotation(["c", "a", "b"])]
    half = [annotation(["a", "b"]), annotation(["a"])]
    dataset = read_dataset(write(tmp_path, [task(1, *two_of_three), task(2, *half)]))
    assert dataset.members == (("a", "b"),)
    assert said(dataset) == {"voted": (1,), "no_majority": (2,)}


def test_several_questions_need_a_name(tmp_path: Path) -> None:
    """Which one holds the labels is asked, and answered with --label-column; the text's field with --text-column."""
    both = annotation(["spam"])
    both["result"].append(annotation(["en"], name="language")["result"][0])
    path = write(tmp_path, [task(1, both), task(2, annotation(["ham"]))])
    with pytest.raises(DataError, match="several questions; questions answered: 'label', 'language'") as caught:
        read_dataset(path)
    assert "--label-column" in (caught.value.hint or "")
    with pytest.raises(DataError, match="no question 'colour'"):
        read_dataset(path, label_column="colour")
    dataset = read_dataset(path, label_column="language", text_column="from")
    assert (dataset.texts, dataset.labels, dataset.names) == (("sender 1",), ("en",), ("from", "language"))


def test_further_fields_are_columns(tmp_path: Path) -> None:
    """--group, --time and --slice-by find the fields that were shown beside the text."""
    dataset = read_dataset(write(tmp_path, [task(3, annotation(["a"])), task(9, annotation(["b"]))]), others=("line",))
    assert dataset.columns == {"line": ("3", "9")}


def test_a_single_field_is_the_text(tmp_path: Path) -> None:
    """Whatever it is called."""
    values = [{"id": 1, "data": {"dialogue": "hello"}, "annotations": [annotation(["a"])]}]
    assert read_dataset(write(tmp_path, values)).texts == ("hello",)


def test_blank_texts_and_numbers(tmp_path: Path) -> None:
    """Blank texts are dropped as ever; labels that are numbers are their digits, true and false their names."""
    values = [task(1, annotation(["1"]), text=" "), *(record(at, at % 2 == 1) for at in range(2, 4))]
    dataset = read_dataset(write(tmp_path, [values[0], task(2, annotation(["0"]))]))
    assert (dataset.labels, said(dataset)) == (("0",), {"blank_texts": (1,)})
    assert read_dataset(write(tmp_path, values[1:])).labels == ("false", "true")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ([task(1), task(2)], "no text has an answer yet"),
        ([task(1, annotation(["a"]), annotation(["b"]))], "no text has an answer that counts"),
        ([task(1, annotation(["a"])), "nonsense"], "entry 2 is no object"),
    ],
)
def test_refused(tmp_path: Path, values: list[Any], part: str) -> None:
    """An export without labels is named for what it is."""
    with pytest.raises(DataError, match=part) as caught:
        read_dataset(write(tmp_path, values))
    assert "\n" not in str(caught.value)


def test_broken_json_is_refused_with_its_line(tmp_path: Path) -> None:
    """An export that was cut off says where."""
    path = write(tmp_path, [task(1, annotation(["a"])), task(2, annotation(["b"]))])
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[: len(whole) // 2], encoding="utf-8")
    line = whole[: len(whole) // 2].count("\n") + 1
    with pytest.raises(DataError, match=f"export.json:{line}: not JSON"):
        read_dataset(path)


def test_plain_objects_stay_plain(tmp_path: Path) -> None:
    """A key that a labelling tool has too makes no export of JSON lines."""
    path = tmp_path / "a.jsonl"
    rows = [{"text": "a", "label": "x", "annotation": "y", "data": "z"}, {"text": "b", "label": "y"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_dataset(path).labels == ("x", "y")
