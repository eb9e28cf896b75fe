"""Words of labels: how they are written, and the tokens that tell them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailtune.errors import ConfigError
from tailtune.template import Template
from tailtune.text.label_words import first_tokens, label_words, read_words
from tailtune.text.tokenizer import Tokenizer


def test_a_line_and_a_file_say_the_same(tmp_path: Path) -> None:
    """Words are kept in order, once each, without the blanks around them."""
    file = tmp_path / "words.toml"
    file.write_text("spam = ['spam', 'advertising']\nham = 'ordinary'\n", encoding="utf-8")
    expected = {"spam": ("spam", "advertising"), "ham": ("ordinary",)}
    assert read_words(" spam = spam, advertising ,spam; ham=ordinary;") == expected
    assert read_words(str(file)) == expected
    assert list(label_words(str(file), ["ham", "spam"])) == ["ham", "spam"]


def test_labels_are_their_own_words() -> None:
    """Where nothing else is said."""
    assert label_words(None, ["ham", " spam"]) == {"ham": ("ham",), " spam": ("spam",)}


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("spam=spam", "no words for 'ham'"),
        ("spam=spam;ham=ok;eggs=x", "words for 'eggs', which is no label"),
        ("spam=;ham=ok", "'spam' has no words"),
        ("spam;ham=ok", "'spam' has no words"),
        ("=x;ham=ok", "a label without a name"),
        ("ham=a;ham=b", "'ham' is given twice"),
        ("absent.toml", "absent.toml: cannot be read"),
    ],
)
def test_refusals(spelled: str, said: str) -> None:
    """One line each."""
    with pytest.raises(ConfigError, match="--label-words") as caught:
        label_words(spelled, ["ham", "spam"])
    assert said in caught.value.message


@pytest.mark.parametrize("content", ["spam = [1]", "spam = {a = 'b'}", "spam = "])
def test_broken_files_are_refused(tmp_path: Path, content: str) -> None:
    """With their name."""
    file = tmp_path / "words.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"words\.toml"):
        read_words(str(file))


def test_first_tokens_belong_to_one_label_each(tiny_llama: Path) -> None:
    """Words of one label may begin alike, and count once; of two labels nothing would tell them apart."""
    made = Tokenizer.load(tiny_llama / "tokenizer.json", max_tokens=64, template=Template.parse("{text} It is"))
    tokens, owners = first_tokens(made, {"a": ("home", "homely"), "b": ("claim", "milk")})
    assert owners == [0, 1, 1]
    assert tokens == [*made.following(["home"]), *made.following(["claim", "milk"])]
    with pytest.raises(ConfigError, match="'home' of 'a' and 'homely' of 'b' begin with the same token"):
        first_tokens(made, {"a": ("home",), "b": ("homely",)})
