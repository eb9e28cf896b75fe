"""What the data say about themselves, and what cannot be trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailtune.data.check import check_dataset, require_trainable, worst_first
from tailtune.data.dataset import Dataset, Finding
from tailtune.data.read import dataset_from_lists, read_dataset
from tailtune.errors import DataError


def found(dataset: Dataset) -> dict[str, Finding]:
    return {finding.kind: finding for finding in check_dataset(dataset)}


def test_everything_is_found_and_named_by_row() -> None:
    """Counts, blanks, similar labels, copies, near copies, torn texts and tiny classes, each with its rows."""
    texts = ["Win 100!", "Win 100!", "win 250", " ", "hello", "hello", "other"]
    labels = ["spam", "spam", "spam", "ham", "ham", "Ham", "ham"]
    findings = found(dataset_from_lists(texts, labels))
    assert findings["class_counts"].message == "6 rows, 3 classes: spam 3 (50.0%), ham 2 (33.3%), Ham 1 (16.7%)"
    assert findings["blank_texts"].rows == (4,)
    assert "'Ham', 'ham'" in findings["similar_labels"].message
    assert findings["similar_labels"].rows == (6,)
    assert findings["exact_duplicates"].rows == (2, 6)
    assert findings["near_duplicates"].rows == (3,)
    assert findings["conflicting_labels"].rows == (5, 6)
    assert findings["tiny_classes"].rows == (1, 2, 3, 5, 6, 7)


def test_clean_data_has_counts_only() -> None:
    """Nothing is said where there is nothing to say."""
    texts = [f"text {letter * count}" for count in range(1, 12) for letter in "ab"]
    assert set(found(dataset_from_lists(texts, ["x", "y"] * 11))) == {"class_counts"}


def test_findings_beyond_copies() -> None:
    """A word aside, other labels on near copies, wrong decoding, odd labels, many classes, imbalance."""
    texts = ["call me when home", "call me when there", "Win 100", "win 250"]
    texts += ["caf\u00c3\u00a9", "so \u0092 odd", "fine \u0085"]
    findings = found(dataset_from_lists(texts, ["x", "x", "x", "y", "y", '"y', "x"]))
    assert findings["word_duplicates"].rows == (2,)
    assert findings["near_conflicts"].rows == (3, 4)
    assert findings["odd_characters"].rows == (5, 6)
    assert findings["odd_labels"].rows == (6,)
    many = found(dataset_from_lists([f"text {'x' * at}" for at in range(30)], [f"class {at % 15}" for at in range(30)]))
    assert "15 classes for 30 rows" in many["many_classes"].message
    uneven = found(dataset_from_lists([f"text {'x' * at}" for at in range(120)], ["ham"] * 110 + ["spam"] * 10))
    assert uneven["unbalanced"].message == "11 rows of 'ham' for each of 'spam' (110 and 10)"


def test_every_finding_says_how_bad_it_is_and_what_mends_it() -> None:
    """Warnings and errors always have a meaning and a way out; the worst come first."""
    texts = ["Win 100!", "Win 100!", "win 250", " ", "hello", "hello", "other"]
    findings = check_dataset(dataset_from_lists(texts, ["spam", "spam", "spam", "ham", "ham", "Ham", "ham"]))
    assert all(finding.means and finding.mend for finding in findings if finding.severity != "note")
    ordered = [finding.severity for finding in worst_first(findings)]
    assert ordered == sorted(ordered, key=["error", "warning", "note"].index)
    assert ordered[0] == "error"


def test_reading_findings_are_not_said_twice() -> None:
    """What reading found comes first and once."""
    kinds = [finding.kind for finding in check_dataset(dataset_from_lists(["a", ""], ["X", "x"]))]
    assert kinds[0] == "blank_texts"
    assert len(kinds) == len(set(kinds))


def test_a_dataset_made_by_hand_is_checked_for_blanks() -> None:
    """A Dataset that did not come through reading has its blank texts found."""
    dataset = Dataset(texts=("a", "\u200b"), labels=("x", "y"), rows=(1, 2), source="memory", sha256="0")
    assert found(dataset)["blank_texts"].rows == (2,)


def test_the_sms_collection(sms_spam: Path) -> None:
    """403 rows repeat an earlier text exactly, and no text has both labels."""
    findings = found(read_dataset(sms_spam))
    assert len(findings["exact_duplicates"].rows) == 403
    assert "conflicting_labels" not in findings


@pytest.mark.parametrize(
    ("texts", "labels", "parts"),
    [
        ([], [], ["no rows"]),
        ([" "], ["x"], ["no rows"]),
        (["a", "b"], ["x", "x"], ["one class only: all 2 rows are 'x'", "--label-column"]),
        (["a", "b", "c"], ["x", "x", "rare"], ["one row only for class 'rare' (row 3)", "add rows, merge"]),
    ],
)
def test_not_trainable(texts: list[str], labels: list[str], parts: list[str]) -> None:
    """No rows, one class, or a class with one row: refused by name, with the way out."""
    dataset = dataset_from_lists(texts, labels, source="messages.csv")
    with pytest.raises(DataError) as caught:
        require_trainable(dataset)
    assert all(part in str(caught.value) for part in ["messages.csv: ", *parts])


def test_two_rows_of_two_classes_are_trainable() -> None:
    """The smallest data that can be learned from and tested."""
    dataset = dataset_from_lists(["a", "b", "c", "d"], ["x", "x", "y", "y"])
    require_trainable(dataset)
    assert len(dataset) == 4
