"""Ragged ids: the cut keeps the front, user text stays text, and what is no text is refused by its index."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from support.tiny_models import END_OF_TEXT, tiny_tokenizer
from tailtune.errors import ConfigError, DataError, ModelError
from tailtune.text.tokenizer import Tokenizer, token_places
from tailtune.text.windows import LongRule


def _json() -> bytes:
    return tiny_tokenizer().to_str().encode()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A tiny byte-level BPE that cuts at 16 tokens."""
    return Tokenizer(_json(), max_tokens=16)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=12))
def test_each_text_has_its_own_ids_cut_from_the_front(texts: list[str]) -> None:
    """Whatever stands beside it, a text yields the first 16 ids that the library gives it alone, at least one."""
    library = Library.from_str(_json().decode())
    library.encode_special_tokens = True  # hypothesis tries the strings of our sources, <|endoftext|> among them
    tokens = Tokenizer(_json(), max_tokens=16).encode(texts)
    assert len(tokens) == len(texts)
    assert [a.dtype.name for a in (tokens.ids, tokens.offsets, tokens.full_lengths)] == ["int32", "int64", "int64"]
    for number, text in enumerate(texts):
        alone = library.encode(text).ids or [0]
        got = tokens.ids[tokens.offsets[number] : tokens.offsets[number + 1]]
        np.testing.assert_array_equal(got, alone[:16])
        assert tokens.full_lengths[number] == len(alone)
        assert tokens.truncated[number] == (len(alone) > 16)


def test_take_reorders_repeats_and_drops(tokenizer: Tokenizer) -> None:
    """Taken texts keep their ids and full lengths; none taken is an empty value."""
    tokens = tokenizer.encode(["Call me", "x" * 100, "", "Reply YES to win"])
    taken = tokens.take(np.array([3, 1, 1]))
    for place, source in enumerate([3, 1, 1]):
        expected = tokens.ids[tokens.offsets[source] : tokens.offsets[source + 1]]
        np.testing.assert_array_equal(taken.ids[taken.offsets[place] : taken.offsets[place + 1]], expected)
    np.testing.assert_array_equal(taken.full_lengths, tokens.full_lengths[[3, 1, 1]])
    assert len(tokens.take(np.array([], dtype=np.int64)).ids) == 0


def test_places_of_tokens_follow_their_texts() -> None:
    """Starts in any order, lengths of zero, and no texts at all."""
    places = token_places(np.array([10, 0, 5]), np.array([3, 0, 2]))
    assert places.tolist() == [10, 11, 12, 5, 6]
    assert token_places(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)).tolist() == []


RULES = [LongRule(), LongRule(kind="truncate-head"), LongRule(kind="windows"), LongRule(kind="windows", stride=5)]
Texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=35), max_size=8)


def _surrounded() -> bytes:
    """The tiny tokenizer, putting one token before a text and two after it, as some families do."""
    from tokenizers import Tokenizer as Library
    from tokenizers.processors import TemplateProcessing

    library = Library.from_str(_json().decode())
    library.post_processor = TemplateProcessing(
        single=f"{END_OF_TEXT} $A {END_OF_TEXT} {END_OF_TEXT}", special_tokens=[(END_OF_TEXT, 0)]
    )
    return library.to_str().encode()


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None)
@given(texts=Texts)
def test_every_window_is_like_a_whole_text(rule: LongRule, texts: list[str]) -> None:
    """It has the tokens that the tokenizer puts around a text, is no longer than the limit, and holds a part of it."""
    tokenizer = Tokenizer(_surrounded(), max_tokens=12, long=rule)
    plain = Tokenizer(_json(), max_tokens=10_000)
    tokens, windows = tokenizer.read(texts)
    assert tokenizer.room == 9
    assert tokens.lengths.max(initial=0) <= 12
    for number, text in enumerate(texts):
        own = plain.encode([text]).ids.tolist() if text else []
        spans = tokenizer.long.spans(len(own), 9)
        places = range(windows.offsets[number], windows.offsets[number + 1])
        got = [tokens.ids[tokens.offsets[place] : tokens.offsets[place + 1]].tolist() for place in places]
        assert got == [[0, *own[start:stop], 0, 0] for start, stop in spans]
        assert windows.full_lengths[number] == len(own) + 3
        assert windows.truncated[number] == (rule.kind != "windows" and len(own) > 9)
        assert windows.lengths[number] == (len(own) + 3 if rule.kind == "windows" else min(len(own) + 3, 12))


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None)
@given(texts=Texts)
def test_texts_that_fit_are_read_the_same_by_every_rule(rule: LongRule, texts: list[str]) -> None:
    """The rule is for long texts alone: the ids of all others are the same."""
    expected, _ = Tokenizer(_json(), max_tokens=150).read(texts)
    tokens, windows = Tokenizer(_json(), max_tokens=150, long=rule).read(texts)
    np.testing.assert_array_equal(tokens.ids, expected.ids)
    np.testing.assert_array_equal(tokens.offsets, expected.offsets)
    assert windows.single


