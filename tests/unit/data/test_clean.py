"""Cleaned copies: what is dropped, what is kept, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.data.check import commonest_spellings
from tailtune.data.clean import require_new_csv, write_clean
from tailtune.data.read import dataset_from_lists, read_dataset
from tailtune.errors import ConfigError, SetupError


def test_what_is_done_and_what_is_kept(tmp_path: Path) -> None:
    """Blank rows and copies with the same label go, spellings become one; other columns and near copies stay."""
    source = tmp_path / "a.csv"
    source.write_text(
        "id,Message,kind\n1,Hello,Spam\n2, ,ham\n3,Hello,spam \n4,hello!,spam\n5,Hello,ham\n6,x,spam\n",
        encoding="utf-8",
    )
    done = write_clean(read_dataset(source, label_column="kind", others=None), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == (
        '"Message","kind","id"\n"Hello","spam","1"\n"hello!","spam","4"\n"Hello","ham","5"\n"x","spam","6"\n'
    )
    assert (done.rows, done.blank, done.copies, done.relabelled) == (4, (2,), (3,), (1, 3))
    assert done.spellings == {"Spam": "spam", "spam ": "spam"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"n": 1, "text": "t", "label": "x"}\n{"text": "u", "label": "y", "tags": ["b"]}\n'),
        ("a.tsv", 'n\ttext\tlabel\ttags\n1\tt\tx\t\n\tu\ty\t["b"]\n'),
    ],
)
def test_every_column_of_every_form_is_kept(tmp_path: Path, name: str, content: str) -> None:
    """A key that a row lacks is an empty field, a value that is no string is its JSON."""
    source = tmp_path / name
    source.write_text(content, encoding="utf-8")
    write_clean(read_dataset(source, others=None), tmp_path / "b.csv")
    copy = read_dataset(tmp_path / "b.csv", others=None)
    assert dict(copy.columns) == {"n": ("1", ""), "tags": ("", '["b"]')}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, st.sampled_from(["ham", "spam"])), min_size=1, max_size=20))
def test_a_copy_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    """Whatever the texts hold: quotes, line ends, carriage returns, odd characters."""
    dataset = dataset_from_lists([text for text, _ in rows], [label for _, label in rows])
    out = tmp_path_factory.mktemp("copy") / "b.csv"
    write_clean(dataset, out)
    if len(dataset):
        copy = read_dataset(out)
        pairs = dict.fromkeys(zip(dataset.texts, dataset.labels, strict=True))
        assert list(zip(copy.texts, copy.labels, strict=True)) == list(pairs)


def test_the_commonest_spelling() -> None:
    """Counted without blanks; of equals the first in text order; a label spelt in one way keeps its blanks."""
    labels = ["Spam", "spam", " spam", "ham", "HAM", " egg"]
    spelt = {"Spam": "spam", "spam": "spam", " spam": "spam", "ham": "HAM", "HAM": "HAM", " egg": " egg"}
    assert commonest_spellings(labels) == spelt


def test_places_refused(tmp_path: Path) -> None:
    """The data itself, also by another name; a file that is there; a name that is no CSV."""
    source, other, link = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    source.write_text("text,label\n", encoding="utf-8")
    other.write_text("mine", encoding="utf-8")
    os.link(source, link)
    for out, expected in (
        (source, "is the data itself"),
        (link, "is the data itself"),
        (other, "exists already"),
        (tmp_path / "d.txt", "the copy is CSV"),
    ):
        with pytest.raises(ConfigError, match=expected):
            require_new_csv(out, source)
    with pytest.raises(SetupError):
        write_clean(dataset_from_lists(["a"], ["x"]), source / "below" / "b.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "c.csv"]
