"""Words around texts as tokens: where they stay, what is shared, and which token a word begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tailtune.errors import ConfigError
from tailtune.template import Template
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import LongRule

AROUND = Template.parse(r"Message: {text}\nThis message is")
LONG = "the meeting was moved to Thursday and the room stays the same as last time " * 6


def _made(model: Path, template: Template | None, *, max_tokens: int = 256, long: LongRule | None = None) -> Tokenizer:
    return Tokenizer.load(model / "tokenizer.json", max_tokens=max_tokens, template=template, long=long)


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2", "tiny_bert"])
def test_a_text_is_read_as_the_whole_string(model: str, request: pytest.FixtureRequest) -> None:
    """Wrapping is nothing but another string: the same ids, special tokens around it all."""
    folder = request.getfixturevalue(model)
    texts = ["hello you", "", "  x", "Ok lar...", "ümläut"]
    wrapped = _made(folder, AROUND).encode(texts)
    plain = _made(folder, None).encode([AROUND.wrap(text) for text in texts])
    np.testing.assert_array_equal(wrapped.ids, plain.ids)
    np.testing.assert_array_equal(wrapped.offsets, plain.offsets)
    assert plain.shared == 0


@pytest.mark.parametrize("kind", ["truncate-tail", "truncate-head", "windows"])
@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bert"])
def test_of_long_texts_the_words_around_stay(model: str, kind: str, request: pytest.FixtureRequest) -> None:
    """What is cut lies inside: each part that is read begins and ends as a short text does."""
    folder = request.getfixturevalue(model)
    made = _made(folder, AROUND, max_tokens=48, long=LongRule(kind=kind))  # type: ignore[arg-type]
    short = made.encode(["a"]).ids
    tokens, windows = made.read([LONG, "a"])
    assert windows.longer.tolist() == [True, False]
    before, after = made.max_tokens - made.room, 0
    ends = _made(folder, Template.parse(r"{text}\nThis message is")).encode(["a"]).ids
    after = len(ends) - len(_made(folder, None).encode(["a"]).ids)
    before -= after
    for start, stop in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        ids = tokens.ids[start:stop]
        assert len(ids) <= 48
        np.testing.assert_array_equal(ids[: before - 1], short[: before - 1])
        np.testing.assert_array_equal(ids[-after:], short[-after:])
    if kind == "windows":
        assert windows.counts[0] > 1
        assert tokens.shared > 0


def test_shared_is_what_all_texts_begin_with_and_none_ends_with(tiny_llama: Path) -> None:
    """A text that merges with the last token of the words before it makes that no longer shared."""
    made = _made(tiny_llama, Template.parse("Message: Claim you{text}"))
    apart, merged = made.encode(["! a", "! b"]), made.encode(["! a", "r seat"])
    assert merged.shared <= apart.shared
    for tokens in (apart, merged):
        starts = [tokens.ids[start : start + tokens.shared].tolist() for start in tokens.offsets[:-1]]
        assert starts[0] == starts[1]
        assert tokens.shared < tokens.lengths.min()
    assert merged.ids[merged.shared] != merged.ids[merged.offsets[1] + merged.shared]
    empty = made.encode([""])
    assert 0 < empty.shared == len(empty.ids) - 1
    assert made.encode([]).shared == 0
    assert apart.take(np.array([1])).shared == apart.shared


def test_texts_without_words_around_share_nothing(tiny_llama: Path) -> None:
    """What bare texts happen to have in common is computed for each: their pass stays as it was."""
    assert _made(tiny_llama, None).encode(["same", "same"]).shared == 0
    assert _made(tiny_llama, Template.parse("{text}")).encode(["same", "same"]).shared == 0


def test_words_too_long_for_the_context_are_refused(tiny_llama: Path) -> None:
    """A template that leaves a text no token says so."""
    with pytest.raises(ConfigError, match=r"--max-tokens 6: the template and the tokenizer add \d+ to each text"):
        _made(tiny_llama, AROUND, max_tokens=6)


def test_the_first_token_of_a_word_has_its_space(tiny_llama: Path) -> None:
    """It is the token that the model would say next, behind words, a line end, or nothing."""
    bare = _made(tiny_llama, None)
    said = bare.encode([" home", "home"])
    spaced, plain = (int(said.ids[start]) for start in said.offsets[:-1])
    assert spaced != plain
    assert _made(tiny_llama, AROUND).following(["home"]) == [spaced]
    assert _made(tiny_llama, Template.parse(r"{text}\nAnswer:\n")).following(["home"]) == [plain]
    assert bare.following(["home"]) == [spaced]


def test_a_template_that_ends_inside_a_token_is_refused(tiny_llama: Path) -> None:
    """A space at the end belongs to the word."""
    with pytest.raises(ConfigError, match=r"'\.It is ' and the word 'home' share a token"):
        _made(tiny_llama, Template.parse("{text}.It is ")).following(["home"])
