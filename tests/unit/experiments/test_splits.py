"""The splits of the experiments: the book's two, to the row, and one without leaks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from support.experiments import write_collection
from support.texts import messages, write_csv
from tailtune.data.leaks import leaks
from tailtune.errors import DataError
from tailtune.experiments.splits import Texts, load_texts


def labels(texts: Texts, part: str) -> Counter[str]:
    return Counter(texts.dataset.labels[row] for row in texts.parts[part])


def test_the_bonus_split_is_the_books(sms_spam: Path) -> None:
    """141 ham and 159 spam to test with, 36 of them copies; 219 of the chapter's test texts are trained on."""
    chapter, bonus = (load_texts(str(sms_spam), name) for name in ("chapter", "bonus"))
    assert [len(rows) for rows in bonus.parts.values()] == [1045, 149, 300]
    assert labels(bonus, "test") == {"ham": 141, "spam": 159}
    assert labels(chapter, "test") == {"ham": 149, "spam": 151}
    assert (int(chapter.copied.sum()), int(bonus.copied.sum())) == (37, 36)
    trained = {bonus.dataset.texts[row] for row in bonus.split.train}
    assert sum(chapter.dataset.texts[row] in trained for row in chapter.split.test) == 219
    assert sorted(bonus.dataset.rows) == sorted(chapter.dataset.rows)


def test_the_leak_free_split_has_the_same_rows_and_no_leak(sms_spam: Path) -> None:
    """1,494 rows, none of the test part near one to learn from."""
    texts = load_texts(str(sms_spam), "leak-free")
    assert len(texts.dataset) == 1494
    assert not texts.copied.any()
    known, part = (texts.dataset.take(texts.parts[name].tolist()) for name in ("train", "test"))
    assert leaks(known, part, known_as="training", part_as="test") == ()


def test_copies_are_counted(tmp_path: Path) -> None:
    """A text that is in both parts is marked in the test part."""
    texts = load_texts(str(write_collection(tmp_path / "sms", count=40, copies=20)), "bonus")
    known = {texts.dataset.texts[row] for row in texts.split.train}
    assert texts.copied.tolist() == [texts.dataset.texts[row] in known for row in texts.split.test]
    assert 0 < texts.copied.sum() < len(texts.copied)


def test_identities_differ_by_split_and_data(tmp_path: Path) -> None:
    """A result of one split is never taken for that of another."""
    path, other = write_collection(tmp_path / "a"), write_collection(tmp_path / "b", count=42)
    found = [load_texts(str(path), name).identity() for name in ("chapter", "bonus", "leak-free")]
    found.append(load_texts(str(other), "chapter").identity())
    assert len({(each["data"], each["rows"]) for each in found}) == 4
    assert load_texts(str(path), "bonus").identity() == found[1]


def test_reviews_go_70_10_20(tmp_path: Path) -> None:
    """35,000 / 5,000 / 10,000 of 50,000; every row once, shuffled."""
    path = write_csv(tmp_path / "reviews.csv", *messages(100))
    texts = load_texts(str(path), "imdb")
    assert [len(rows) for rows in texts.parts.values()] == [70, 10, 20]
    rows = [row for part in texts.parts.values() for row in part.tolist()]
    assert sorted(rows) == list(range(100)) != rows


def test_reviews_have_to_be_given() -> None:
    """One line says what is missing and how to give it."""
    with pytest.raises(DataError, match="film reviews") as caught:
        load_texts("sms-spam", "imdb")
    assert "--data FILE" in str(caught.value)


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    """A part without rows is named."""
    with pytest.raises(DataError, match="no rows are left for the validation part"):
        load_texts(str(write_collection(tmp_path / "sms", count=8)), "bonus")
