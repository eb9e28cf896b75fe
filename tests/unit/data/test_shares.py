"""Soft labels: votes or probabilities of labels, in objects and in columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.read import dataset_from_lists, read_dataset
from tailtune.data.several import LabelForm
from tailtune.data.shares import likeliest, read_shares, spell_shares
from tailtune.errors import ConfigError, DataError


def test_votes_in_json_lines(tmp_path: Path) -> None:
    """Votes are divided by their sum; the label is the likeliest, and a class that never is one is a class still."""
    file = tmp_path / "votes.jsonl"
    rows = [{"text": "a", "label": {"spam": 3, "ham": 1}}, {"text": "b", "label": {"ham": 0.5, "odd": 0.5}}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dataset = read_dataset(file)
    assert dataset.labels == ("spam", "ham")
    assert dataset.classes == dataset.label_set.names == ("ham", "odd", "spam")
    targets = dataset.targets(dataset.label_set)
    assert targets is not None
    assert targets.tolist() == [[0.25, 0.0, 0.75], [0.5, 0.5, 0.0]]
    assert dataset.take([1]).shares == ({"ham": 0.5, "odd": 0.5},)


def test_columns_and_cells_are_the_same(tmp_path: Path) -> None:
    """A column of numbers per label, an object in a cell and a dict in Python give the same shares."""
    (tmp_path / "columns.csv").write_text("text,ham,spam\nhello,1,3\nbye,2,0\n", encoding="utf-8")
    (tmp_path / "cells.csv").write_text(
        'text,label\nhello,"{""ham"": 1, ""spam"": 3}"\nbye,"{""ham"": 2}"\n', encoding="utf-8"
    )
    columns = read_dataset(tmp_path / "columns.csv", form=LabelForm.given(None, None, "ham,spam"))
    cells = read_dataset(tmp_path / "cells.csv")
    lists = dataset_from_lists(["hello", "bye"], [{"ham": 1, "spam": 3}, {"ham": 2}])
    assert columns.shares == cells.shares == lists.shares == ({"ham": 0.25, "spam": 0.75}, {"ham": 1.0})
    assert columns.columns == {}


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 9), min_size=1).filter(
        lambda d: any(d.values())
    )
)
def test_shares_sum_to_one(votes: dict[str, int]) -> None:
    """Whatever the votes, shares are positive, sum to one and keep their order."""
    found = read_shares([spell_shares(votes)], {}, (), [1], "memory")
    assert found is not None
    assert sum(found[0].values()) == pytest.approx(1)
    assert set(found[0]) == {name for name, count in votes.items() if count}
    assert votes[likeliest(found[0])] == max(votes.values())


@pytest.mark.parametrize(
    "label", ['{"ham": -1, "spam": 2}', '{"ham": 0}', "{}", '{"ham": "many"}', '{"ham": true}', '{"ham": NaN}', "ham"]
)
def test_what_is_no_share_is_refused(label: str) -> None:
    """The row is named."""
    with pytest.raises(DataError, match="row 8: no shares of labels"):
        read_shares(['{"ham": 1}', label], {}, (), [7, 8], "memory")


def test_names_stay_names() -> None:
    """Labels that are no objects are names, and two forms contradict each other."""
    assert read_shares(["ham", "{spam}"], {}, (), [1, 2], "memory") is None
    with pytest.raises(ConfigError, match="--label-columns and --label-shares contradict each other"):
        LabelForm.given(None, "a", "b")
    assert dataset_from_lists(["a"], ["ham"]).targets(dataset_from_lists(["a"], ["ham"]).label_set) is None
    assert dataset_from_lists(["a"], ["ham"]).shared == ({"ham": 1.0},)
