"""A split that growing data keep: a row's part follows from a hash of its text and the seed, and from rows before it.

Rows added at the end never move old ones. The price is that shares and classes are met on average only. Knows nothing
about files.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.data.fold import fold_text
from tailtune.data.groups import Near, value_ids

LEFT_OUT = -1


def hash_parts(
    dataset: Dataset, near: Near, *, column: str | None, shares: Sequence[float], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[Finding, ...]]:
    """Return int64[rows] part and int64[rows] group of each row, and what was left out.

    A row goes where the near duplicates before it are, else where the hash of its folded text says. One that is a near
    duplicate of rows in different parts would tie them together: it is left out (part -1), or old rows would move.

    Args:
        dataset: In the order in which the rows came.
        near: Its near duplicates.
        column: Rows with the same value in it stay together; None for no column.
        shares: Of the parts; they sum to 1.
        seed: Another seed, another split.
    """
    borders = list(itertools.accumulate(shares[:-1]))
    sets = _sets_of_rows(dataset, near, column)
    owner: dict[int, int] = {}  # set -> the group that has it
    part_of: list[int] = []  # group -> part
    merged: list[int] = []  # group -> the group it became, itself at first
    parts, groups = [], []
    for text, own in zip(dataset.texts, sets, strict=True):
        met = {_final(merged, owner[number]) for number in own if number in owner}
        known = {part_of[group] for group in met}
        group = min(met) if len(known) == 1 else len(merged)
        if len(known) != 1:
            merged.append(group)
            part_of.append(LEFT_OUT if known else _drawn(text, seed, borders))
        if len(known) < 2:
            owner.update((number, group) for number in own)
            for other in met:
                merged[other] = group
        parts.append(part_of[group])
        groups.append(group)
    final = np.array([_final(merged, group) for group in groups], dtype=np.int64)
    return np.array(parts, dtype=np.int64), final, _left_out(dataset, parts)


def _final(merged: list[int], group: int) -> int:
    while merged[group] != group:
        merged[group] = group = merged[merged[group]]
    return group


def _drawn(text: str, seed: int, borders: Sequence[float]) -> int:
    digest = hashlib.sha256(f"{seed}\n{fold_text(text)}".encode("utf-8", "surrogatepass")).digest()
    return bisect.bisect_right(borders, int.from_bytes(digest[:8]) / 2**64)


def _sets_of_rows(dataset: Dataset, near: Near, column: str | None) -> list[list[int]]:
    """Return for each row the numbers of the sets it is in: its fold, its near duplicates, its value."""
    of_fold: list[list[int]] = [[fold] for fold in range(near.distinct)]
    for number, fold in zip((near.links.sets + near.distinct).tolist(), near.links.members.tolist(), strict=True):
        of_fold[fold].append(number)
    if column is None:
        return [of_fold[fold] for fold in near.folds.tolist()]
    first = near.distinct + len(near.links)
    values = (first + value_ids(dataset.columns[column])).tolist()
    return [[*of_fold[fold], value] for fold, value in zip(near.folds.tolist(), values, strict=True)]


def _left_out(dataset: Dataset, parts: Sequence[int]) -> tuple[Finding, ...]:
    rows = tuple(dataset.rows[at] for at, part in enumerate(parts) if part == LEFT_OUT)
    if not rows:
        return ()
    message = f"{len(rows)} rows are near duplicates of rows in different parts and left out: {name_rows(rows)}"
    means = "keeping them would put near duplicates on both sides, moving the others would change old assignments"
    return (Finding(kind="left_out", message=message, rows=rows, means=means),)
