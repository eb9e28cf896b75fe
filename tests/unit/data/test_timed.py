"""Training on the oldest, testing on the newest."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.dataset import Dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.timed import split_by_time
from tailtune.errors import DataError


def timed(times: list[str], texts: list[str] | None = None, labels: list[str] | None = None) -> Dataset:
    texts = texts or [f"text {'x' * at}" for at in range(len(times))]
    dataset = dataset_from_lists(texts, labels or ["x"] * len(times), source="mail.csv")
    return replace(dataset, columns={"when": tuple(times)})


def test_the_newest_are_tested() -> None:
    """70 / 10 / 20 by time, whatever the order of the rows."""
    split = split_by_time(timed([str(at) for at in reversed(range(100))]), "when", seed=0)
    assert split.test.tolist() == list(range(20))
    assert split.validation.tolist() == list(range(20, 30))
    assert split.train.tolist() == list(range(30, 100))
    assert (split.kind, split.findings) == ("time", ())


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=9), min_size=2, max_size=40).filter(lambda all: len(set(all)) > 1))
def test_equal_times_stay_in_one_part(times: list[int]) -> None:
    """No row of a part is older than one of the part before, or of the same time."""
    split = split_by_time(timed([str(time) for time in times]), "when", seed=0)
    spans = [[times[at] for at in part] for part in (split.train, split.validation, split.test) if len(part)]
    assert len(split.train)
    assert len(split.test)
    assert all(max(before) < min(after) for before, after in itertools.pairwise(spans))


def test_dates_with_and_without_zone() -> None:
    """ISO 8601; a time without a zone is UTC."""
    times = ["2026-01-03", "2026-01-02T23:30:00", "2026-01-02T23:00:00-05:00", "2026-01-01T00:00:00Z", "2025-12-31"]
    split = split_by_time(timed(times), "when", seed=0)
    assert split.test.tolist() == [2]
    assert split.validation.tolist() == [0]
    assert split.train.tolist() == [1, 3, 4]


def test_later_copies_are_left_out_and_counted() -> None:
    """Copies, marks and a word aside: the later part loses them, the earlier keeps its row."""
    texts = [f"text {'x' * at}" for at in range(20)]
    texts[:2] = "Meet me at the gate", "Win 100 now"
    texts[14], texts[18] = "win 250 NOW!", "meet me at the door"
    split = split_by_time(timed([str(at) for at in range(20)], texts), "when", seed=0)
    assert split.unused.tolist() == [14, 18]
    assert (len(split.train), len(split.validation), len(split.test)) == (14, 1, 3)
    (finding,) = split.findings
    assert finding.rows == (15, 19)
    assert "1 rows of validation and 1 of test repeat an older part" in finding.message


def test_a_group_stays_on_one_side() -> None:
    """Later rows of a user who is in training are left out."""
    dataset = timed([str(at) for at in range(20)])
    dataset = replace(dataset, columns={**dataset.columns, "user": tuple("abcdefghijklmnopqrsa")})
    split = split_by_time(dataset, "when", seed=0, group="user")
    assert split.unused.tolist() == [19]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["1", " ", "3"], "no time in column 'when': 1 rows (row 2)"),
        (["2026-01-01", "yesterday", "2026-01-02"], "row 2: 'yesterday' in column 'when' is no time"),
        (["1", "2", "nan"], "is no time"),
        (["5", "5", "5"], "all rows have the same time"),
    ],
)
def test_times_refused(times: list[str], expected: str) -> None:
    """By column, row and value."""
    with pytest.raises(DataError) as caught:
        split_by_time(timed(times), "when", seed=0)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("mail.csv: ")


def test_a_class_that_is_new_in_the_test_part_is_refused() -> None:
    """There is nothing to learn it from."""
    dataset = timed([str(at) for at in range(20)], labels=["x"] * 19 + ["new"])
    with pytest.raises(DataError, match="no training row for class 'new'"):
        split_by_time(dataset, "when", seed=0)
