"""Splits that growing data keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.dataset import Dataset
from tailtune.data.groups import find_near
from tailtune.data.growing import hash_parts
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import FRACTIONS, split_dataset
from tailtune.errors import DataError

SEEDS = st.integers(min_value=0, max_value=2**32)
# Few words, so that many texts are one word apart and many rows tie two groups together.
TEXTS = st.lists(st.lists(st.sampled_from(["win", "WIN", "a", "b"]), min_size=3, max_size=5).map(" ".join), min_size=1)


def parts(dataset: Dataset, *, seed: int = 0, column: str | None = None) -> list[int]:
    near = find_near(dataset.texts)
    found: list[int] = hash_parts(dataset, near, column=column, shares=FRACTIONS, seed=seed)[0].tolist()
    return found


def made(texts: list[str], users: list[str] | None = None) -> Dataset:
    dataset = dataset_from_lists(texts, ["x"] * len(texts))
    return dataset if users is None else replace(dataset, columns={"user": tuple(users)})


@settings(deadline=None)
@given(TEXTS, TEXTS, SEEDS)
def test_added_rows_never_move_old_ones(old: list[str], new: list[str], seed: int) -> None:
    """Whatever comes after, a row's part is what it was."""
    assert parts(made([*old, *new]), seed=seed)[: len(old)] == parts(made(old), seed=seed)


@settings(deadline=None)
@given(TEXTS, SEEDS)
def test_near_duplicates_never_straddle(texts: list[str], seed: int) -> None:
    """Two rows that are near duplicates are in one part, or one of them is left out and said."""
    dataset = made(texts)
    near = find_near(dataset.texts)
    part, groups, findings = hash_parts(dataset, near, column=None, shares=FRACTIONS, seed=seed)
    for number in range(len(near.links)):
        members = np.isin(near.folds, near.links.members[near.links.sets == number])
        assert len(set(part[members].tolist()) - {-1}) <= 1
    for group in np.unique(groups[part >= 0]):
        assert len(set(part[groups == group].tolist())) == 1
    assert tuple(row for finding in findings for row in finding.rows) == tuple((np.flatnonzero(part < 0) + 1).tolist())


def test_rows_of_one_user_stay_together_as_they_come() -> None:
    """The first row of a user decides."""
    texts = [f"text {'x' * at}" for at in range(60)]
    users = [f"user {at % 7}" for at in range(60)]
    found = parts(made(texts, users), column="user")
    assert all(len(set(found[user::7])) == 1 for user in range(7))
    assert found[:20] == parts(made(texts[:20], users[:20]), column="user")


def test_shares_are_met_on_average() -> None:
    """20,000 distinct texts: within a percent of 70 / 10 / 20; another seed is another split."""
    dataset = made([f"{at:b}".replace("0", "o").replace("1", "i") for at in range(20_000)])
    counts = np.bincount(parts(dataset), minlength=3) / 20_000
    assert np.abs(counts - FRACTIONS).max() < 0.01
    assert parts(dataset) != parts(dataset, seed=1)


def test_a_split_by_hash() -> None:
    """The same through split_dataset; what no part can take is unused."""
    texts = [f"text {'x' * at}" for at in range(200)]
    dataset = dataset_from_lists(texts, ["ham", "spam"] * 100)
    split = split_dataset(dataset, seed=0, by="hash")
    assert split.kind == "hash"
    assert len(split.train) + len(split.validation) + len(split.test) == 200
    assert len(split.unused) == 0


def test_a_class_outside_training_is_refused() -> None:
    """A hash knows no classes; rather than move a row it says so."""
    texts = [f"text {'x' * at}" for at in range(60)]
    for seed in range(40):
        dataset = dataset_from_lists(texts, [*["ham"] * 59, "egg"])
        try:
            split = split_dataset(dataset, seed=seed, by="hash")
        except DataError as error:
            assert "no training row for class 'egg'" in str(error)
            assert "--split-by hash" in str(error)
            return
        assert 59 in split.train
    pytest.fail("no seed put the row elsewhere")
