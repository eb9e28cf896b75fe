"""The chapter's sample and split, to the row, against golden numbers; the same steps on other data."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tailtune.data.chapter import chapter_split
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split, leaked_test_rows, split_ids
from tailtune.errors import DataError

# Over the comma-separated 1-based row numbers of train, validation and test in order. Made with
# pandas.read_csv(sep="\t", header=None) and DataFrame.sample(random_state=123), the chapter's own calls (pandas 3.1.1).
GOLDEN_ROWS_SHA256 = "e0010a3ccc78c7f666aa2661abd2556027fe24cb63907c77891147d32bae80aa"


def counts(dataset: Dataset, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
    found = Counter(dataset.labels[at] for at in positions)
    return found["ham"], found["spam"]


@pytest.fixture(scope="module")
def chapter(sms_spam: Path) -> tuple[Dataset, Split]:
    return chapter_split(sms_spam)


def test_rows_are_those_of_the_chapters_reader(chapter: tuple[Dataset, Split]) -> None:
    """Quoting merges three ham messages into row 5082, so 5,572 rows are left of 5,574."""
    dataset, _ = chapter
    assert Counter(dataset.labels) == {"ham": 4825, "spam": 747}
    assert dataset.rows == tuple(range(1, 5573))
    assert dataset.texts[5081].count("\n") == 2
    assert dataset.texts[5081].count("\tham\t") + dataset.texts[5081].count("\nham\t") == 2


def test_parts_are_the_chapters_to_the_row(chapter: tuple[Dataset, Split]) -> None:
    """Sizes, class counts, and a hash over the ordered row numbers."""
    dataset, split = chapter
    assert (len(split.train), len(split.validation), len(split.test), len(split.unused)) == (1045, 149, 300, 4078)
    assert counts(dataset, split.train) == (528, 517)
    assert counts(dataset, split.validation) == (70, 79)
    assert counts(dataset, split.test) == (149, 151)
    ids = split_ids(dataset, split)
    ordered = [*ids["train"], *ids["validation"], *ids["test"]]
    assert hashlib.sha256(",".join(map(str, ordered)).encode()).hexdigest() == GOLDEN_ROWS_SHA256
    assert (split.kind, split.seed) == ("chapter", 123)


def test_the_first_ham_drawn_are_the_chapters(chapter: tuple[Dataset, Split]) -> None:
    """The chapter prints 4307, 4138, 4831, 4461, 5440 (0-based) as its first sampled ham messages: all are used."""
    _, split = chapter
    used = {*split.train.tolist(), *split.validation.tolist(), *split.test.tolist()}
    assert {4307, 4138, 4831, 4461, 5440} <= used


def test_the_chapters_leaks_are_counted_and_said(chapter: tuple[Dataset, Split]) -> None:
    """37 test and 13 validation texts are exact copies of a training text; they stay where the chapter has them."""
    dataset, split = chapter
    known = {dataset.texts[at] for at in split.train}
    assert sum(dataset.texts[at] in known for at in split.test) == 37
    assert sum(dataset.texts[at] in known for at in split.validation) == 13
    (finding,) = [finding for finding in dataset.findings if finding.kind == "leaked_rows"]
    assert "37 of 300 test texts are exact copies" in finding.message
    assert leaked_test_rows(dataset, split) == len(finding.rows) == 47
    assert "not_the_chapters_rows" not in {finding.kind for finding in dataset.findings}


def test_the_bonus_split_shuffles_the_same_rows_once_more(sms_spam: Path, chapter: tuple[Dataset, Split]) -> None:
    """That of the bonus experiments: other parts of the same rows, 141 ham and 159 spam to test with."""
    dataset, split = chapter_split(sms_spam, bonus=True)
    main = chapter[1]
    assert split.kind == "bonus"
    assert counts(dataset, split.test) == (141, 159)
    assert (split.unused == main.unused).all()
    drawn, others = (np.concatenate([each.train, each.validation, each.test]) for each in (split, main))
    assert sorted(drawn) == sorted(others)
    assert not (drawn == others).all()


def test_other_line_ends_change_nothing(sms_spam: Path, chapter: tuple[Dataset, Split], tmp_path: Path) -> None:
    """A copy with CR LF holds the chapter's rows too."""
    copy = tmp_path / "SMSSpamCollection.tsv"
    copy.write_bytes(sms_spam.read_bytes().replace(b"\n", b"\r\n"))
    dataset, split = chapter_split(copy)
    assert split_ids(dataset, split)["train"] == split_ids(*chapter)["train"]
    assert "not_the_chapters_rows" not in {finding.kind for finding in dataset.findings}


def small(folder: Path, name: str, separator: str, ham: int, spam: int) -> Path:
    rows = [f"ham{separator}good {'x' * at}" for at in range(ham)] + [
        f"spam{separator}bad {'x' * at}" for at in range(spam)
    ]
    header = [] if separator == "\t" else [f"label{separator}text"]
    path = folder / name
    path.write_text("\n".join([*header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(("name", "separator"), [("sms", "\t"), ("sms.csv", ",")])
@pytest.mark.parametrize(("ham", "spam"), [(60, 20), (20, 60), (20, 20)])
def test_other_rows_go_through_the_same_steps(tmp_path: Path, name: str, separator: str, ham: int, spam: int) -> None:
    """Minority count of each class, 70/10/20 by whole numbers, the rest unused; a finding says these are others."""
    dataset, split = chapter_split(small(tmp_path, name, separator, ham, spam))
    assert (len(split.train), len(split.validation), len(split.test)) == (28, 4, 8)
    assert len(split.unused) == ham + spam - 40
    used = np.concatenate([split.train, split.validation, split.test])
    assert counts(dataset, used) == (20, 20)
    assert sorted([*used.tolist(), *split.unused.tolist()]) == list(range(ham + spam))
    (finding,) = [finding for finding in dataset.findings if finding.kind == "not_the_chapters_rows"]
    assert f"got ham {ham}, spam {spam}, expected ham 4825, spam 747" in finding.message
    assert "28/4/8 rows, not 1045/149/300" in finding.message


def test_json_lines_go_through_the_same_steps(tmp_path: Path) -> None:
    """Other forms are read as usual."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "t{"x" * at}", "label": {at % 2}}}\n' for at in range(20)))
    dataset, split = chapter_split(path)
    assert (len(split.train), len(split.validation), len(split.test)) == (14, 2, 4)
    assert dataset.classes == ("0", "1")


def test_blank_texts_are_dropped_but_counted(tmp_path: Path) -> None:
    """Row numbers count blank texts, as in every other reading, and the finding names them."""
    path = tmp_path / "sms"
    path.write_text("ham\ta\nham\t \nspam\tb\n")
    dataset, _ = chapter_split(path)
    assert dataset.rows == (1, 3)
    assert [finding.rows for finding in dataset.findings if finding.kind == "blank_texts"] == [(2,)]


def test_rows_that_quoting_breaks(tmp_path: Path) -> None:
    """Where default quoting leaves other than two fields, the line and the way out are named."""
    path = tmp_path / "sms"
    path.write_text('ham\tfine\nham\t"open\nclosed"\tthere\n')
    with pytest.raises(DataError) as caught:
        chapter_split(path)
    assert f"{path}:3: got 3 fields, expected 2" in str(caught.value)
    assert "without it quotes are text" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is refused as anywhere."""
    with pytest.raises(DataError, match="no such file"):
        chapter_split(tmp_path / "none")
