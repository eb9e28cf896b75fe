"""One tokenizer.json from a folder's files: untouched where nothing differs, one clear line where it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.tiny_models import END_OF_TEXT, tiny_tokenizer, write_tiny_gpt2, write_tiny_llama
from tailtune.errors import ModelError
from tailtune.text.gpt2_files import join_gpt2_files
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.tokenizer_files import load_tokenizer_json


def _write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds the tiny byte-level tokenizer, and nothing else."""
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("write", [write_tiny_gpt2, write_tiny_llama])
def test_a_model_folder_keeps_its_file(tmp_path: Path, write: Any) -> None:
    """Bundles and stored features depend on the bytes: no file is rewritten for its own sake."""
    write(tmp_path)
    assert load_tokenizer_json(tmp_path) == (tmp_path / "tokenizer.json").read_bytes()


def test_the_other_files_may_be_absent(folder: Path) -> None:
    """tokenizer.json alone is a tokenizer."""
    assert load_tokenizer_json(folder) == (folder / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vocab.json", "it has vocab.json"),
        ("tokenizer.model", "it has tokenizer.model"),
        ("README.md", "AutoTokenizer"),
    ],
)
def test_a_folder_without_the_file_says_the_way_out(tmp_path: Path, name: str, hint: str) -> None:
    """What lies there instead is named."""
    _write(tmp_path, name, "{}")
    with pytest.raises(ModelError, match=r"has no tokenizer\.json") as caught:
        load_tokenizer_json(tmp_path)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "not valid JSON"), ("[]", "expected a JSON object, got list"), ("\x00", "not valid JSON")],
)
def test_a_damaged_file_beside_it_is_one_line(folder: Path, name: str, content: str, said: str) -> None:
    """A broken settings file is never passed over in silence."""
    _write(folder, name, content)
    with pytest.raises(ModelError, match=rf"{name}: {said}"):
        load_tokenizer_json(folder)


@pytest.mark.parametrize(
    "damage",
    [
        {"added_tokens": [{"id": 0}]},
        {"added_tokens": 3},
        {"post_processor": {"type": "TemplateProcessing", "single": []}},
        {"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]}},
        {"post_processor": {"type": "BertProcessing"}},
        {"post_processor": {"processors": ["x"]}},
    ],
)
def test_damage_where_the_class_has_a_say_is_one_line(folder: Path, damage: dict[str, Any]) -> None:
    """Not a traceback of whatever was looked for first."""
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "GPTNeoXTokenizer"})
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) | damage
    _write(folder, "tokenizer.json", content)
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a usable tokenizer"):
        load_tokenizer_json(folder)


@pytest.mark.parametrize(
    "processor",
    [
        {"type": "BertProcessing", "sep": [END_OF_TEXT, 0], "cls": [END_OF_TEXT, 0]},
        {"type": "Sequence", "processors": [{"type": "BertProcessing", "sep": ["x", 0], "cls": ["x", 0]}]},
    ],
)
def test_every_way_to_put_the_same_tokens_is_left_alone(folder: Path, processor: dict[str, Any]) -> None:
    """What counts are the ids before and after a text, not how the file spells them."""
    named = {"tokenizer_class": "BertTokenizer", "cls_token": END_OF_TEXT, "sep_token": {"content": END_OF_TEXT}}
    _write(folder, "tokenizer_config.json", named)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    _write(folder, "tokenizer.json", content | {"post_processor": processor})
    assert load_tokenizer_json(folder) == (folder / "tokenizer.json").read_bytes()
    _write(folder, "tokenizer.json", content | {"post_processor": None})
    changed = Tokenizer(load_tokenizer_json(folder), max_tokens=99).encode(["a"]).ids.tolist()
    assert changed == [0, *Tokenizer.load(folder / "tokenizer.json", max_tokens=99).encode(["a"]).ids.tolist(), 0]


def test_tokens_that_are_not_there_change_nothing(folder: Path) -> None:
    """A class whose own tokens the vocabulary lacks leaves the file as it is."""
    _write(folder, "config.json", {"model_type": "bert"})
    assert load_tokenizer_json(folder) == (folder / "tokenizer.json").read_bytes()


def test_a_gpt2_folder_with_the_older_files_has_a_tokenizer(tmp_path: Path) -> None:
    """vocab.json and merges.txt alone are GPT-2's tokenizer where config.json says GPT-2, and nobody's else."""
    fixture = Path(__file__).parents[2] / "fixtures" / "openai_gpt2"
    shutil.copy(fixture / "encoder.json", tmp_path / "vocab.json")
    shutil.copy(fixture / "vocab.bpe", tmp_path / "merges.txt")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert load_tokenizer_json(tmp_path) == join_gpt2_files(fixture / "encoder.json", fixture / "vocab.bpe")
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(ModelError, match="has no tokenizer\\.json"):
        load_tokenizer_json(tmp_path)
