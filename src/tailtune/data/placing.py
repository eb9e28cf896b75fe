"""Groups of rows dealt out to the parts, so that each class has its share in each. Knows nothing about texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRAIN = 0


def place_groups(
    groups: NDArray[np.int64], labels: NDArray[np.int64], shares: tuple[float, float, float], rng: np.random.Generator
) -> list[int]:
    """Return the part of each group.

    Groups are taken in a shuffled order, the big ones first, and each goes where its class lacks most rows. Groups
    with several labels come before all others, while every class still has room; where a row can have several, those
    with the rarest label first, since common ones are easily made up for (iterative stratification, Sechidis et al.
    2011).

    Args:
        groups: int64[rows] from 0 without gaps; at least one row.
        labels: int64[rows] class of each row, or int64[rows, L] 0/1 where a row can have several.
        shares: Of training, validation and test; they sum to 1.
        rng: Shuffles.
    """
    state = _placed(groups, labels, shares, rng)
    state.put_every_class_in_training()
    return state.part


def _placed(
    groups: NDArray[np.int64], labels: NDArray[np.int64], shares: Sequence[float], rng: np.random.Generator
) -> _Placing:
    of_row, of_cell = _cells(labels)
    cells, rows = np.unique(np.stack([groups[of_row], of_cell], axis=1), axis=0, return_counts=True)
    totals = np.bincount(of_cell)
    members: list[list[tuple[int, int]]] = [[] for _ in range(int(groups.max()) + 1)]
    for (group, label), count in zip(cells.tolist(), rows.tolist(), strict=True):
        members[group].append((label, count))
    sizes = np.bincount(groups)
    shuffled = rng.permutation(len(members))
    mixed = np.array([len(member) > 1 for member in members])[shuffled]
    rarest = np.zeros(len(members), dtype=np.int64)
    if labels.ndim == 2:
        rarest = np.array([min(int(totals[label]) for label, _ in member) for member in members])[shuffled]
    order = shuffled[np.lexsort((-sizes[shuffled], rarest, ~mixed))]
    state = _Placing(members, totals, shares)
    for group in order.tolist():
        state.place(group)
    state.place_the_rest()
    return state


def deal_groups(
    groups: NDArray[np.int64], labels: NDArray[np.int64], parts: int, rng: np.random.Generator
) -> list[int]:
    """Return the part of each group, dealt out like ``place_groups`` to equal parts; none is the training part.

    Args:
        groups: int64[rows] from 0 without gaps; at least one row.
        labels: int64[rows] class of each row.
        parts: How many.
        rng: Shuffles.
    """
    return _placed(groups, labels, (1 / parts,) * parts, rng).part


def _cells(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the class of each label; rows without one are a class of their own, after the last."""
    if labels.ndim == 1:
        return np.arange(len(labels)), labels
    whole = np.column_stack([labels, labels.sum(axis=1) == 0])
    kept = whole[:, : whole.shape[1] - (not whole[:, -1].any())]
    rows, classes = np.nonzero(kept)
    return rows, classes


class _Placing:
    """Where groups went so far, and what each class still lacks in each part."""

    def __init__(
        self, members: list[list[tuple[int, int]]], totals: NDArray[np.int64], shares: Sequence[float]
    ) -> None:
        self.members = members
        self.part = [TRAIN] * len(members)
        self.open_parts = [number for number, share in enumerate(shares) if share > 0]
        self.targets = [[share * total for share in shares] for total in totals.tolist()]
        self.lacking = [list(target) for target in self.targets]
        self.rows_in = [[0] * len(shares) for _ in totals]
        self.groups_left = Counter(label for member in members for label, _ in member)
        self.lacking_overall = [share * int(totals.sum()) for share in shares]
        self.rest: list[int] = []
        self.even = len(set(shares)) == 1

    def place(self, group: int) -> None:
        """Put ``group`` into the part that lacks most rows of its labels."""
        member = self.members[group]
        parts = self._allowed(member[0][0]) if len(member) == 1 else self.open_parts
        # The first of equals; among equal parts the one that lacks most rows of all, or small classes all began there.
        best = max(parts, key=lambda number: (*self._need(member, number), self.even * self.lacking_overall[number]))
        single = len(member) == 1 and member[0][1] == 1
        if single and parts is self.open_parts and not self._need(member, best)[0]:
            self.rest.append(group)
        else:
            self._put(group, best)

    def place_the_rest(self) -> None:
        """Place the single rows that rounding left over, at most two a class.

        A class takes 10.5, 1.5 and 3 of its 15 rows: which part gets the last one is decided over all classes, or 150
        such classes would all round the same way.
        """
        for group in self.rest:
            member = self.members[group]
            label = member[0][0]
            lacks = [number for number in self._allowed(label) if self.lacking[label][number] > 0]
            self._put(group, max(lacks or self._allowed(label), key=lambda number: self.lacking_overall[number]))

    def _put(self, group: int, best: int) -> None:
        self.part[group] = best
        for label, count in self.members[group]:
            self.lacking[label][best] -= count
            self.lacking_overall[best] -= count
            self.rows_in[label][best] += count
            self.groups_left[label] -= 1

    def put_every_class_in_training(self) -> None:
        """Move the smallest group of each class that training lacks; only odd fractions or mixed groups need it."""
        missing = {label for label, rows in enumerate(self.rows_in) if not rows[TRAIN]}
        if not missing:
            return
        for group in sorted(range(len(self.members)), key=lambda number: sum(rows for _, rows in self.members[number])):
            labels = {label for label, _ in self.members[group]}
            if labels & missing:
                self.part[group] = TRAIN
                missing -= labels

    def _need(self, member: list[tuple[int, int]], number: int) -> tuple[bool, float]:
        # Where there is room, the share still lacking decides: by rows alone training would take every big group, and
        # no duplicated text would ever be tested. Where no part has room, the one that lacks most rows overflows least.
        rows = [self.lacking[label][number] for label, _ in member]
        if any(lacks < count for lacks, (_, count) in zip(rows, member, strict=True)):
            return False, sum(rows)
        return True, sum(self.lacking[label][number] / self.targets[label][number] for label, _ in member)

    def _allowed(self, label: int) -> list[int]:
        # When no more groups are left than parts without this class, those parts come first: a class with three
        # groups is then in all three parts, one with two in training and test.
        empty = [number for number in self.open_parts if not self.rows_in[label][number]]
        return empty if empty and self.groups_left[label] <= len(empty) else self.open_parts