def test_a_limit_without_room_for_the_text_is_refused() -> None:
    """Three of three tokens are the tokenizer's own."""
    with pytest.raises(ConfigError, match="--max-tokens 3: the tokenizer adds 3 to each text"):
        Tokenizer(_surrounded(), max_tokens=3)


@pytest.mark.parametrize("unit", ["a", " ", "7", "lorem ipsum ", "\n"])
def test_windows_of_a_megabyte_take_time_in_proportion(unit: str) -> None:
    """Four times the text takes about four times as long, not sixteen; one word or one blank without end included."""
    tokenizer = Tokenizer(_json(), max_tokens=64, long=LongRule(kind="windows"))
    seconds = []
    for size in (250_000, 1_000_000):
        started = time.process_time()
        tokens, windows = tokenizer.read([unit * (size // len(unit))])
        seconds.append(time.process_time() - started)
        assert len(tokens) == windows.counts[0] > 1
    assert seconds[1] < 8 * seconds[0] + 1.0


def test_long_texts_are_encoded_few_at_a_time(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However texts fall into slices, the result is the same."""
    texts = ["lorem ipsum " * number for number in range(12)]
    expected = tokenizer.encode(texts)
    monkeypatch.setattr("tailtune.text.tokenizer._SLICE_CHARACTERS", 30)
    np.testing.assert_array_equal(tokenizer.encode(texts).ids, expected.ids)


def test_more_texts_than_one_slice(tokenizer: Tokenizer) -> None:
    """Slices join without a seam."""
    texts = [f"message {number}" for number in range(9000)]
    tokens = tokenizer.encode(texts)
    np.testing.assert_array_equal(
        tokens.take(np.array([4095, 4096, 8999])).ids, tokenizer.encode([texts[4095], texts[4096], texts[8999]]).ids
    )


@pytest.mark.parametrize("text", [END_OF_TEXT, f"win {END_OF_TEXT} now", END_OF_TEXT * 2])
def test_a_spelled_special_token_is_text(tokenizer: Tokenizer, text: str) -> None:
    """Id 0 is the end-of-text token; no user can write it, and the characters come back."""
    ids = Tokenizer(_json(), max_tokens=99).encode([text]).ids
    assert 0 not in ids
    assert tiny_tokenizer().decode(ids.tolist()) == text


def _with_special(*names: str, **parts: object) -> bytes:
    """The tiny tokenizer with more special tokens, and other parts of its pipeline."""
    from tokenizers import Tokenizer as Library

    library = Library.from_str(_json().decode())
    content = json.loads(library.to_str())
    content["added_tokens"] = []
    library = Library.from_str(json.dumps(content))
    library.add_special_tokens(list(names))
    for name, part in parts.items():
        setattr(library, name, part)
    return library.to_str().encode()


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        (["<unk>", "<s>", "</s>"], "<s>"),
        (["<|padding|>", "[UNK]", "<|endoftext|>"], "<|endoftext|>"),
        (["<pad>", "<mask>", "<eos>", "<bos>"], "<eos>"),
        (["[PAD]", "[UNK]", "[MASK]"], "[PAD]"),
    ],
)
def test_nothing_is_read_as_a_token_that_begins_or_ends_texts(special: list[str], expected: str) -> None:
    """Never as padding or the unknown, where there is another special token; the lowest one wins."""
    from tokenizers import Tokenizer as Library

    content = _with_special(*special)
    ids = Tokenizer(content, max_tokens=9).encode([""]).ids.tolist()
    assert ids == [Library.from_str(content.decode()).token_to_id(expected)]


def test_what_stands_around_a_text_is_known_where_the_normaliser_strips_letters() -> None:
    """Long texts keep both ends, though a sample of letters would have come out empty."""
    from tokenizers import Regex, normalizers, processors

    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 400), ("</s>", 401)])
    digits_only = normalizers.Replace(Regex(r"\D"), "")
    content = _with_special("<s>", "</s>", normalizer=digits_only, post_processor=template)
    ids = Tokenizer(content, max_tokens=4).encode(["call 09061701461 now", "abc"])
    assert ids.ids[:1].tolist() == [400]
    assert ids.ids[3:].tolist() == [401, 400, 401]


def test_a_tokenizer_that_leaves_the_text_out_is_refused() -> None:
    """A template of begin and end alone would make all texts equal."""
    from tokenizers import processors

    template = processors.TemplateProcessing(single="<s>", special_tokens=[("<s>", 400)])
    with pytest.raises(ModelError, match="its post-processor leaves the text out"):
        Tokenizer(_with_special("<s>", post_processor=template), max_tokens=4)


def test_padding_and_truncation_in_the_file_are_off() -> None:
    """Settings that a tokenizer.json carries along would pad texts or hide that they were cut."""
    from tokenizers import Tokenizer as Library

    stored = Library.from_str(_json().decode())
    stored.enable_padding(length=32)
    stored.enable_truncation(max_length=4)
    texts = ["Ok", "a text of quite a few more words than four"]
    tokens = Tokenizer(stored.to_str().encode(), max_tokens=99).encode(texts)
    np.testing.assert_array_equal(tokens.ids, Tokenizer(_json(), max_tokens=99).encode(texts).ids)
    assert not tokens.truncated.any()


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "NoneType"), (3, "int"), (b"x", "bytes"), ("a\ud800", "surrogate"), ("\udc80", "surrogate")],
)
def test_what_is_no_text_is_named_by_its_index(tokenizer: Tokenizer, text: str, said: str) -> None:
    """The index counts over all texts, beyond the first slice too."""
    with pytest.raises(DataError, match=rf"text 5000: .*{said}"):
        tokenizer.encode(["fine"] * 5000 + [text])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": "1.0"}', b"\xff\xfe", b'{"model": {"type": "No"}}']
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    """Any damage to tokenizer.json is a ModelError that names the file."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json") as caught:
        Tokenizer.load(path, max_tokens=8)
    assert "\n" not in caught.value.message


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """No traceback of the operating system."""
    with pytest.raises(ModelError, match="No such file"):
        Tokenizer.load(tmp_path / "tokenizer.json", max_tokens=8)


@pytest.mark.parametrize("unit", ["a", " ", "e\u0301", "7", "😀"])
def test_a_text_of_a_megabyte_is_cut_and_counted(tokenizer: Tokenizer, unit: str) -> None:
    """One endless word or one endless blank is read like any text: the front kept, the rest counted."""
    text = unit * (1_000_000 // len(unit.encode()))
    tokens = tokenizer.encode([text])
    assert tokens.truncated[0]
    assert tokens.lengths[0] == 16
    assert tiny_tokenizer().decode(tokens.ids[:4].tolist())[0] == text[0]
