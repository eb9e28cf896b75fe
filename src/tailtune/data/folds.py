"""Stratified grouped folds: each row is tested once, by what has seen none of its near duplicates. Knows no models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, name_rows
from tailtune.data.groups import Alike
from tailtune.data.placing import deal_groups, place_groups
from tailtune.data.split import Balance, Split, parts_to_split, split_dataset, with_findings
from tailtune.errors import DataError
from tailtune.labels import LabelSet

# Seven parts to learn from, one to choose by, as in a run that tests: within a fold, and for the saved classifier.
SHARES = (0.875, 0.125, 0.0)


def split_for_folds(
    dataset: Dataset, *, folds: int, seed: int, balance: Balance, alike: Alike, group: str | None
) -> tuple[Dataset, Split]:
    """Return the data and the split of the classifier that is saved: all rows train or choose, none tests.

    Args:
        dataset: Any number of rows.
        folds: That the rows must do for.
        seed: The same seed and data give the same split.
        balance: As for ``split_dataset``.
        alike: As for ``split_dataset``.
        group: As for ``split_dataset``.

    Raises:
        DataError: As ``draw_folds``, before anything is computed.
    """
    split = split_dataset(dataset, seed=seed, fractions=SHARES, balance=balance, alike=alike, group=group)
    draw_folds(dataset, split.groups, folds=folds, seed=seed)
    return with_findings(dataset, split), replace(split, kind="folds")


def draw_folds(dataset: Dataset, groups: NDArray[np.int64], *, folds: int, seed: int) -> NDArray[np.int64]:
    """Return int64[rows] the fold, 0..folds-1, that tests each row; rows of one group share it, classes are spread.

    Args:
        dataset: Any number of rows.
        groups: int64[rows] rows that stay together.
        folds: At least 2.
        seed: The same seed and data give the same folds.

    Raises:
        DataError: If a fold stays empty, or holds all rows of a class: it would have nothing to learn them from.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    ids = LabelSet.of(dataset.labels).ids(dataset.labels)
    fold = np.asarray(deal_groups(numbers, ids, folds, np.random.Generator(np.random.PCG64(seed))), dtype=np.int64)[
        numbers
    ]
    if (filled := len(np.unique(fold))) < folds:
        message = (
            f"{len(dataset)} rows in {int(numbers.max()) + 1} groups of near duplicates fill {filled} of {folds} folds"
        )
        raise DataError(message, path=dataset.source, hint="add rows, or take fewer --folds")
    for number, name in enumerate(LabelSet.of(dataset.labels).names):
        of_class = np.flatnonzero(ids == number)
        if len(np.unique(fold[of_class])) < 2:
            rows = name_rows(tuple(dataset.rows[at] for at in of_class))
            message = f"all rows of class {name!r} ({rows}) stay together: no fold could learn it and another test it"
            raise DataError(message, path=dataset.source, hint="add other rows of it, or leave --folds away")
    return fold


def fold_split(
    dataset: Dataset, groups: NDArray[np.int64], fold: NDArray[np.int64], number: int, *, seed: int, balance: Balance
) -> Split:
    """Return the split that tests the rows of fold ``number``; validation is drawn from the others, group by group.

    Args:
        dataset: Any number of rows.
        groups: int64[rows].
        fold: int64[rows] from ``draw_folds``.
        number: Of the fold.
        seed: Of the validation part and of balancing.
        balance: As for ``split_dataset``; the tested rows stay as they are.
    """
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    others = np.flatnonzero(fold != number)
    _, inner = np.unique(groups[others], return_inverse=True)
    part = np.full(len(dataset), 2, dtype=np.int64)
    ids = LabelSet.of(dataset.labels).ids(dataset.labels)
    part[others] = np.asarray(place_groups(inner, ids[others], SHARES, rng), dtype=np.int64)[inner]
    return parts_to_split(dataset, part, groups, kind="folds", seed=seed, balance=balance, rng=rng)
