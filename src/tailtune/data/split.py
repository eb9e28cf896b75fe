"""Training, validation and test rows: stratified, seeded, near duplicates kept together. Knows nothing about models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.data.groups import Alike, find_near, group_rows
from tailtune.data.growing import hash_parts
from tailtune.data.placing import TRAIN, place_groups
from tailtune.errors import ConfigError, DataError
from tailtune.labels import LabelSet

Balance = Literal["none", "undersample", "weights"]
SplitBy = Literal["stratified", "hash"]

PARTS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.1, 0.2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Which rows of a Dataset serve what.

    Attributes:
        train: int64[n] positions in the Dataset (not its row numbers).
        validation: int64[n] positions.
        test: int64[n] positions.
        unused: int64[n] positions that balancing took out of training, or that no part could take.
        groups: int64[rows], the same number for near duplicates.
        kind: ``grouped``, ``hash``, ``time``, ``given`` (parts from files) or ``chapter``.
        seed: What the draw depended on.
        findings: What was left out or not kept together, and why.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    unused: NDArray[np.int64]
    groups: NDArray[np.int64]
    kind: str
    seed: int
    findings: tuple[Finding, ...] = ()


def split_dataset(
    dataset: Dataset,
    *,
    seed: int,
    fractions: Sequence[float] = FRACTIONS,
    balance: Balance = "none",
    alike: Alike = "word",
    group: str | None = None,
    by: SplitBy = "stratified",
) -> Split:
    """Return a split in which no two near duplicates lie in different parts.

    A stratified one has every class in training, and in each part when it has groups enough (two: training and test).
    One by hash keeps the parts of old rows when rows are added at the end.

    Args:
        dataset: Any number of rows.
        seed: The same seed and data give the same split, on every machine.
        fractions: Shares of train, validation, test; they sum to 1.
        balance: ``undersample`` moves training rows of the larger classes to ``unused`` until all are as small as the
            smallest; ``weights`` is the fit's business and leaves the rows alone.
        alike: What near duplicates may differ in: ``marks`` (case, digits, punctuation, blanks), ``word``: a word too.
        group: A column of ``dataset`` whose rows of equal value stay together too.
        by: ``stratified``, or ``hash``.

    Raises:
        ConfigError: If fractions, balance, alike or by make no sense.
        DataError: If a split by hash leaves training without a class.
    """
    shares = _checked_fractions(fractions)
    rng = np.random.Generator(np.random.PCG64(seed))
    if by == "hash":
        near = find_near(dataset.texts, alike)
        part, groups, findings = hash_parts(dataset, near, column=group, shares=shares, seed=seed)
        require_classes_in_training(dataset, part, "take another --seed, or leave --split-by hash away")
        return parts_to_split(
            dataset, part, groups, kind="hash", seed=seed, balance=balance, rng=rng, findings=findings
        )
    if by != "stratified":
        raise ConfigError(f"unknown split {by!r}; expected stratified or hash")
    grouped = group_rows(dataset, alike=alike, column=group)
    ids = grouped.ids
    part_of_group = place_groups(ids, dataset.ids(dataset.label_set), shares, rng) if len(dataset) else ()
    return parts_to_split(
        dataset,
        np.asarray(part_of_group, dtype=np.int64)[ids],
        ids,
        kind="grouped",
        seed=seed,
        balance=balance,
        rng=rng,
        findings=grouped.findings,
    )


def parts_to_split(
    dataset: Dataset,
    part: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    kind: str,
    seed: int,
    balance: Balance,
    rng: np.random.Generator | None = None,
    findings: tuple[Finding, ...] = (),
) -> Split:
    """Return the split that ``part`` describes, training balanced.

    Args:
        dataset: Any number of rows.
        part: int64[rows] 0 for training, 1 validation, 2 test, -1 unused.
        groups: int64[rows] rows that stay together.
        kind: Said in the split.
        seed: Of balancing, where no ``rng`` is given.
        balance: As for ``split_dataset``.
        rng: Goes on drawing for balancing.
        findings: Said in the split.

    Raises:
        ConfigError: If balance makes no sense.
    """
    train, validation, test, left = (np.flatnonzero(part == number).astype(np.int64) for number in (0, 1, 2, -1))
    train, unused = _balanced(dataset, train, balance, rng or np.random.Generator(np.random.PCG64(seed)))
    return Split(
        train=train,
        validation=validation,
        test=test,
        unused=np.union1d(unused, left),
        groups=groups,
        kind=kind,
        seed=seed,
        findings=findings,
    )


def require_classes_in_training(dataset: Dataset, part: NDArray[np.int64], hint: str) -> None:
    """Refuse a split whose training part lacks a class.

    Raises:
        DataError: It names the class and its rows.
    """
    members = dataset.members
    known = {name for at in np.flatnonzero(part == TRAIN) for name in members[at]}
    lacking = sorted({name for names in members for name in names} - known)
    if lacking:
        rows = [row for row, names in zip(dataset.rows, members, strict=True) if lacking[0] in names]
        message = f"no training row for class {lacking[0]!r}: all of it ({name_rows(rows)}) falls into other parts"
        raise DataError(message, path=dataset.source, hint=hint)


def given_parts(
    train: Dataset,
    validation: Dataset | None = None,
    test: Dataset | None = None,
    *,
    seed: int,
    balance: Balance = "none",
    alike: Alike = "word",
    group: str | None = None,
    by: SplitBy = "stratified",
) -> tuple[Dataset, Split]:
    """Return the given parts as one Dataset with its split; a part that is not given is split off ``train``.

    Rows of validation or test that repeat a training text stay, and a finding ``leaked_rows`` counts them. Row numbers
    are those of each file. What is split off is split as ``split_dataset`` does it.

    Raises:
        DataError: If validation or test is empty or holds a label that training does not know.
        ConfigError: If balance makes no sense.
    """
    if validation is None and test is None:
        split = split_dataset(train, seed=seed, balance=balance, alike=alike, group=group, by=by)
        return with_findings(train, split), split
    for part in (validation, test):
        if part is not None:
            _require_same_classes(train, part)
    left = (FRACTIONS[0], 0.0 if validation else FRACTIONS[1], 0.0 if test else FRACTIONS[2])
    shares = [share / sum(left) for share in left]
    own = split_dataset(train, seed=seed, fractions=shares, balance=balance, alike=alike, group=group, by=by)
    joined = _concatenate([part for part in (train, validation, test) if part is not None])
    after_train = len(train)
    after_validation = after_train + (len(validation) if validation else 0)
    split = Split(
        train=own.train,
        validation=np.arange(after_train, after_validation, dtype=np.int64) if validation else own.validation,
        test=np.arange(after_validation, len(joined), dtype=np.int64) if test else own.test,
        unused=own.unused,
        groups=find_near(joined.texts, alike).chains(),
        kind="given",
        seed=seed,
        findings=own.findings,
    )
    leaks = [leak for name in ("validation", "test") if (leak := _leak(joined, split, name)) is not None]
    split = replace(split, findings=(*own.findings, *leaks))
    return with_findings(joined, split), split


def with_findings(dataset: Dataset, split: Split) -> Dataset:
    """Return ``dataset`` with what its split had to say."""
    return replace(dataset, findings=(*dataset.findings, *split.findings)) if split.findings else dataset


def without_unused(dataset: Dataset, split: Split) -> tuple[Dataset, Split]:
    """Return the rows that serve a part, and the same split of them; what balancing took out is gone."""
    kept = np.sort(np.concatenate((split.train, split.validation, split.test)))
    parts = {name: np.searchsorted(kept, getattr(split, name)) for name in PARTS}
    none = np.empty(0, dtype=np.int64)
    return dataset.take(kept.tolist()), replace(split, unused=none, groups=split.groups[kept], **parts)


def leaked_test_rows(dataset: Dataset, split: Split) -> int:
    """Return how many test rows of ``dataset`` are near duplicates of a training row: 0 for a grouped split."""
    return len(leaked(dataset, split, split.test))


def leaked(dataset: Dataset, split: Split, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of ``positions`` that are in one group with a training row."""
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


