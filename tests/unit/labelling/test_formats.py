"""Suggestions as files: what the tools import, and what comes back from them as labelled rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tailtune.data.read import read_dataset, read_texts
from tailtune.errors import DataError
from tailtune.labelling.formats import Format, label_studio_config, render
from tailtune.labelling.suggest import Suggestion, Suggestions
from tailtune.labels import LabelSet

TEXTS = ('say "hi", <b>you</b>', "two\nlines 🎉")
ONE = LabelSet(names=("ham", 'sp"am & <eggs>'))
SEVERAL = LabelSet(names=("anger", "joy"), several=True)


def suggestions(labels: LabelSet | None) -> Suggestions:
    rows = []
    for number, text in enumerate(TEXTS):
        known: dict[str, Any] = {"probabilities": {}}
        if labels is not None:
            guess = labels.names[1:] if not labels.several else (labels.names if number else ())
            known = {"probabilities": dict(zip(labels.names, (0.25, 0.75), strict=True)), "guess": guess}
            known |= {"uncertainty": 0.5}
        rows.append(Suggestion(text=text, line=10 * number + 2, stands_for=1, **known))
    return Suggestions(rows=tuple(rows), labels=labels, by="both", source="my-run")


@pytest.mark.parametrize("labels", [ONE, SEVERAL, None], ids=["one", "several", "none"])
@pytest.mark.parametrize("form", ["csv", "jsonl", "label-studio", "argilla", "argilla-1"])
def test_the_texts_come_back(tmp_path: Path, form: Format, labels: LabelSet | None) -> None:
    """Each form is one that texts are read from; none of them passes guesses off as labels."""
    path = tmp_path / f"a.{form if form in ('csv', 'jsonl') else 'json'}"
    path.write_text(render(suggestions(labels), form), encoding="utf-8")
    if form == "label-studio" and labels is None:  # tasks without predictions: nothing but data
        assert [each["data"]["text"] for each in json.loads(path.read_text(encoding="utf-8"))] == list(TEXTS)
        return
    assert read_texts(path).texts == TEXTS
    with pytest.raises(DataError):
        read_dataset(path)


def answered(form: Format, labels: LabelSet, answers: list[list[str]]) -> list[dict[str, Any]]:
    """The file as its tool would export it after somebody answered."""
    values: list[dict[str, Any]] = json.loads(render(suggestions(labels), form))
    for number, (value, names) in enumerate(zip(values, answers, strict=True), start=1):
        if form == "label-studio":
            result = value["predictions"][0]["result"] or [
                {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": []}}
            ]
            result = [{**result[0], "value": {"choices": names}}] if names else []
            value |= {"id": number, "annotations": [{"was_cancelled": False, "result": result}]}
        elif form == "argilla":
            given = names if labels.several else names[0]
            value["responses"] = {"label": [{"value": given, "user_id": "somebody"}]}
        else:
            value |= {"annotation": names if labels.several else names[0], "status": "Validated"}
    return values


@pytest.mark.parametrize("form", ["label-studio", "argilla", "argilla-1"])
def test_answers_come_back_as_labels(tmp_path: Path, form: Format) -> None:
    """Written, answered, read: labels are the strings they were, of one label per text and of several."""
    path = tmp_path / "export.json"
    for labels, answers in ((ONE, [[ONE.names[1]], [ONE.names[0]]]), (SEVERAL, [["joy", "anger"], []])):
        path.write_text(json.dumps(answered(form, labels, answers)), encoding="utf-8")
        dataset = read_dataset(path)
        assert dataset.texts == TEXTS
        assert [set(names) for names in dataset.members] == [set(names) for names in answers]
        assert (dataset.sets is not None) == labels.several


def test_a_table_to_fill_in() -> None:
    """The label is empty, the guess beside it; a list of names where there can be several."""
    rows = list(csv.DictReader(io.StringIO(render(suggestions(ONE), "csv"), newline="")))
    assert [row["text"] for row in rows] == list(TEXTS)
    assert {row["label"] for row in rows} == {""}
    assert rows[1] | {"text": ""} == {
        "text": "",
        "label": "",
        "guess": ONE.names[1],
        "confidence": "0.7500",
        "uncertainty": "0.5000",
        "line": "12",
    }
    rows = list(csv.DictReader(io.StringIO(render(suggestions(SEVERAL), "csv"), newline="")))
    assert [json.loads(row["guess"]) for row in rows] == [[], ["anger", "joy"]]


def test_predictions_for_label_studio() -> None:
    """As its importer reads them: a version, a score, and choices for the control called label."""
    first, second = json.loads(render(suggestions(SEVERAL), "label-studio"))
    assert first["predictions"] == [{"model_version": "my-run", "score": 0.75, "result": []}]
    [prediction] = second["predictions"]
    [result] = prediction["result"]
    assert result == {
        "from_name": "label",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": ["anger", "joy"]},
    }


@pytest.mark.parametrize(("labels", "choice"), [(ONE, "single"), (SEVERAL, "multiple")])
def test_the_interface_of_label_studio(labels: LabelSet, choice: str) -> None:
    """XML whose names are those of the tasks, with every label, whatever signs are in it."""
    view = ElementTree.fromstring(label_studio_config(labels))
    text, choices = view
    assert (text.get("name"), text.get("value")) == ("text", "$text")
    assert (choices.get("name"), choices.get("toName"), choices.get("choice")) == ("label", "text", choice)
    assert [each.get("value") for each in choices] == list(labels.names)


def test_suggestions_of_argilla() -> None:
    """One value with its score, or a list with one score each."""
    one, several = (json.loads(render(suggestions(labels), "argilla"))[1] for labels in (ONE, SEVERAL))
    assert one["suggestions"] == {"label": {"value": ONE.names[1], "score": 0.75, "agent": "my-run"}}
    assert several["suggestions"]["label"]["value"] == ["anger", "joy"]
    assert several["suggestions"]["label"]["score"] == [0.25, 0.75]
    first = json.loads(render(suggestions(ONE), "argilla-1"))[0]
    assert first["prediction"] == [[ONE.names[1], 0.75], ["ham", 0.25]]
    assert first["multi_label"] is False
