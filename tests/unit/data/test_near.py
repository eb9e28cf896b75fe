"""Which folded texts are near duplicates by a word or a few, and how chains of them become groups."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.near import LEAST_WORDS, Links, join, link, renumber

LONG = "we have tried to reach you about your prize draw please call now to claim it today"


def linked(links: Links) -> set[tuple[int, int]]:
    """Every pair of texts that share a set, the lower position first."""
    pairs: set[tuple[int, int]] = set()
    for number in range(len(links)):
        members = sorted(links.members[links.sets == number].tolist())
        pairs.update(itertools.combinations(members, 2))
    return pairs


def one_word_apart(left: list[str], right: list[str]) -> bool:
    """The definition, one place after the other."""
    if max(len(left), len(right)) < LEAST_WORDS:
        return False
    if len(left) == len(right):
        return sum(a != b for a, b in zip(left, right, strict=True)) == 1
    short, long = sorted((left, right), key=len)
    return any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


@pytest.mark.parametrize(
    ("left", "right", "near"),
    [
        ("call me when home", "call me when there", True),
        ("call me when home", "ring me when home", True),
        ("call me when home", "call me home", True),
        ("call me when home", "please call me when home", True),
        ("call me home", "call me there", False),
        ("call me when home", "call us when there", False),
        ("call me when home", "me call when home", False),
        (LONG, LONG.replace("prize draw", "holiday cruise"), True),
        (LONG, "we have tried to reach you about something else and nobody answered so we wrote", False),
    ],
)
def test_pairs(left: str, right: str, near: bool) -> None:
    """A word for another, one more or one less, from four words on; in long texts a few words too."""
    assert linked(link([left, right])) == ({(0, 1)} if near else set())


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=7).map(" ".join)


@settings(deadline=None)
@given(st.lists(WORDS, unique=True, max_size=25))
def test_one_word_is_found_exactly(folds: list[str]) -> None:
    """Short texts: two share a set if and only if one word makes the difference."""
    words = [fold.split() for fold in folds]
    expected = {
        (left, right)
        for left, right in itertools.combinations(range(len(folds)), 2)
        if one_word_apart(words[left], words[right])
    }
    assert linked(link(folds)) == expected


def test_many_alike_stay_connected() -> None:
    """300 long texts that differ in two words each: one chain, although they are not compared each with each."""
    folds = [LONG.replace("prize", f"x{at}").replace("today", f"y{at}") for at in range(300)]
    assert set(join(300, [link(folds)]).tolist()) == {0}


def test_nothing_to_link() -> None:
    """No texts, one text, texts without a word."""
    for folds in ([], ["one text of five words"], ["", "!!!"]):
        assert len(link(folds)) == 0


def test_chains_become_groups() -> None:
    """Numbers are given in the order in which texts are met."""
    links = Links(sets=np.array([0, 0, 1, 1]), members=np.array([3, 1, 1, 4]))
    assert join(5, [links]).tolist() == [0, 1, 2, 1, 1]
    assert renumber(np.array([7, 3, 7, 9])).tolist() == [0, 1, 0, 2]
