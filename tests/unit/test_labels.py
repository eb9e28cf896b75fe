"""Label names and ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.errors import BundleError, ConfigError, DataError
from tailtune.labels import LabelSet, order_labels


def test_order() -> None:
    """Integers in numeric order, then the rest in code-point order; the order of rows does not matter."""
    assert order_labels(["spam", "10", "9", "-1", "ham", "Ham", "10"]) == ("-1", "9", "10", "Ham", "ham", "spam")
    assert order_labels(["--1", "1", "9" * 5000]) == ("1", "--1", "9" * 5000)


def test_ids_and_names() -> None:
    """An id is the position of the name."""
    labels = LabelSet.of(["spam", "ham", "spam"])
    assert labels.names == ("ham", "spam")
    assert labels.ids(["spam", "ham"]).tolist() == [1, 0]
    assert labels.ids([]).shape == (0,)
    assert (labels.name(0), labels.name(1), len(labels)) == ("ham", "spam", 2)
    with pytest.raises(ConfigError, match="no label 2: ids run from 0 to 1"):
        labels.name(2)


def test_unknown_label() -> None:
    """A label the set does not know is named, with those it knows."""
    with pytest.raises(DataError, match="unknown label 'egg'; the classifier knows 'ham', 'spam'"):
        LabelSet.of(["ham", "spam"]).ids(["ham", "egg"])


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=20))
def test_json_round_trip(labels: list[str]) -> None:
    """What is written comes back, through real JSON, whatever the order of its keys."""
    before = LabelSet.of(labels)
    assert LabelSet.from_json(json.loads(json.dumps(before.to_json(), sort_keys=True))) == before


def test_json_form() -> None:
    """The form is the one Hugging Face configurations use."""
    assert LabelSet(names=("ham", "spam")).to_json() == {"id2label": {"0": "ham", "1": "spam"}}


def test_several_labels_per_text() -> None:
    """Rows are sets of names, ids 0 and 1 in the order of names; the JSON names the problem as Hugging Face does."""
    labels = LabelSet.over([["love"], [], ["joy", "love"]])
    assert (labels.names, labels.several) == (("joy", "love"), True)
    assert labels.matrix([["love", "joy"], [], ("love",)]).tolist() == [[1, 1], [0, 0], [0, 1]]
    assert labels.matrix([]).shape == (0, 2)
    with pytest.raises(DataError, match="unknown label 'egg'; the classifier knows 'joy', 'love'"):
        labels.matrix([["joy", "egg"]])
    value = labels.to_json()
    assert value["problem_type"] == "multi_label_classification"
    assert LabelSet.from_json(json.loads(json.dumps(value))) == labels
    single = {"id2label": {"0": "a"}, "problem_type": "single_label_classification"}
    assert not LabelSet.from_json(single).several
    with pytest.raises(BundleError, match="problem_type 'regression' is not known"):
        LabelSet.from_json({"id2label": {"0": "a"}, "problem_type": "regression"})


@pytest.mark.parametrize(
    "value",
    [{}, {"id2label": {}}, {"id2label": ["a"]}, {"id2label": {"1": "a"}}, {"id2label": {"0": 5}},
     {"id2label": {"0": "a", "1": "a"}}],
)  # fmt: skip
def test_json_refused(value: dict[str, object]) -> None:
    """Ids with gaps, names that are no strings or not distinct: the bundle is wrong."""
    with pytest.raises(BundleError, match="id2label"):
        LabelSet.from_json(value)


def test_names_must_be_distinct() -> None:
    """A set without names or with the same name twice cannot be made."""
    for names in ((), ("a", "a")):
        with pytest.raises(ConfigError, match="distinct"):
            LabelSet(names=names)
