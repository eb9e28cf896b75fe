"""Texts that two given parts share."""

from __future__ import annotations

from tailtune.data.leaks import leaks, unknown_labels
from tailtune.data.read import dataset_from_lists

TRAIN = dataset_from_lists(["Win 100 now", "meet me at the gate", "fine"], ["spam", "ham", "ham"])


def test_three_kinds_of_leaks() -> None:
    """Exact copies, copies but for marks, copies but for a word, each with its rows and its share."""
    texts = ["new", "fine", "WIN 250, now!", "meet me at the door", "meet us at the door"]
    part = dataset_from_lists(texts, ["ham"] * 5)
    found = leaks(TRAIN, part, known_as="training", part_as="test")
    assert [(finding.kind, finding.rows) for finding in found] == [
        ("leaked_exact", (2,)),
        ("leaked_marks", (3,)),
        ("leaked_word", (4,)),
    ]
    assert found[0].message == "1 of 5 test rows repeat a training text exactly: row 2"
    assert all(finding.severity == "warning" and "--test" in finding.mend for finding in found)


def test_no_leaks() -> None:
    """Nothing is said of parts that share nothing, not of copies within the part either."""
    assert leaks(TRAIN, dataset_from_lists(["new", "new"], ["ham"] * 2), known_as="training", part_as="test") == ()


def test_labels_that_training_lacks() -> None:
    """Training would stop there, so it is an error."""
    (found,) = unknown_labels(TRAIN, dataset_from_lists(["a", "b"], ["ham", "egg"]), part_as="test")
    assert (found.severity, found.rows) == ("error", (2,))
    assert "('egg')" in found.message
    assert unknown_labels(TRAIN, TRAIN, part_as="test") == ()
