"""Texts made of several columns of a file, in every form of file."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest

from tailtune.data.read import read_dataset, read_texts
from tailtune.errors import ConfigError, DataError
from tailtune.template import Template

MADE = Template.parse(r"About {subject}:\n{body}")
ROWS = [("win", "call now", "spam"), ("", "see you", "ham"), ("lunch", "", "ham"), ("", " ", "ham"), ("x", "y", "spam")]
TEXTS = ("win:\ncall now", ":\nsee you", "lunch:\n", "x:\ny")


def _file(folder: Path, kind: str) -> Path:
    path = folder / f"mail.{kind}"
    dicts = [dict(zip(("subject", "body", "label"), row, strict=True)) for row in ROWS]
    if kind == "parquet":
        polars.DataFrame(dicts).write_parquet(path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in dicts), encoding="utf-8")
    else:
        between = "\t" if kind == "tsv" else ";"
        lines = [between.join(("subject", "body", "label")), *(between.join(row) for row in ROWS)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_form_gives_the_same_texts(tmp_path: Path, kind: str) -> None:
    """Rows whose columns are all blank are dropped and named; single empty cells are kept and counted."""
    dataset = read_dataset(_file(tmp_path, kind), template=MADE)
    assert dataset.texts == TEXTS
    assert dataset.labels == ("spam", "ham", "ham", "spam")
    assert dataset.rows == (1, 2, 3, 5)
    assert dataset.columns == {}
    messages = {(finding.kind, finding.rows): finding.message for finding in dataset.findings}
    assert messages["empty_cells", (2,)] == "1 texts have an empty 'subject': row 2"
    assert messages["empty_cells", (3,)] == "1 texts have an empty 'body': row 3"
    assert ("blank_texts", (4,)) in messages
    assert read_texts(_file(tmp_path, kind), template=MADE).texts == (*TEXTS[:3], "", TEXTS[3])


def test_numbers_are_text_where_columns_are_joined(tmp_path: Path) -> None:
    """A rating beside a review need not be quoted; as the only text a number stays refused."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"stars": 5, "review": "good", "label": "a"}\n{"stars": 1, "review": null, "label": "b"}\n')
    assert read_dataset(path, template=Template.parse("{stars}/{review}")).texts == ("5/good", "1/")
    with pytest.raises(DataError, match="the text is a number"):
        read_dataset(path, template=Template.parse("Stars: {stars}"))


def test_a_column_can_be_joined_and_kept(tmp_path: Path) -> None:
    """A column asked for besides the template stays one."""
    dataset = read_dataset(_file(tmp_path, "csv"), template=MADE, others=("body",))
    assert dataset.columns == {"body": ("call now", "see you", "", "y")}
    everything = read_dataset(_file(tmp_path, "csv"), template=MADE, others=None)
    assert everything.texts == TEXTS


def test_one_named_column_is_the_text_column(tmp_path: Path) -> None:
    """{text} is whatever column is the text; another name is that column."""
    path = _file(tmp_path, "csv")
    assert read_dataset(path, template=Template.parse("S: {subject}")).texts == ("win", "lunch", "x")
    assert read_dataset(path, template=Template.parse("S: {text}")).texts == read_dataset(path).texts


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("{subject} {title}", "no column 'title'; columns present: 'subject', 'body', 'label'"),
        ("{title} {subject}", "no column 'title', which the template reads"),
        ("{subject} {label}", "the template reads 'label', which is the label column"),
        ("{title}", "no text column 'title'"),
    ],
)
def test_columns_that_are_not_there_or_tell_the_answer_are_refused(tmp_path: Path, spelled: str, said: str) -> None:
    """Each with the file and the columns there are."""
    path = _file(tmp_path, "csv")
    with pytest.raises(DataError) as caught:
        read_dataset(path, template=Template.parse(spelled))
    assert said in caught.value.message
    assert str(path) in str(caught.value)


def test_two_ways_to_name_the_text_are_refused(tmp_path: Path) -> None:
    """--text-column is for templates that call it {text}."""
    path = _file(tmp_path, "csv")
    with pytest.raises(ConfigError, match="both say where the texts are"):
        read_dataset(path, text_column="body", template=MADE)
    wrapped = read_dataset(path, text_column="body", template=Template.parse("A {text}"))
    assert wrapped.texts == ("call now", "see you", "y")


def test_flags_of_labels_are_no_part_of_a_text(tmp_path: Path) -> None:
    """A label column inside a text would tell the answer."""
    from tailtune.data.several import LabelForm

    path = tmp_path / "a.csv"
    path.write_text("a,b,toxic\nx,y,1\nz,w,0\n")
    form = LabelForm.given(None, "toxic")
    assert read_dataset(path, template=Template.parse("{a}-{b}"), form=form).texts == ("x-y", "z-w")
    with pytest.raises(DataError, match="reads 'toxic', which is a label column"):
        read_dataset(path, template=Template.parse("{a}-{toxic}"), form=form)