def _balanced(
    dataset: Dataset, train: NDArray[np.int64], balance: Balance, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if balance not in ("none", "undersample", "weights"):
        raise ConfigError(f"unknown balance {balance!r}; expected none, undersample or weights")
    if balance != "undersample" or not len(train):
        return train, np.empty(0, dtype=np.int64)
    if dataset.sets is not None:
        raise ConfigError("--balance undersample needs one label per text", hint="leave it away")
    names = [dataset.labels[at] for at in train]
    ids = LabelSet.of(names).ids(names)
    smallest = int(np.bincount(ids).min())
    kept = [rng.permutation(train[ids == label])[:smallest] for label in range(int(ids.max()) + 1)]
    chosen = np.sort(np.concatenate(kept))
    return chosen, np.setdiff1d(train, chosen)


def _require_same_classes(train: Dataset, part: Dataset) -> None:
    if not len(part):
        raise DataError("no rows with a text", path=part.source, hint="leave the part away to split it off training")
    if (train.sets is None) != (part.sets is None):
        kinds = ("one label per text", "lists of labels")
        got, expected = kinds[part.sets is not None], kinds[train.sets is not None]
        raise DataError(f"got {got}, expected {expected} as in {train.source}", path=part.source)
    known = set(train.classes)
    for at, names in enumerate(part.members):
        for label in sorted(set(names) - known):
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
        sets=None if parts[0].sets is None else tuple(names for part in parts for names in part.members),
        shares=None if parts[0].shares is None else tuple(own for part in parts for own in part.shared),
        source=" + ".join(part.source for part in parts),
        sha256=joined,
        findings=tuple(
            replace(finding, message=f"{part.source}: {finding.message}") for part in parts for finding in part.findings
        ),
        columns={
            name: tuple(value for part in parts for value in part.columns.get(name, ("",) * len(part)))
            for name in dict.fromkeys(name for part in parts for name in part.columns)
        },
    )


def _leak(dataset: Dataset, split: Split, name: Literal["validation", "test"]) -> Finding | None:
    positions = split.validation if name == "validation" else split.test
    rows = tuple(dataset.rows[at] for at in leaked(dataset, split, positions))
    if not rows:
        return None
    message = (
        f"{len(rows)} of {len(positions)} {name} rows repeat a training text, case, digits, punctuation, blanks and a "
        f"word aside, so their scores flatter: {name_rows(rows)}"
    )
    return Finding(kind="leaked_rows", message=message, rows=rows, severity="warning")
