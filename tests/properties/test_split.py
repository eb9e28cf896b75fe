"""What holds for every split, whatever the data."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.dataset import Dataset
from tailtune.data.fold import fold_text
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Balance, Split, leaked_test_rows, split_dataset
from tailtune.data.timed import split_by_time

SEEDS = st.integers(min_value=0, max_value=2**32)
# Few words, so that copies and near copies are common; labels independent of texts, so that groups have several.
WORDS = st.lists(st.sampled_from(["Win", "win", "100", "250", "!", "hello", "£"]), min_size=1, max_size=3).map(" ".join)
ROWS = st.lists(st.tuples(WORDS, st.sampled_from("abc")), min_size=1, max_size=60)


def parts_of(split: Split) -> dict[str, set[int]]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test, "unused": split.unused}
    return {name: set(positions.tolist()) for name, positions in parts.items()}


def made(rows: list[tuple[str, str]]) -> Dataset:
    return dataset_from_lists([text for text, _ in rows], [label for _, label in rows])


@settings(deadline=None)
@given(ROWS, SEEDS, st.sampled_from(["none", "undersample", "weights"]))
def test_parts_are_disjoint_and_complete(rows: list[tuple[str, str]], seed: int, balance: Balance) -> None:
    """Every row is in exactly one part or unused, once."""
    dataset = made(rows)
    split = split_dataset(dataset, seed=seed, balance=balance)
    parts = parts_of(split)
    assert sum(len(part) for part in parts.values()) == len(dataset)
    assert set().union(*parts.values()) == set(range(len(dataset)))
    sizes = [len(split.train), len(split.validation), len(split.test), len(split.unused)]
    assert sizes == [len(part) for part in parts.values()]


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_a_group_never_straddles(rows: list[tuple[str, str]], seed: int) -> None:
    """Two texts that fold to the same lie in the same part, also when their labels differ."""
    dataset = made(rows)
    split = split_dataset(dataset, seed=seed)
    places: dict[str, set[str]] = defaultdict(set)
    for name, positions in parts_of(split).items():
        for at in positions:
            places[fold_text(dataset.texts[at])].add(name)
    assert all(len(names) == 1 for names in places.values())
    assert leaked_test_rows(dataset, split) == 0


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_every_class_is_in_training(rows: list[tuple[str, str]], seed: int) -> None:
    """There is nothing to learn a class from otherwise."""
    dataset = made(rows)
    split = split_dataset(dataset, seed=seed)
    assert {dataset.labels[at] for at in split.train} == set(dataset.labels)


@settings(deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=6), SEEDS)
def test_class_proportions_without_duplicates(counts: list[int], seed: int) -> None:
    """Distinct texts: each class is within two rows of 70/10/20; three rows reach all parts, two train and test."""
    labels = [f"class {number}" for number, count in enumerate(counts) for _ in range(count)]
    dataset = dataset_from_lists([f"text {'x' * at}" for at in range(len(labels))], labels)
    split = split_dataset(dataset, seed=seed)
    for number, count in enumerate(counts):
        parts = (split.train, split.validation, split.test)
        got = [sum(dataset.labels[at] == f"class {number}" for at in positions) for positions in parts]
        assert np.abs(np.array(got) - count * np.array([0.7, 0.1, 0.2])).max() < 2
        assert got[0] >= 1
        assert (got[2] >= 1) == (count >= 2)
        assert (got[1] >= 1) == (count >= 3)


@settings(deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=9), min_size=3, max_size=60), SEEDS)
def test_proportions_with_groups(sizes: list[int], seed: int) -> None:
    """Groups cannot be cut, so a part may be off by about its largest group and no more."""
    texts = ["g" * (number + 1) + "!" * copy for number, size in enumerate(sizes) for copy in range(size)]
    dataset = dataset_from_lists(texts, ["x"] * len(texts))
    split = split_dataset(dataset, seed=seed)
    for positions, share in ((split.train, 0.7), (split.validation, 0.1), (split.test, 0.2)):
        assert len(positions) > 0
        assert abs(len(positions) - share * len(dataset)) <= max(sizes) + 1


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_the_same_seed_gives_the_same_split(rows: list[tuple[str, str]], seed: int) -> None:
    """Nothing but data and seed matters."""
    dataset = made(rows)
    first, second = (split_dataset(dataset, seed=seed, balance="undersample") for _ in range(2))
    assert parts_of(first) == parts_of(second)
    assert first.train.tolist() == second.train.tolist()


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_undersampling_touches_training_only(rows: list[tuple[str, str]], seed: int) -> None:
    """Validation and test stay as they are; training classes end equally large; nothing else is unused."""
    dataset = made(rows)
    plain, balanced = split_dataset(dataset, seed=seed), split_dataset(dataset, seed=seed, balance="undersample")
    assert balanced.test.tolist() == plain.test.tolist()
    assert balanced.validation.tolist() == plain.validation.tolist()
    assert sorted([*balanced.train.tolist(), *balanced.unused.tolist()]) == plain.train.tolist()
    before = Counter(dataset.labels[at] for at in plain.train)
    after = Counter(dataset.labels[at] for at in balanced.train)
    assert set(after.values()) == {min(before.values())}
    assert set(after) == set(before)


def vary(text: str, rng: random.Random) -> str:
    """The same text, as spammers vary it: case, digits, punctuation, blanks."""
    text = "".join(str(rng.randrange(10)) if letter.isdigit() else letter for letter in text)
    text = rng.choice([text, text.upper(), text.lower(), text.title()])
    text = "".join(letter + rng.choice(["", "", "", "!", ".", "'", "\u0092"]) for letter in text)
    blanks = [" ", "  ", "\t", " \n", "\u00a0", " , "]
    return rng.choice(["", " ", "\ufeff"]) + rng.choice(blanks).join(text.split(" ")) + rng.choice(["", " ", "?!"])


def change_a_word(text: str, rng: random.Random) -> str:
    """The same text with one word for another, one more or one less."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    return " ".join([*words[:at], *rng.choice([["changed"], ["added", words[at]], []]), *words[at + 1 :]])


