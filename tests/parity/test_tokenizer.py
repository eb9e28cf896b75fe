"""Token ids equal those of the reference library, for every kind of tokenizer that the families here use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.default_model import default_model
from support.hostile_texts import hostile_texts
from support.tiny_models import END_OF_TEXT, tiny_tokenizer, tiny_wordpiece
from tailtune.text.tokenizer import Tokenizer


def _folder(path: Path, library: Any) -> Path:
    library.save(str(path / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    (path / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
    return path


def _reference_ids(folder: Path, texts: list[str]) -> list[list[int]]:
    """User text that spells a special token is split like any other text."""
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(folder)
    return [reference(text, split_special_tokens=True)["input_ids"] for text in texts]


def _require_equal(folder: Path) -> None:
    texts = hostile_texts()
    expected = _reference_ids(folder, texts)
    tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=100_000).encode(texts)
    for number, text in enumerate(texts):
        got = tokens.ids[tokens.offsets[number] : tokens.offsets[number + 1]].tolist()
        # A text without tokens becomes one here; the reference gives none.
        assert got == (expected[number] or [0]), repr(text[:80])


@pytest.mark.parametrize("digits_alone", [False, True])
def test_byte_level(tmp_path: Path, digits_alone: bool) -> None:
    """The kind of GPT-2, and the kind of SmolLM2 that splits digits."""
    _require_equal(_folder(tmp_path, tiny_tokenizer(digits_alone=digits_alone)))


def test_begin_of_text_from_the_post_processor(tmp_path: Path) -> None:
    """The kind of Llama: every text gets the tokenizer's own first token, an empty one too."""
    from tokenizers import Tokenizer as Library
    from tokenizers.processors import TemplateProcessing

    library = Library.from_str(tiny_tokenizer().to_str())
    library.post_processor = TemplateProcessing(single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, 0)])
    folder = _folder(tmp_path, library)
    _require_equal(folder)
    tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=3).encode(["", "a longer message than three"])
    np.testing.assert_array_equal(tokens.lengths, [1, 3])
    np.testing.assert_array_equal(tokens.ids[tokens.offsets[:-1]], [0, 0])


def test_word_pieces_between_marks(tmp_path: Path) -> None:
    """The kind of BERT: lower case, pieces of words, [CLS] before and [SEP] after a text, an empty one too."""
    _require_equal(_folder(tmp_path, tiny_wordpiece()))


@pytest.mark.network
def test_default_model() -> None:
    """The tokenizer rebuilt from the GGUF metadata, on the same texts."""
    _require_equal(default_model())
