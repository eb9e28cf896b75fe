"""Which texts count as near duplicates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.fold import fold_text, group_ids


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Call 0800 now!", "call 0000 now"),
        ("  WIN\t\n £100 ", "win 000"),
        ("don't", "dont"),
        ("Stra\u00dfe", "strasse"),
        ("\u0967\u0968", "00"),
        ("wait\u0085\u0091what\u200b", "wait what"),
        ("\ufeffhi", "hi"),
        ("a😀b", "a😀b"),
        ("!!!", "!!!"),
        (" ?! ", "?!"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    """Case, digits, punctuation and white space are folded; a text of punctuation alone stays itself."""
    assert fold_text(text) == folded


@settings(deadline=None)
@given(st.text())
def test_folding_twice_changes_nothing_but_leftover_marks(text: str) -> None:
    """A folded text has no outer blanks, no double blanks, and case variants fold alike."""
    folded = fold_text(text)
    assert folded == folded.strip()
    assert fold_text(text.casefold()) == folded or folded == text.strip()


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), max_size=30))
def test_groups_are_equal_folds(texts: list[str]) -> None:
    """Two texts share a group if and only if they fold to the same; numbers start at 0 without gaps."""
    groups = group_ids(texts).tolist()
    folds = [fold_text(text) for text in texts]
    assert len(groups) == len(texts)
    assert sorted(set(groups)) == list(range(len(set(folds))))
    assert len(set(zip(groups, folds, strict=True))) == len(set(folds)) == len(set(groups))
