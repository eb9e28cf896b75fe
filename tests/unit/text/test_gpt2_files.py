"""GPT-2's two tokenizer files, under both pairs of names, give the ids of the reference tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.hostile_texts import hostile_texts
from support.make_tensorflow_fixture import ONE
from tailtune.errors import ModelError, SetupError
from tailtune.models.first_gpt2.folder import cached_tokenizer
from tailtune.text.gpt2_files import join_gpt2_files, read_tokenizer
from tailtune.text.tokenizer import Tokenizer

_VOCABULARY, _MERGES = ONE / "encoder.json", ONE / "vocab.bpe"


def _require_equal(made: bytes, vocabulary: Path, merges: Path) -> None:
    from transformers import GPT2Tokenizer

    reference = GPT2Tokenizer(vocab=str(vocabulary), merges=str(merges))
    texts = hostile_texts()
    end = json.loads(vocabulary.read_text(encoding="utf-8"))["<|endoftext|>"]
    found = Tokenizer(made, max_tokens=100_000).encode(texts)
    for number, text in enumerate(texts):
        got = found.ids[found.offsets[number] : found.offsets[number + 1]].tolist()
        # A text without tokens becomes one here; the reference gives none.
        expected = reference(text, split_special_tokens=True)["input_ids"] or [end]
        assert got == expected, repr(text[:80])


def test_ids_equal_the_reference() -> None:
    """Hostile texts; one that spells the end-of-text token is split like any other."""
    _require_equal(join_gpt2_files(_VOCABULARY, _MERGES), _VOCABULARY, _MERGES)


@pytest.mark.network
def test_ids_of_gpt2_equal_the_reference(own_home: Path) -> None:
    """OpenAI's own two files, checked against their published hashes as they are fetched."""
    try:
        made = cached_tokenizer()
    except SetupError as error:
        pytest.skip(f"the tokenizer cannot be had: {error}")
    folder = own_home / "tokenizers" / "gpt2"
    assert sorted(file.name for file in folder.iterdir()) == ["encoder.json", "vocab.bpe"]
    _require_equal(made, folder / "encoder.json", folder / "vocab.bpe")
    assert Tokenizer(made, max_tokens=9).encode(["Do you have time"]).ids.tolist() == [5211, 345, 423, 640]


def test_is_found_by_every_name(tmp_path: Path) -> None:
    """A folder or a file, OpenAI's or Hugging Face's names, or a tokenizer.json, which is taken as it is."""
    made = join_gpt2_files(_VOCABULARY, _MERGES)
    shutil.copy(_VOCABULARY, tmp_path / "vocab.json")
    shutil.copy(_MERGES, tmp_path / "merges.txt")
    for place in (ONE, _VOCABULARY, _MERGES, tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        assert read_tokenizer(place) == made
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    assert read_tokenizer(tmp_path) == read_tokenizer(tmp_path / "tokenizer.json") == b"{}"


@pytest.mark.parametrize("place", ["", "absent", "absent.json"])
def test_no_tokenizer_is_told(tmp_path: Path, place: str) -> None:
    """With what would have been one."""
    with pytest.raises(ModelError, match=r"no tokenizer there \(give .*tokenizer.json, or encoder.json and vocab.bpe"):
        read_tokenizer(tmp_path / place)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("encoder.json", "{", "not valid JSON"),
        ("encoder.json", "[]", "expected a JSON object, got list"),
        ("encoder.json", '{"a": "0"}', "expected one JSON object"),
        ("encoder.json", '{"a": 0, "b": 2}', "do not have the numbers 0 to 1"),
        ("encoder.json", '{"a": 0, "b": 1}', "lacks '<|endoftext|>', and 254 more"),
        ("vocab.bpe", "#version: 0.2\nabc\n", "vocab.bpe:2: expected two pieces"),
        ("vocab.bpe", "a b c\n", "vocab.bpe:1: expected two pieces"),
        ("vocab.bpe", "z q\n", "merges to or from 'zq', which encoder.json does not know"),
        ("vocab.bpe", b"\xff\xfe", "not valid UTF-8"),
        ("encoder.json", None, "encoder.json: no such file"),
        ("vocab.bpe", None, "vocab.bpe: no such file"),
    ],
)
def test_damage_is_told(tmp_path: Path, name: str, content: str | bytes | None, said: str) -> None:
    """One line each, with the file and the line of it."""
    for file in (_VOCABULARY, _MERGES):
        shutil.copy(file, tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError) as caught:
        read_tokenizer(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
