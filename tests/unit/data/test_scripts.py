"""The script of a text, by its letters alone, and the language of longer ones; a mix is said."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.data.check import check_dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.scripts import (
    NO_LETTERS,
    TOO_SHORT,
    language_mix,
    languages_of,
    require_languages,
    script_mix,
    script_of,
)
from tailtune.errors import SetupError

ENGLISH = "This is a sentence that is long enough for a guess at its language."
GERMAN = "Dieser Satz ist lang genug, damit man seine Sprache erraten kann."


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello", "Latin"),
        ("größer, déjà vu", "Latin"),
        ("привет, ok", "Cyrillic"),
        ("ok привет", "Cyrillic"),
        ("مرحبا 123", "Arabic"),
        ("שלום", "Hebrew"),
        ("नमस्ते", "Devanagari"),
        ("無料です。カタカナ", "Han and kana"),
        ("한국어", "Hangul"),
        ("\uff26\uff55\uff4c\uff4c", "Latin"),
        ("\U0001d518\U0001d52b", "Latin"),
        ("123 !!", NO_LETTERS),
        ("👍🏽", NO_LETTERS),
        ("", NO_LETTERS),
    ],
)
def test_the_script_of_most_letters(text: str, script: str) -> None:
    """Digits, marks and emoji count for none; forms of a letter are that letter."""
    assert script_of(text) == script


@given(st.text())
def test_any_text_has_one(text: str) -> None:
    """Unnamed and private letters too."""
    assert script_of(text)


def test_a_mix_is_said_with_its_rows() -> None:
    """Ten Cyrillic texts among twenty are; four are not, nor are texts without letters."""
    latin, cyrillic = [f"hello number {at}" for at in range(20)], [f"привет номер {at}" for at in range(10)]
    found = script_mix(dataset_from_lists([*latin, *cyrillic, *"1234567"], ["a"] * 37))
    assert found is not None
    said = "texts in several scripts: Latin 20 (54.1%), Cyrillic 10 (27.0%); not Latin: rows 21,"
    assert found.message.startswith(said)
    assert found.rows == tuple(range(21, 31))
    dataset = dataset_from_lists([*latin, *cyrillic[:4], *"1234567"], ["a", "b"] * 15 + ["a"])
    assert script_mix(dataset) is None
    assert "script_mix" not in {each.kind for each in check_dataset(dataset)}
    mixed = [each for each in check_dataset(dataset_from_lists([*latin, *cyrillic], ["a", "b"] * 15)) if each.mend]
    assert [each.severity for each in mixed if each.kind == "script_mix"] == ["note"]


def test_languages_of_longer_texts() -> None:
    """Two languages are told apart; short texts are not guessed at."""
    assert languages_of([ENGLISH, GERMAN, "ok"]) == ["en", "de", TOO_SHORT]
    texts = [ENGLISH.replace("sentence", f"sentence {at}") for at in range(8)]
    assert language_mix(dataset_from_lists(texts, ["a"] * 8)) is None
    found = language_mix(dataset_from_lists([*texts, *(GERMAN + f" {at}" for at in range(6))], ["a"] * 14))
    assert found is not None
    assert found.message.startswith("texts in several languages: en 8 (57.1%), de 6 (42.9%); not en: rows 9,")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """No language is told; asked for it says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert languages_of([ENGLISH]) is None
    assert language_mix(dataset_from_lists([ENGLISH], ["a"])) is None
    with pytest.raises(SetupError, match="py3langid is not installed") as caught:
        require_languages()
    assert caught.value.hint == "pip install 'tailtune[languages]'"
