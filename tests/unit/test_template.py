"""What a template means: columns, braces, escapes, empty cells, and each refusal."""

from __future__ import annotations

import pytest

from tailtune.errors import ConfigError, DataError
from tailtune.template import Template


def test_words_before_between_and_after_are_told_apart() -> None:
    """Only what lies between columns is part of the text; the rest stands around it."""
    made = Template.parse(r"Subject: {subject}\nBody: {body}\n\nThis message is")
    assert made.columns == ("subject", "body")
    assert made.join(["win", "call now"]) == "win\nBody: call now"
    assert made.wrap("x") == "Subject: x\n\nThis message is"
    assert made.joins
    assert made.wraps


@pytest.mark.parametrize(
    ("spelled", "before", "after"),
    [
        ("{text}", "", ""),
        ("{{{text}}}", "{", "}"),
        (r"a\tb{text}\\n", "a\tb", "\\n"),
        ("a\n{ text }\n", "a\n", "\n"),
        (r"C:\users {text}", r"C:\users ", ""),
    ],
)
def test_escapes(spelled: str, before: str, after: str) -> None:
    """Doubled braces are braces, three escapes are known, any other backslash is itself, blanks in braces fall away."""
    made = Template.parse(spelled)
    assert (made.before, made.after) == (before, after)
    assert made.columns == ("text",)
    assert made.text_column is None
    assert made.join(["x y"]) == "x y"


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("no column", "it names no column"),
        ("{text} {}", "a pair of braces names no column"),
        ("{text", "a '{' without its partner at character 1"),
        ("a } {text}", "a '}' without its partner at character 3"),
        ("{a} and {b} and {a}", "names {a} twice"),
        ("{{text}}", "it names no column"),
    ],
)
def test_refusals(spelled: str, said: str) -> None:
    """One line each, with what to write instead."""
    with pytest.raises(ConfigError, match=r"--template") as caught:
        Template.parse(spelled)
    assert said in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_empty_cells_keep_what_stands_between_and_only_empty_rows_are_blank() -> None:
    """The words between columns do not make a text of nothing."""
    made = Template.parse("{a} | {b}")
    assert made.join(["x", ""]) == "x | "
    assert made.join(["", "y"]) == " | y"
    assert made.join([" ", "\t"]) == ""


def test_rows_are_mappings_or_plain_texts_where_one_column_is_read() -> None:
    """A plain text cannot fill two columns."""
    one, two = Template.parse("Q: {question}"), Template.parse("{question}\n{answer}")
    assert one.of_row("why?", "text 0") == "why?"
    assert one.of_row({"question": "why?", "other": 1}, "text 0") == "why?"
    assert two.of_row({"question": "why?", "answer": 42}, "text 0") == "why?\n42"
    assert two.of_row({"question": "why?", "answer": None}, "text 0") == "why?\n"
    with pytest.raises(DataError, match="text 3: a plain text, but the template reads several columns"):
        two.of_row("why?", "text 3")
    with pytest.raises(DataError, match="text 3: no 'answer', which the template reads; there are question"):
        two.of_row({"question": "why?"}, "text 3")
