"""Training, validation and test rows: stratified, seeded, near duplicates kept together. Knows nothing about models."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.data.fold import group_ids
from tailtune.errors import ConfigError, DataError
from tailtune.labels import LabelSet

Balance = Literal["none", "undersample", "weights"]

PARTS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.1, 0.2)
_TRAIN = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Which rows of a Dataset serve what.

    Attributes:
        train: int64[n] positions in the Dataset (not its row numbers).
        validation: int64[n] positions.
        test: int64[n] positions.
        unused: int64[n] positions that balancing took out of training.
        groups: int64[rows], the same number for near duplicates.
        kind: ``grouped``, ``given`` (parts from files) or ``chapter``.
        seed: What the draw depended on.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    unused: NDArray[np.int64]
    groups: NDArray[np.int64]
    kind: str
    seed: int


def split_dataset(
    dataset: Dataset, *, seed: int, fractions: Sequence[float] = FRACTIONS, balance: Balance = "none"
) -> Split:
    """Return a stratified split in which no two near duplicates lie in different parts.

    Every class is in training, and in each part when it has groups enough (two: training and test).

    Args:
        dataset: Any number of rows.
        seed: The same seed and data give the same split, on every machine.
        fractions: Shares of train, validation, test; they sum to 1.
        balance: ``undersample`` moves training rows of the larger classes to ``unused`` until all are as small as the
            smallest; ``weights`` is the fit's business and leaves the rows alone.

    Raises:
        ConfigError: If fractions or balance make no sense.
    """
    shares = _checked_fractions(fractions)
    rng = np.random.Generator(np.random.PCG64(seed))
    groups = group_ids(dataset.texts)
    part_of_group = _place(groups, LabelSet.of(dataset.labels).ids(dataset.labels), shares, rng) if len(dataset) else ()
    part = np.asarray(part_of_group, dtype=np.int64)[groups]
    train, validation, test = (np.flatnonzero(part == number).astype(np.int64) for number in range(3))
    train, unused = _balanced(dataset, train, balance, rng)
    return Split(train=train, validation=validation, test=test, unused=unused, groups=groups, kind="grouped", seed=seed)


def given_parts(
    train: Dataset,
    validation: Dataset | None = None,
    test: Dataset | None = None,
    *,
    seed: int,
    balance: Balance = "none",
) -> tuple[Dataset, Split]:
    """Return the given parts as one Dataset with its split; a part that is not given is split off ``train``.

    Rows of validation or test that repeat a training text stay, and a finding ``leaked_rows`` counts them. Row numbers
    are those of each file.

    Raises:
        DataError: If validation or test is empty or holds a label that training does not know.
        ConfigError: If balance makes no sense.
    """
    if validation is None and test is None:
        return train, split_dataset(train, seed=seed, balance=balance)
    for part in (validation, test):
        if part is not None:
            _require_same_classes(train, part)
    left = (FRACTIONS[0], 0.0 if validation else FRACTIONS[1], 0.0 if test else FRACTIONS[2])
    own = split_dataset(train, seed=seed, fractions=[share / sum(left) for share in left], balance=balance)
    joined = _concatenate([part for part in (train, validation, test) if part is not None])
    after_train = len(train)
    after_validation = after_train + (len(validation) if validation else 0)
    split = Split(
        train=own.train,
        validation=np.arange(after_train, after_validation, dtype=np.int64) if validation else own.validation,
        test=np.arange(after_validation, len(joined), dtype=np.int64) if test else own.test,
        unused=own.unused,
        groups=group_ids(joined.texts),
        kind="given",
        seed=seed,
    )
    leaks = [leak for name in ("validation", "test") if (leak := _leak(joined, split, name)) is not None]
    return replace(joined, findings=(*joined.findings, *leaks)), split


def without_unused(dataset: Dataset, split: Split) -> tuple[Dataset, Split]:
    """Return the rows that serve a part, and the same split of them; what balancing took out is gone."""
    kept = np.sort(np.concatenate((split.train, split.validation, split.test)))
    texts, labels, rows = (
        tuple(column[at] for at in kept.tolist()) for column in (dataset.texts, dataset.labels, dataset.rows)
    )
    parts = {name: np.searchsorted(kept, getattr(split, name)) for name in PARTS}
    none = np.empty(0, dtype=np.int64)
    small = replace(dataset, texts=texts, labels=labels, rows=rows)
    return small, replace(split, unused=none, groups=split.groups[kept], **parts)


def leaked_test_rows(dataset: Dataset, split: Split) -> int:
    """Return how many test rows of ``dataset`` are near duplicates of a training row: 0 for a grouped split."""
    return len(leaked(dataset, split, split.test))


def leaked(dataset: Dataset, split: Split, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of ``positions`` whose text folds to the same as a training row's."""
    if len(split.groups) != len(dataset):
        raise ConfigError(f"the split is of {len(split.groups)} rows, the data set has {len(dataset)}")
    return positions[np.isin(split.groups[positions], split.groups[split.train])]


def split_ids(dataset: Dataset, split: Split) -> dict[str, Any]:
    """Return the split for the run folder: kind, seed, and the 1-based source row numbers of each part, in order."""
    named = {name: getattr(split, name) for name in (*PARTS, "unused")}
    rows = {name: [dataset.rows[at] for at in positions] for name, positions in named.items()}
    return {"kind": split.kind, "seed": split.seed, "source": dataset.source, "sha256": dataset.sha256, **rows}


