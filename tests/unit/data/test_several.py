"""Texts with any number of labels: three ways to write them, one Dataset; bad rows are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars
import pytest

from support.texts import tagged
from tailtune.config import TrainConfig
from tailtune.data.catalog import open_dataset, published_parts
from tailtune.data.check import check_dataset, require_trainable
from tailtune.data.clean import write_clean
from tailtune.data.dataset import Dataset
from tailtune.data.leaks import unknown_labels
from tailtune.data.read import dataset_from_lists, read_dataset, read_numbered
from tailtune.data.several import LabelForm
from tailtune.data.split import given_parts, split_dataset, without_unused
from tailtune.data.timed import split_by_time
from tailtune.errors import ConfigError, DataError
from tailtune.parts import prepare

TEXTS = ["so glad", "nothing much", "I adore you", "both of them"]
LABELS = [["joy"], [], ["love"], ["love", "joy"]]
SETS = (("joy",), (), ("love",), ("joy", "love"))
PAIRS = list(zip(TEXTS, SETS, strict=True))


def jsonl(path: Path, labels: list[object]) -> Path:
    rows = ({"text": text, "labels": own} for text, own in zip(TEXTS, labels, strict=False))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def separated(path: Path, cells: list[str]) -> Path:
    path.write_text("text,label\n" + "".join(f'{text},"{cell}"\n' for text, cell in zip(TEXTS, cells, strict=True)))
    return path


def flagged(path: Path, cells: list[tuple[str, str]]) -> Path:
    rows = (f"{text},{joy},{love}\n" for text, (joy, love) in zip(TEXTS, cells, strict=True))
    path.write_text("text,joy,love\n" + "".join(rows))
    return path


def test_lists_are_seen_without_a_flag(tmp_path: Path) -> None:
    """In JSON lines and in Parquet; order and repetition inside a list mean nothing."""
    frame = polars.DataFrame({"text": TEXTS, "labels": [["joy"], [], ["love"], ["love", "joy", "joy"]]})
    frame.write_parquet(tmp_path / "a.parquet")
    for dataset in (read_dataset(jsonl(tmp_path / "a.jsonl", [*LABELS])), read_dataset(tmp_path / "a.parquet")):
        assert dataset.sets == SETS
        assert dataset.classes == ("joy", "love")
        assert dataset.counts == {"joy": 2, "love": 2}
        assert dataset.ids(dataset.label_set).tolist() == [[1, 0], [0, 0], [0, 1], [1, 1]]


def test_a_separator_and_a_column_per_label(tmp_path: Path) -> None:
    """Blanks around names go, an empty cell is no label; 1, true and 1.0 in any case are the same."""
    one = read_dataset(separated(tmp_path / "a.csv", ["joy", "", "love", "love; joy"]), form=LabelForm(separator=";"))
    form = LabelForm.given(None, "joy, love")
    cells = [("1", "0"), ("0", "0"), ("false", "TRUE"), ("1.0", "1")]
    two = read_dataset(flagged(tmp_path / "b.csv", cells), form=form)
    assert one.sets == two.sets == SETS
    assert two.columns == {}
    rows = [{"text": text, "joy": "joy" in own, "love": int("love" in own)} for text, own in PAIRS]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_dataset(tmp_path / "c.jsonl", form=form).sets == SETS


def test_strings_stay_one_label_without_the_flag(tmp_path: Path) -> None:
    """What looks like several names is one label until someone says otherwise."""
    dataset = read_dataset(separated(tmp_path / "a.csv", ["a;b", "a", "a;b", "a"]))
    assert dataset.sets is None
    assert dataset.classes == ("a", "a;b")


@pytest.mark.parametrize(
    ("cells", "form", "said"),
    [
        (["joy", "a;;b", "x", ";y"], LabelForm(separator=";"), "rows 2, 4: an empty name between ';', got 'a;;b'; ex"),
        (["[]", '[""a""]', "b", "c"], LabelForm(), "rows 3, 4: no list of names, got 'b'; expected lists such as"),
        (["[]", '[""a"", 5]', "[]", "[]"], LabelForm(), "row 2: no list of names, got '[\"a\", 5]'; expected lists"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, cells: list[str], form: LabelForm, said: str) -> None:
    """One error with all row numbers, what the first holds, and what is right."""
    path = separated(tmp_path / "a.csv", cells)
    with pytest.raises(DataError) as caught:
        read_dataset(path, form=form)
    assert f"{path}: {said}" in str(caught.value)


def test_bad_flags_are_named(tmp_path: Path) -> None:
    """A value that is neither yes nor no is not taken for either; an absent column is named."""
    path = flagged(tmp_path / "a.csv", [("1", "0"), ("maybe", "0"), ("0", ""), ("1", "1")])
    said = "rows 2, 3: a value that is neither 0 nor 1, got 'maybe', '0'; expected 0, 1, true"
    with pytest.raises(DataError, match=said):
        read_dataset(path, form=LabelForm.given(None, "joy,love"))
    with pytest.raises(DataError, match="no column 'hate'; columns present: 'text', 'joy', 'love'"):
        read_dataset(path, form=LabelForm.given(None, "joy,hate"))
    with pytest.raises(DataError, match="no column 'Joy'; columns present: 'joy', 'love'"):
        read_dataset(path, form=LabelForm.given(None, "Joy,love"), others=None)


def test_flags_that_make_no_sense() -> None:
    """Both at once, an empty name, a name twice; a matrix in Python, whose columns have no names."""
    for separator, columns in ((";", "a,b"), (None, "a,,b"), (None, "a,a")):
        with pytest.raises(ConfigError, match="label-"):
            LabelForm.given(separator, columns)
    with pytest.raises(ConfigError, match="the labels are a matrix"):
        dataset_from_lists(TEXTS, np.eye(4))


def test_a_column_without_any_label_is_said(tmp_path: Path) -> None:
    """Nothing can be learnt of a label that no row has."""
    path = flagged(tmp_path / "a.csv", [("1", "0"), ("0", "0"), ("1", "0"), ("0", "0")])
    dataset = read_dataset(path, form=LabelForm.given(None, "joy,love"))
    assert dataset.classes == ("joy",)
    assert "0 in every row, so not a label here: 'love'" in [found.message for found in dataset.findings]


def test_check_counts_labels_and_finds_what_is_wrong() -> None:
    """Counts by label, rows with several and with none, rare labels, copies of a text with another set."""
    texts = [f"text number {'abcdefghijklmnopqrst'[at]} of many" for at in range(20)]
    labels = [["joy", "love"] if at % 2 else [] for at in range(20)]
    labels[3] = ["joy", "grief"]
    dataset = dataset_from_lists([*texts, texts[1]], [*labels, ["joy"]])
    found = {finding.kind: finding for finding in check_dataset(dataset)}
    assert found["class_counts"].message.startswith("21 rows, 3 classes: joy 11 (52.4%), love 9")
    assert found["class_counts"].message.endswith("; 10 rows have several labels, 10 none")
    assert found["conflicting_labels"].rows == (2, 21)
    assert "'grief' 1" in found["tiny_classes"].message
    assert 4 in found["tiny_classes"].rows


def test_what_cannot_be_trained_is_refused() -> None:
    """No label at all, one on every row, one on a single row."""
    for labels, said in (
        ([[], [], [], []], "no row has a label"),
        ([["a"], ["a", "b"], ["a", "b"], ["a"]], "label 'a' is on all 4 rows"),
        ([["a"], ["a", "b"], [], []], "one row only for class 'b' (row 2)"),
    ):
        with pytest.raises(DataError) as caught:
            require_trainable(dataset_from_lists(TEXTS, labels))
        assert said in str(caught.value)
    require_trainable(dataset_from_lists(TEXTS, LABELS))


def parts(known: Dataset, other: Dataset) -> list[str]:
    return [finding.message for finding in unknown_labels(known, other, part_as="test")]


def test_given_parts_keep_their_labels(tmp_path: Path) -> None:
    """Rows go where their file says; unknown labels and one label per text in one part are refused."""
    known = dataset_from_lists(TEXTS, LABELS)
    joined, split = given_parts(known, test=dataset_from_lists(["new one", "new two"], [["love"], []]), seed=0)
    assert [joined.members[at] for at in split.test] == [("love",), ()]
    used, again = without_unused(joined, split)
    assert used.sets == joined.sets
    assert again.test.tolist() == split.test.tolist()
    with pytest.raises(DataError, match="label 'grief' is not among the training labels"):
        given_parts(known, test=dataset_from_lists(["new"], [["grief"]]), seed=0)
    with pytest.raises(DataError, match="got one label per text, expected lists of labels"):
        given_parts(known, test=dataset_from_lists(["new"], ["joy"]), seed=0)
    assert parts(known, dataset_from_lists(["new"], [["grief"]]))[0].startswith("1 test rows have labels")
    assert not parts(known, dataset_from_lists(["new"], [[]]))


def test_splits_by_hash_and_by_time() -> None:
    """Both work on lists; a label that only later rows have is named, undersampling refused."""
    texts, labels = tagged(120)
    dataset = dataset_from_lists(texts, labels)
    split = split_dataset(dataset, seed=1, by="hash")
    assert {name for at in split.train for name in dataset.members[at]} == set(dataset.classes)
    timed = replace(dataset, columns={"sent": tuple(map(str, range(120)))})
    assert split_by_time(timed, "sent", seed=0).test.min() > split_by_time(timed, "sent", seed=0).train.max()
    late = replace(timed, sets=tuple((*own, "new") if at > 100 else own for at, own in enumerate(timed.members)))
    with pytest.raises(DataError, match="no training row for class 'new'"):
        split_by_time(late, "sent", seed=0)
    with pytest.raises(ConfigError, match="one label per text"):
        split_dataset(dataset, seed=0, balance="undersample")


def test_a_cleaned_copy_reads_back(tmp_path: Path) -> None:
    """Lists are written as JSON, which is seen without a flag."""
    dataset = dataset_from_lists([*TEXTS, TEXTS[0]], [*LABELS, ["joy"]])
    cleaned = write_clean(dataset, tmp_path / "clean.csv")
    assert cleaned.copies == (5,)
    assert read_dataset(tmp_path / "clean.csv").sets == SETS


def test_numbers_for_labels(tmp_path: Path) -> None:
    """Quotes are text, an empty field is no label; a number without a name is refused by its line."""
    path = tmp_path / "part.tsv"
    path.write_text('so "glad\t1,0\tid1\nnothing\t\tid2\n')
    dataset = read_numbered(path, ("joy", "love"))
    assert dataset.texts == ('so "glad', "nothing")
    assert dataset.sets == (("joy", "love"), ())
    for wrong in ("2", "-1", "x", "1;0"):
        path.write_text(f"a\t0\tid\nb\t{wrong}\tid\n")
        with pytest.raises(DataError, match=r"part.tsv:2: expected numbers from 0 to 1 with commas"):
            read_numbered(path, ("joy", "love"))


def test_published_parts_are_used_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name only: a file of that name is a file."""
    assert published_parts("goemotions") == ("goemotions-dev", "goemotions-test")
    assert published_parts("sms-spam") == published_parts("goemotions-dev") == (None, None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "goemotions").write_text("text,label\n")
    assert published_parts("goemotions") == (None, None)


@pytest.mark.network
def test_goemotions_as_published(public_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows and labels that its authors count, in three parts, through the settings of a run."""
    if not (public_data / "goemotions" / "train.tsv").is_file():
        pytest.skip(f"no GoEmotions in {public_data}")
    monkeypatch.setenv("TAILTUNE_DATA", str(public_data))
    dataset, split = prepare(TrainConfig(data="goemotions"))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [43410, 5426, 5427]
    assert split.kind == "given"
    assert len(dataset.classes) == 28
    train = open_dataset("goemotions")
    counts = train.counts
    assert (counts["neutral"], counts["admiration"], counts["grief"]) == (14219, 4130, 77)
    assert open_dataset("goemotions-test").counts["relief"] == 11
