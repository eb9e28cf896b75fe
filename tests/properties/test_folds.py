"""What holds for every way rows are dealt into folds, whatever the data."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.texts import messages
from tailtune.data.dataset import Dataset
from tailtune.data.folds import draw_folds, fold_split, split_for_folds
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Balance, split_dataset
from tailtune.errors import DataError

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
# Few words, so that copies and near copies are common; labels independent of texts, so that groups have several.
WORDS = st.lists(st.sampled_from(["win", "WIN", "100", "!", "hello", "you", "there"]), min_size=1, max_size=6)
ROWS = st.lists(st.tuples(WORDS.map(" ".join), st.sampled_from("abc")), min_size=4, max_size=80)


@settings(deadline=None)
@given(ROWS, SEEDS, st.integers(2, 6), st.sampled_from(["none", "undersample", "weights"]))
def test_each_row_is_tested_once_by_what_has_not_seen_its_group(
    rows: list[tuple[str, str]], seed: int, folds: int, balance: Balance
) -> None:
    """Folds cover all rows once; no group lies in two parts of any fold; every fold learns every class."""
    dataset = dataset_from_lists([text for text, _ in rows], [label for _, label in rows])
    groups = split_dataset(dataset, seed=seed).groups
    try:
        fold = draw_folds(dataset, groups, folds=folds, seed=seed)
    except DataError:
        return  # too few groups, or a class that is in one of them: said, not dealt
    tested: Counter[int] = Counter()
    for number in range(folds):
        split = fold_split(dataset, groups, fold, number, seed=seed, balance=balance)
        parts = (split.train, split.validation, split.test, split.unused)
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(dataset)))
        assert len(split.test)
        tested.update(split.test.tolist())
        seen = [set(groups[part].tolist()) for part in parts[:3]]
        assert not (seen[0] & seen[2] or seen[1] & seen[2] or seen[0] & seen[1])
        assert not set(groups[split.unused].tolist()) & seen[2]
        assert {dataset.labels[at] for at in split.train} == set(dataset.labels)
    assert set(tested.values()) == {1}
    assert len(tested) == len(dataset)


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_folds_are_alike(folds: int) -> None:
    """Without near duplicates no class has two rows more in one fold than its share, and sizes differ little."""
    texts, _ = messages(307)
    labels = [f"class {min(number % 9, 5)}" for number in range(len(texts))]
    dataset = dataset_from_lists(texts, labels)
    for seed in range(10):
        fold = draw_folds(dataset, split_dataset(dataset, seed=seed).groups, folds=folds, seed=seed)
        assert np.ptp(np.bincount(fold, minlength=folds)) <= 2
        for name in set(labels):
            own = np.bincount(fold[[label == name for label in labels]], minlength=folds)
            assert np.abs(own - own.sum() / folds).max() < 2


def test_small_classes_do_not_all_begin_in_the_first_fold() -> None:
    """150 classes of three rows, five folds: sizes within two rows of each other, as no class decides alone."""
    texts, _ = messages(450)
    dataset = dataset_from_lists(texts, [f"class {number % 150}" for number in range(450)])
    fold = draw_folds(dataset, np.arange(450), folds=5, seed=0)
    assert np.ptp(np.bincount(fold)) <= 2


def test_the_same_seed_gives_the_same_folds_and_another_others() -> None:
    """Reproducible to the row."""
    dataset = dataset_from_lists(*messages(100))
    first, again, other = (draw_folds(dataset, np.arange(100), folds=5, seed=seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def _one_group_of_b() -> Dataset:
    texts, _ = messages(20)
    return dataset_from_lists([*texts, "the very same words here", "The very same words here!"], ["a"] * 20 + ["b"] * 2)


def test_what_cannot_be_dealt_is_said() -> None:
    """A class whose rows stay together could not be learnt by the fold that tests it; empty folds test nothing."""
    with pytest.raises(DataError, match=r"all rows of class 'b' .*stay together"):
        split_for_folds(_one_group_of_b(), folds=5, seed=0, balance="none", alike="word", group=None)
    few = dataset_from_lists(*messages(6))
    with pytest.raises(DataError, match="fill 6 of 10 folds"):
        split_for_folds(few, folds=10, seed=0, balance="none", alike="word", group=None)