def _checked_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    if len(fractions) != 3 or min(fractions) < 0 or fractions[0] <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(f"fractions must be three shares of at least 0 that sum to 1, got {tuple(fractions)}")
    return fractions[0], fractions[1], fractions[2]


def _place(
    groups: NDArray[np.int64], labels: NDArray[np.int64], shares: tuple[float, float, float], rng: np.random.Generator
) -> list[int]:
    """Return the part of each group.

    Groups are taken in a shuffled order, the big ones first, and each goes where its class lacks most rows. Groups
    with several labels come before all others, while every class still has room.
    """
    cells, rows = np.unique(np.stack([groups, labels], axis=1), axis=0, return_counts=True)
    members: list[list[tuple[int, int]]] = [[] for _ in range(int(groups.max()) + 1)]
    for (group, label), count in zip(cells.tolist(), rows.tolist(), strict=True):
        members[group].append((label, count))
    sizes = np.bincount(groups)
    shuffled = rng.permutation(len(members))
    mixed = np.array([len(member) > 1 for member in members])[shuffled]
    order = shuffled[np.lexsort((-sizes[shuffled], ~mixed))]
    state = _Placing(members, np.bincount(labels), shares)
    for group in order.tolist():
        state.place(group)
    state.place_the_rest()
    state.put_every_class_in_training()
    return state.part


class _Placing:
    """Where groups went so far, and what each class still lacks in each part."""

    def __init__(
        self, members: list[list[tuple[int, int]]], totals: NDArray[np.int64], shares: Sequence[float]
    ) -> None:
        self.members = members
        self.part = [_TRAIN] * len(members)
        self.open_parts = [number for number, share in enumerate(shares) if share > 0]
        self.targets = [[share * total for share in shares] for total in totals.tolist()]
        self.lacking = [list(target) for target in self.targets]
        self.rows_in = [[0, 0, 0] for _ in totals]
        self.groups_left = Counter(label for member in members for label, _ in member)
        self.lacking_overall = [share * int(totals.sum()) for share in shares]
        self.rest: list[int] = []

    def place(self, group: int) -> None:
        """Put ``group`` into the part that lacks most rows of its labels."""
        member = self.members[group]
        parts = self._allowed(member[0][0]) if len(member) == 1 else self.open_parts
        best = max(parts, key=lambda number: self._need(member, number))  # the first of equals
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
        missing = {label for label, rows in enumerate(self.rows_in) if not rows[_TRAIN]}
        if not missing:
            return
        for group in sorted(range(len(self.members)), key=lambda number: sum(rows for _, rows in self.members[number])):
            labels = {label for label, _ in self.members[group]}
            if labels & missing:
                self.part[group] = _TRAIN
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


def _balanced(
    dataset: Dataset, train: NDArray[np.int64], balance: Balance, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if balance not in ("none", "undersample", "weights"):
        raise ConfigError(f"unknown balance {balance!r}; expected none, undersample or weights")
    if balance != "undersample" or not len(train):
        return train, np.empty(0, dtype=np.int64)
    names = [dataset.labels[at] for at in train]
    ids = LabelSet.of(names).ids(names)
    smallest = int(np.bincount(ids).min())
    kept = [rng.permutation(train[ids == label])[:smallest] for label in range(int(ids.max()) + 1)]
    chosen = np.sort(np.concatenate(kept))
    return chosen, np.setdiff1d(train, chosen)


def _require_same_classes(train: Dataset, part: Dataset) -> None:
    if not len(part):
        raise DataError("no rows with a text", path=part.source, hint="leave the part away to split it off training")
    known = set(train.labels)
    for at, label in enumerate(part.labels):
        if label not in known:
            raise DataError(
                f"row {part.rows[at]}: label {label!r} is not among the training labels of {train.source}",
                path=part.source,
                hint="the same classes are needed in every part: " + ", ".join(map(repr, train.classes[:20])),
            )


def _concatenate(parts: Sequence[Dataset]) -> Dataset:
    # One hash for several files: the hash of their hashes, so that it changes with any of them and with their order.
    joined = hashlib.sha256("\n".join(part.sha256 for part in parts).encode()).hexdigest()
    return Dataset(
        texts=tuple(text for part in parts for text in part.texts),
        labels=tuple(label for part in parts for label in part.labels),
        rows=tuple(row for part in parts for row in part.rows),
        source=" + ".join(part.source for part in parts),
        sha256=joined,
        findings=tuple(
            replace(finding, message=f"{part.source}: {finding.message}") for part in parts for finding in part.findings
        ),
    )


def _leak(dataset: Dataset, split: Split, name: Literal["validation", "test"]) -> Finding | None:
    positions = split.validation if name == "validation" else split.test
    rows = tuple(dataset.rows[at] for at in leaked(dataset, split, positions))
    if not rows:
        return None
    message = (
        f"{len(rows)} of {len(positions)} {name} rows repeat a training text, case, digits, punctuation and blanks "
        f"aside, so their scores flatter: {name_rows(rows)}"
    )
    return Finding(kind="leaked_rows", message=message, rows=rows)
