"""Splits of given parts, small data, and what is written to the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tailtune.data.dataset import Dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import given_parts, leaked_test_rows, split_dataset, split_ids
from tailtune.errors import ConfigError, DataError

SMALL = dataset_from_lists([f"text {'x' * at}" for at in range(40)], ["ham", "spam", "spam", "ham"] * 10)

GOLDEN_TEST = [4, 5, 7, 9, 18, 20, 26, 36]
GOLDEN_VALIDATION = [19, 21, 27, 34]


def part(name: str, texts: list[str], labels: list[str]) -> Dataset:
    return dataset_from_lists(texts, labels, source=name)


def test_seeds_differ() -> None:
    """Another seed is another split."""
    tests = {tuple(split_dataset(SMALL, seed=seed).test.tolist()) for seed in range(20)}
    assert len(tests) == 20


def test_the_split_does_not_change_between_versions() -> None:
    """Recorded runs can be repeated: this split, computed when it was written, stays."""
    split = split_dataset(SMALL, seed=0)
    assert split.test.tolist() == GOLDEN_TEST
    assert split.validation.tolist() == GOLDEN_VALIDATION


def test_hash_randomisation_does_not_matter() -> None:
    """Another process with another PYTHONHASHSEED gives the same split."""
    program = (
        "from tailtune.data.read import dataset_from_lists as d; from tailtune.data.split import split_dataset as s;"
        "small = d([f'text {\"x\" * at}' for at in range(40)], ['ham', 'spam', 'spam', 'ham'] * 10);"
        "print(s(small, seed=0).test.tolist())"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert json.loads(done.stdout) == split_dataset(SMALL, seed=0).test.tolist()


@pytest.mark.parametrize(("rows", "sizes"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))])
def test_tiny_classes(rows: int, sizes: tuple[int, int, int]) -> None:
    """Training first, then test, then validation."""
    dataset = dataset_from_lists(["x" * (at + 1) for at in range(rows)], ["a"] * rows)
    split = split_dataset(dataset, seed=3)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes


def test_no_rows() -> None:
    """Nothing splits into nothing."""
    split = split_dataset(dataset_from_lists([], []), seed=0)
    assert (len(split.train), len(split.validation), len(split.test)) == (0, 0, 0)


def test_many_small_classes_do_not_round_the_same_way() -> None:
    """150 classes of 15 rows (10.5, 1.5 and 3 each): the whole is 70/10/20 too, and each class within one row."""
    labels = [f"class {at % 150}" for at in range(2250)]
    dataset = dataset_from_lists(["x" * (at + 1) for at in range(2250)], labels)
    split = split_dataset(dataset, seed=0)
    assert [len(split.train), len(split.validation), len(split.test)] == pytest.approx([1575, 225, 450], abs=1)
    for positions, expected in ((split.train, 10.5), (split.validation, 1.5), (split.test, 3)):
        counts = np.unique([labels[at] for at in positions], return_counts=True)[1]
        assert len(counts) == 150
        assert np.abs(counts - expected).max() < 1


def test_duplicated_texts_are_tested_too() -> None:
    """Big groups spread over the parts like single rows, so that the test part looks like the data."""
    texts = ["d" * (1 + at // 10) + "!" * (at % 10) for at in range(300)] + ["s" * (1 + at) for at in range(700)]
    split = split_dataset(dataset_from_lists(texts, ["x"] * 1000), seed=0)
    assert 0.2 < np.mean(split.test < 300) < 0.4
    assert 0.2 < np.mean(split.train < 300) < 0.4


def test_a_million_rows_are_split_in_seconds() -> None:
    """Work grows with the rows, not with their square: 200,000 rows in a few seconds even on a busy machine."""
    dataset = Dataset(
        texts=tuple(f"text {at % 150_000:b}".replace("0", "o").replace("1", "i") for at in range(200_000)),
        labels=tuple(str(at % 50) for at in range(200_000)),
        rows=tuple(range(1, 200_001)),
        source="memory",
        sha256="0",
    )
    started = time.monotonic()
    split = split_dataset(dataset, seed=0)
    assert time.monotonic() - started < 20
    assert len(split.train) == pytest.approx(140_000, abs=100)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_fractions_refused(fractions: tuple[float, ...]) -> None:
    """Three shares that sum to 1, training not empty."""
    with pytest.raises(ConfigError, match="fractions must be three shares"):
        split_dataset(SMALL, seed=0, fractions=fractions)


def test_balance_refused() -> None:
    """An unknown way of balancing is named with those there are."""
    with pytest.raises(ConfigError, match="unknown balance 'over'; expected none, undersample or weights"):
        split_dataset(SMALL, seed=0, balance="over")  # type: ignore[arg-type]


@pytest.mark.parametrize("fractions", [(0.1, 0.1, 0.8), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0)])
def test_odd_fractions(fractions: tuple[float, float, float]) -> None:
    """Training has every class, a share of 0 gives an empty part, the others their share."""
    split = split_dataset(SMALL, seed=0, fractions=fractions)
    assert {SMALL.labels[at] for at in split.train} == {"ham", "spam"}
    got = [len(split.train), len(split.validation), len(split.test)]
    assert got == [round(share * 40) for share in fractions]


def test_odd_fractions_with_shared_groups() -> None:
    """Texts with two labels go where they are needed: training has both classes although it wants least."""
    dataset = dataset_from_lists(["a", "a", "b", "b"], ["x", "y", "x", "y"])
    for seed in range(10):
        split = split_dataset(dataset, seed=seed, fractions=(0.1, 0.1, 0.8))
        assert {dataset.labels[at] for at in split.train} == {"x", "y"}


def test_given_parts_stay_as_given() -> None:
    """Three files become one Dataset whose parts are the files; rows keep the numbers of their file."""
    train = part("train.csv", ["a", "b", "c"], ["x", "y", "x"])
    validation = part("valid.csv", ["d"], ["x"])
    test = part("test.csv", ["e", " ", "f"], ["y", "y", "x"])
    dataset, split = given_parts(train, validation, test, seed=0)
    assert dataset.source == "train.csv + valid.csv + test.csv"
    assert [dataset.texts[at] for at in split.train] == ["a", "b", "c"]
    assert [dataset.texts[at] for at in split.validation] == ["d"]
    assert [dataset.texts[at] for at in split.test] == ["e", "f"]
    ids = split_ids(dataset, split)
    assert (ids["kind"], ids["train"], ids["validation"], ids["test"]) == ("given", [1, 2, 3], [1], [1, 3])
    assert any(finding.message.startswith("test.csv: 1 blank text") for finding in dataset.findings)
    assert given_parts(train, validation, None, seed=0)[0].sha256 != dataset.sha256


def test_leaks_of_given_parts_are_counted() -> None:
    """Copies and near copies of training texts stay in validation and test, and a finding says how many."""
    train = part("train.csv", ["Win 100", "b", "c"], ["x", "y", "x"])
    validation = part("valid.csv", ["b", "new"], ["y", "x"])
    test = part("test.csv", ["fine", "WIN 250!", "c"], ["x", "x", "x"])
    dataset, split = given_parts(train, validation, test, seed=0)
    leaks = [finding for finding in dataset.findings if finding.kind == "leaked_rows"]
    assert [finding.rows for finding in leaks] == [(1,), (2, 3)]
    assert "2 of 3 test rows repeat a training text" in leaks[1].message
    assert leaked_test_rows(dataset, split) == 2
    assert len(split.test) == 3


def test_missing_parts_come_from_training() -> None:
    """With one part given the other is split off training in the usual proportion; with none all are."""
    other = part("other.csv", ["new one", "new two"], ["ham", "spam"])
    dataset, split = given_parts(SMALL, test=other, seed=0)
    assert (len(split.train), len(split.validation), split.test.tolist()) == (35, 5, [40, 41])
    dataset, split = given_parts(SMALL, validation=other, seed=0)
    assert (len(split.train), split.validation.tolist(), len(split.test)) == (31, [40, 41], 9)
    assert max(split.test) < 40
    dataset, split = given_parts(SMALL, seed=0)
    assert (dataset, split.kind) == (SMALL, "grouped")


def test_undersampling_given_parts() -> None:
    """Balancing acts on the training file only."""
    train = part("train.csv", ["a", "b", "c", "d"], ["x", "x", "x", "y"])
    test = part("test.csv", ["e", "f", "g"], ["x", "x", "y"])
    _, split = given_parts(train, test, test, seed=0, balance="undersample")
    assert (len(split.train), len(split.unused), len(split.test)) == (2, 2, 3)


@pytest.mark.parametrize("which", ["validation", "test"])
def test_label_unknown_to_training(which: str) -> None:
    """A class that training lacks is refused by file, row and name."""
    odd = part("odd.csv", ["fine", "odd"], ["ham", "egg"])
    with pytest.raises(DataError) as caught:
        given_parts(SMALL, odd if which == "validation" else None, odd if which == "test" else None, seed=0)
    assert "odd.csv: row 2: label 'egg' is not among the training labels" in str(caught.value)


def test_an_empty_part_is_refused() -> None:
    """A part that was given is never quietly replaced by one split off training."""
    with pytest.raises(DataError, match=r"empty\.csv: no rows"):
        given_parts(SMALL, test=part("empty.csv", [], []), seed=0)


def test_ids_are_json() -> None:
    """Row numbers per part, plain integers, every row once, with what they depend on."""
    split = split_dataset(SMALL, seed=5, balance="undersample")
    ids = json.loads(json.dumps(split_ids(SMALL, split)))
    rows = [row for name in ("train", "validation", "test", "unused") for row in ids[name]]
    assert sorted(rows) == list(range(1, 41))
    assert (ids["kind"], ids["seed"], ids["sha256"]) == ("grouped", 5, SMALL.sha256)


def test_leaks_need_the_right_data() -> None:
    """A split of other data is refused."""
    with pytest.raises(ConfigError, match="the split is of 40 rows, the data set has 1"):
        leaked_test_rows(part("a", ["a"], ["x"]), split_dataset(SMALL, seed=0))
