"""Marks compare sets of rows without their texts, whatever the order and the size of the sets."""

from __future__ import annotations

import numpy as np
import pytest

from tailtune.data.marks import KEPT, Sketch, marks_by_part, part_hash, row_marks


def test_a_mark_is_of_the_folded_text_and_the_label() -> None:
    """Case, digits and marks change nothing; another label or word does; without labels only the text counts."""
    same, other = row_marks(["Call 0800, NOW!", "call 0900 now"], ["spam", "spam"])
    assert same == other
    assert row_marks(["call 0800 now"], ["ham"]) != (same,)
    assert row_marks(["call me now"], ["spam"]) != (same,)
    assert row_marks(["Call 0800, NOW!"]) == row_marks(["call 0900 now"])


def test_a_part_is_the_same_in_any_order_and_counts_copies() -> None:
    """Order is no matter; a row more or a copy more is another part."""
    marks = row_marks(["one", "two", "three"])
    assert part_hash(marks) == part_hash(marks[::-1])
    assert len({part_hash(marks), part_hash(marks[:2]), part_hash((*marks, marks[0]))}) == 3


@pytest.mark.parametrize(("ours", "theirs"), [(100, 100), (100, 5000), (5000, 5000), (5000, 800), (40000, 20000)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_in_another_set_is_told(ours: int, theirs: int, share: float) -> None:
    """Exact for small sets; for large ones within three standard errors of what their lowest marks can tell."""
    common = min(round(share * ours), theirs)
    numbers = np.random.default_rng(ours + theirs).permutation(ours + theirs)
    first = row_marks(f"text {_word(number)}" for number in numbers[:ours])
    second = (*first[:common], *row_marks(f"text {_word(number)}" for number in numbers[ours : ours + theirs - common]))
    told = Sketch.of(first).share_in(Sketch.of(second))
    expected = common / ours
    seen = ours if max(ours, theirs) <= KEPT else KEPT * ours / max(ours, theirs)
    assert abs(told - expected) <= 3 * (expected * (1 - expected) / min(seen, ours)) ** 0.5


def _word(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def test_a_sketch_stays_small() -> None:
    """However many rows, at most KEPT marks."""
    sketch = Sketch.of(row_marks(_word(number) for number in range(3 * KEPT)))
    assert (len(sketch.marks), sketch.distinct) == (KEPT, 3 * KEPT)


def test_marks_by_part_tell_no_order() -> None:
    """Each part's marks are sorted and distinct."""
    parts = marks_by_part(["b", "a", "A", "c"], {"train": [0, 1, 2], "test": [3]})
    assert parts["train"] == sorted(set(row_marks(["a", "b"])))
    assert parts["test"] == list(row_marks(["c"]))
