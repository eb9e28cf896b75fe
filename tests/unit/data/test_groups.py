"""Which rows stay together, and what is said where they cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tailtune.data.groups import find_near, group_rows, value_ids
from tailtune.data.read import dataset_from_lists
from tailtune.errors import ConfigError

WORDS = ("apple", "bridge", "candle", "dragon", "engine", "forest", "garden", "hammer", "island", "jacket")


def test_marks_and_words() -> None:
    """With ``word`` a changed word joins two texts, with ``marks`` it does not; equal folds are joined by both."""
    texts = ("Call me when home!", "call me WHEN home", "call me when there", "something else")
    assert find_near(texts).chains().tolist() == [0, 0, 0, 1]
    assert find_near(texts, "marks").chains().tolist() == [0, 0, 1, 2]
    with pytest.raises(ConfigError, match="unknown likeness 'all'"):
        find_near(texts, "all")  # type: ignore[arg-type]


def test_a_column_joins_rows_and_chains() -> None:
    """Rows of one value are one group, together with their near duplicates; a blank value joins nothing."""
    dataset = dataset_from_lists(["one", "two", "ONE", "three", "four"], list("xyxyx"))
    dataset = replace(dataset, columns={"who": ("a", "b", "c", "a", " ")})
    assert group_rows(dataset, column="who").ids.tolist() == [0, 1, 0, 0, 2]
    assert value_ids(["a", "", "a", ""]).tolist() == [0, 1, 0, 2]


def test_variants_of_one_form_fall_apart_and_that_is_said() -> None:
    """100 texts of one form cannot lie in one part; copies but for marks still do."""
    form = [f"please bring the {left} and the {right}" for left in WORDS for right in WORDS]
    dataset = dataset_from_lists([*form, form[0].upper(), "hello", "bye"], [*["a"] * 101, "b", "b"])
    groups = group_rows(dataset)
    assert len(set(groups.ids.tolist())) == 102
    assert groups.ids[100] == groups.ids[0]
    (finding,) = groups.findings
    assert (finding.kind, finding.severity, len(finding.rows)) == ("forms", "warning", 101)
    assert "variants of one form" in finding.message


def test_a_class_of_one_form_falls_apart() -> None:
    """Six of the eight texts of a class are one chain: it could never be tested; four of them stay together."""
    others = [f"{word} {word[::-1]}" for word in WORDS] * 4
    for count, kept in ((6, False), (4, True)):
        form = [f"please bring the {word} tonight" for word in WORDS[:count]]
        dataset = dataset_from_lists([*form, "so", "what", *others], ["a"] * (count + 2) + ["b"] * len(others))
        groups = group_rows(dataset)
        assert (len(set(groups.ids[:count].tolist())) == 1) == kept
        assert bool(groups.findings) != kept
