"""Training on the oldest rows, testing on the newest: how well a classifier will do on texts of tomorrow."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset, Finding, is_blank, name_rows
from tailtune.data.groups import Alike, group_rows
from tailtune.data.split import FRACTIONS, Balance, Split, parts_to_split, require_classes_in_training
from tailtune.errors import DataError

LEFT_OUT = -1


def split_by_time(
    dataset: Dataset,
    column: str,
    *,
    seed: int,
    balance: Balance = "none",
    alike: Alike = "word",
    group: str | None = None,
) -> Split:
    """Return a split into the oldest 70 %, the next 10 % and the newest 20 % of the rows.

    Rows of the same time stay in one part, so shares are met as nearly as times allow. Rows of a later part that are
    near duplicates of a row in an earlier one, or share its group, are left out, and a finding counts them.

    Args:
        dataset: With ``column``, and ``group`` if named, among its columns.
        column: Numbers, or dates and times as ISO 8601 writes them; without a zone they are UTC.
        seed: Of balancing.
        balance: As for ``split_dataset``.
        alike: What counts as near duplicates.
        group: A column whose rows of equal value are kept on one side too.

    Raises:
        DataError: If a time is absent or cannot be read, all are the same, or a class appears after training only.
    """
    times = _times(dataset, column)
    part = _by_time(times, dataset, column)
    groups = group_rows(dataset, alike=alike, column=group)
    earliest = np.full(int(groups.ids.max(initial=-1)) + 1, 2, dtype=np.int64)
    np.minimum.at(earliest, groups.ids, part)
    late = part > earliest[groups.ids]
    findings = (*groups.findings, *_left_out(dataset, part, late))
    part[late] = LEFT_OUT
    hint = "leave the class out, or split without --time-column"
    require_classes_in_training(dataset, part, hint)
    return parts_to_split(dataset, part, groups.ids, kind="time", seed=seed, balance=balance, findings=findings)


def _times(dataset: Dataset, column: str) -> NDArray[np.float64]:
    values = dataset.columns[column]
    blank = [dataset.rows[at] for at, value in enumerate(values) if is_blank(value)]
    if blank:
        message = f"no time in column {column!r}: {len(blank)} rows ({name_rows(blank)})"
        raise DataError(message, path=dataset.source, hint="fill it in, or leave these rows out")
    numbers = [_number(value) for value in values]
    times = numbers if None not in numbers else [_moment(value) for value in values]
    for row, value, time in zip(dataset.rows, values, times, strict=True):
        if time is None:
            message = f"row {row}: {value!r} in column {column!r} is no time"
            hint = "write 2026-11-24, 2026-11-24T09:30:00Z, or numbers that grow"
            raise DataError(message, path=dataset.source, hint=hint)
    return np.array(times, dtype=np.float64)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _moment(value: str) -> float | None:
    try:
        moment = datetime.datetime.fromisoformat(value.strip())
        zone = moment.tzinfo or datetime.UTC
        return (moment.replace(tzinfo=zone) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None


def _by_time(times: NDArray[np.float64], dataset: Dataset, column: str) -> NDArray[np.int64]:
    """Return int64[rows] part by time alone; each border lies where the time changes, nearest to its share."""
    ordered = np.sort(times)
    changes = np.flatnonzero(np.diff(ordered)) + 1
    if not len(changes):
        message = f"all rows have the same time in column {column!r}; nothing is older or newer"
        raise DataError(message, path=dataset.source, hint="name another column with --time-column, or leave it away")
    test = _nearest(changes, (FRACTIONS[0] + FRACTIONS[1]) * len(times))
    before = changes[changes < test]
    validation = _nearest(before, FRACTIONS[0] * len(times)) if len(before) else test
    part = np.zeros(len(times), dtype=np.int64)
    part[times >= ordered[validation]] = 1
    part[times >= ordered[test]] = 2
    return part


def _nearest(places: NDArray[np.int64], wanted: float) -> int:
    return int(places[np.argmin(np.abs(places - wanted))])


def _left_out(dataset: Dataset, part: NDArray[np.int64], late: NDArray[np.bool_]) -> Sequence[Finding]:
    rows = tuple(dataset.rows[at] for at in np.flatnonzero(late))
    if not rows:
        return ()
    validation, test = int(np.sum(part[late] == 1)), int(np.sum(part[late] == 2))
    message = (
        f"{validation} rows of validation and {test} of test repeat an older part, as near duplicates or by their "
        f"group, and are left out: {name_rows(rows)}"
    )
    means = "a text that was learnt by heart says nothing about the texts of tomorrow"
    return (Finding(kind="left_out", message=message, rows=rows, means=means),)
