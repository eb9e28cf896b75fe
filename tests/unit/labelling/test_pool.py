"""Which texts are worth a question."""

from __future__ import annotations

import pytest

from tailtune.data.marks import row_marks
from tailtune.errors import DataError
from tailtune.labelling.pool import pool_of

FAR = "the train to the city leaves at noon from the old station"
NEAR = "the train to the town leaves at noon from the old station"


def test_near_duplicates_are_asked_once() -> None:
    """The first of a group is asked and stands for all of it."""
    pool = pool_of([FAR, "something else entirely", NEAR, FAR.upper()])
    assert pool.places.tolist() == [0, 1]
    assert pool.sizes.tolist() == [3, 1]
    assert (pool.blank, pool.labelled, pool.repeated) == (0, 0, 2)


def test_labelled_texts_and_those_near_them_are_not_asked() -> None:
    """Texts at hand count with their near duplicates, marks with what folds to the same, and the group of those."""
    texts = [FAR, NEAR, "an entirely different message about lunch", "call me"]
    assert pool_of(texts, labelled=[NEAR]).places.tolist() == [2, 3]
    assert pool_of(texts, seen=frozenset(row_marks(["CALL ME!"]))).places.tolist() == [0, 2]
    assert pool_of(texts, seen=frozenset(row_marks([NEAR]))).places.tolist() == [2, 3]


def test_blank_texts_are_not_asked() -> None:
    """And what was left out is told by count."""
    pool = pool_of(["", " \u200b", "hello there", "hello there", "good bye"], labelled=["good bye", ""])
    assert pool.places.tolist() == [2]
    assert pool.note() == (
        "texts to choose from: 1; left out: 2 blank; 1 labelled already, or near duplicates of those; "
        "1 near duplicates of others"
    )


def test_nothing_left_out_needs_no_note() -> None:
    """An empty line says nothing."""
    pool = pool_of(["one message", "another message altogether"])
    assert pool.note() == ""
    with pytest.raises(DataError, match="no text is left to label: 1 blank; 1 labelled already"):
        pool_of(["hello", " "], labelled=["Hello!"]).note()
    with pytest.raises(DataError, match="no text is left to label"):
        pool_of([]).note()


def test_variants_of_one_form_are_not_one_question() -> None:
    """A chain that holds most of a pool falls apart: else one answer would settle a whole class."""
    words = ["alpha", "bravo", "delta", "gamma", "omega", "sigma", "theta", "kappa"]
    texts = [f"claim your {word} prize and collect it at desk {other} now" for word in words for other in words]
    assert len(pool_of(texts).places) == len(texts)