def planted(rng: random.Random, *, shuffled: bool = True) -> list[tuple[str, int]]:
    """Return 40 texts of 5 to 12 words that share none, with 0 to 5 variants each: (text, number).

    Not shuffled, a text comes before its variants.
    """
    rows = []
    for number in range(40):
        words = [f"{chr(97 + number % 26)}{chr(97 + number // 26)}{chr(97 + at)}" for at in range(rng.randint(5, 12))]
        text = " ".join(words)
        rows.append((vary(text, rng), number))
        rows += [(vary(change_a_word(text, rng), rng), number) for _ in range(number % 6)]
    if shuffled:
        rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("balance", ["none", "undersample"])
def test_planted_duplicates_never_straddle(balance: Balance) -> None:
    """25 sets of 140 rows, 20 seeds each, both balances, so 1,000 splits: variants of a text lie in one part.

    They differ in case, digits, punctuation, white space and a word (replaced, added or left out).
    """
    for drawn in range(25):
        rows = planted(random.Random(drawn))
        dataset = made([(text, "ab"[number % 3 == 0]) for text, number in rows])
        assert len(dataset) == len(rows)
        for seed in range(20):
            places: dict[int, set[str]] = defaultdict(set)
            for name, positions in parts_of(split_dataset(dataset, seed=1000 * drawn + seed, balance=balance)).items():
                for at in positions:
                    places[rows[at][1]].add("train" if name == "unused" else name)
            assert {len(names) for names in places.values()} == {1}


def test_planted_duplicates_never_straddle_a_hash_or_a_border_in_time() -> None:
    """The same for the other ways of splitting, in which a row may be left out instead.

    By hash, where rows cannot wait for what comes later, for texts that come before their variants.
    """
    for seed in range(50):
        rows = planted(random.Random(seed), shuffled=False)
        dataset = made([(text, "ab"[number % 3 == 0]) for text, number in rows])
        times = random.Random(seed).sample(range(1000), len(rows))
        timed = replace(dataset, columns={"when": tuple(map(str, times))})
        for split in (split_dataset(dataset, seed=seed, by="hash"), split_by_time(timed, "when", seed=seed)):
            places: dict[int, set[str]] = defaultdict(set)
            for name, positions in parts_of(split).items():
                for at in positions:
                    places[rows[at][1]].add(name)
            assert {len(names - {"unused"}) for names in places.values()} == {1}


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(2, 6), st.sampled_from([0.05, 0.3, 0.6]))
def test_each_of_several_labels_has_its_share_in_each_part(seed: int, count: int, share: float) -> None:
    """Within three rows of 70, 10 and 20 %, rows without a label included, also where labels go together."""
    random_state = np.random.default_rng(seed)
    mood = random_state.random(400)[:, None]  # shared by the labels of a row: they go together
    have = random_state.random((400, count)) < np.clip(share * 2 * mood, 0, 1)
    texts = [
        f"{number * 7919 % 100003:05d} {chr(97 + number % 26)}{chr(97 + number // 26)} row" for number in range(400)
    ]
    words = ["".join(chr(97 + int(digit)) for digit in text[:5]) + text[5:] for text in texts]
    dataset = dataset_from_lists(words, [[f"label {at}" for at in np.flatnonzero(row)] for row in have])
    split = split_dataset(dataset, seed=seed)
    whole = np.column_stack([have, ~have.any(axis=1)])
    for positions, wanted in ((split.train, 0.7), (split.validation, 0.1), (split.test, 0.2)):
        assert np.abs(whole[positions].sum(axis=0) - wanted * whole.sum(axis=0)).max() <= 3
        assert abs(len(positions) - wanted * 400) <= 8


def test_a_rare_label_is_learnt() -> None:
    """Of three rows with it one goes to each part, of two one to training: never none."""
    labels = [["common"] if number % 2 else [] for number in range(60)]
    labels[3] = labels[10] = labels[20] = ["common", "rare"]
    labels[30] = labels[31] = ["scarce"]
    words = [
        f"{chr(97 + n // 26)}{chr(97 + n % 26)} {chr(97 + 7 * n % 26)}q{chr(97 + 3 * n % 26)} text" for n in range(60)
    ]
    for seed in range(20):
        dataset = dataset_from_lists(words, labels)
        split = split_dataset(dataset, seed=seed)
        for name in ("rare", "scarce"):
            assert any(name in dataset.members[at] for at in split.train), seed
