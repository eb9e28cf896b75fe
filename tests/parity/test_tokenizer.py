"""Token ids equal those of the reference library for the tokenizers of every family, and user text stays text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.default_model import default_model
from support.hostile_texts import hostile_texts
from support.tiny_tokenizers import AROUND, TOKENIZERS, write_tiny_tokenizer
from tailtune.text.tokenizer import Tokenizer, Tokens
from tailtune.text.windows import LongRule

Folder = Callable[[str], Path]
Ids = list[list[int]]

WORD_PIECES = {"bert-uncased", "bert-cased", "distilbert"}
every_family = pytest.mark.parametrize("family", TOKENIZERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a family, written once."""
    root = tmp_path_factory.mktemp("tokenizers")

    def written(family: str) -> Path:
        path = root / family
        return path if path.is_dir() else write_tiny_tokenizer(path, family)

    return written


@pytest.fixture
def copy(folder: Folder, tmp_path: Path) -> Callable[..., Path]:
    """A family's folder with other contents of its files."""

    def copied(family: str, *, parts: dict[str, Any] | None = None, **described: Any) -> Path:
        shutil.copytree(folder(family), path := tmp_path / family)
        for name, changes in (("tokenizer.json", parts or {}), ("tokenizer_config.json", described)):
            content = json.loads((path / name).read_text(encoding="utf-8")) | changes
            kept = {key: value for key, value in content.items() if value != "absent"}
            (path / name).write_text(json.dumps(kept), encoding="utf-8")
        return path

    return copied


def _auto(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _as_the_file_says(folder: Path) -> Any:
    """The reference library's plain class, which takes tokenizer.json whole."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def _ids(reference: Any, texts: list[str]) -> Ids:
    """User text that spells a special token is split like any other text."""
    ids: Ids = reference(texts, split_special_tokens=True)["input_ids"]
    return ids


def _apart(tokens: Tokens) -> Ids:
    return [part.tolist() for part in np.split(tokens.ids, tokens.offsets[1:-1])]


def _ours(folder: Path, texts: list[str]) -> Ids:
    return _apart(Tokenizer.of_model(folder, max_tokens=100_000).encode(texts))


def _file(folder: Path) -> Any:
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def _names(folder: Path) -> dict[int, str]:
    """Added tokens by id."""
    return {token["id"]: token["content"] for token in _file(folder)["added_tokens"]}


def _require_equal(folder: Path) -> None:
    names = list(_names(folder).values())
    texts = hostile_texts(2000, spelled=names)
    if _file(folder)["model"]["type"] == "Unigram":  # the reference reads what spells a special token as that token
        texts = [text for text in texts if not any(name in text for name in names)]
        assert len(texts) > 1000
    expected = _ids(_auto(folder), texts)
    for text, got, wanted in zip(texts, _ours(folder, texts), expected, strict=True):
        # A text without tokens becomes one here; the reference gives none.
        assert got == wanted or (not wanted and len(got) == 1), repr(text[:80])


@every_family
def test_ids_equal_the_reference(folder: Folder, family: str) -> None:
    """On 2,000 hostile texts, and the file that goes into a bundle is the folder's, byte for byte."""
    _require_equal(folder(family))
    made = Tokenizer.of_model(folder(family), max_tokens=64)
    assert made.json_bytes == (folder(family) / "tokenizer.json").read_bytes()


@pytest.mark.network
def test_default_model() -> None:
    """The tokenizer rebuilt from the GGUF metadata, on the same texts; its file goes into bundles as it is."""
    model = default_model()
    _require_equal(model)
    assert Tokenizer.of_model(model, max_tokens=64).json_bytes == (model / "tokenizer.json").read_bytes()


@every_family
def test_what_stands_around_a_text(folder: Folder, family: str) -> None:
    """The table of docs: begin and end tokens per family, and what an empty text is read as."""
    before, after, nothing = AROUND[family]
    names = _names(folder(family))
    empty, text = _ours(folder(family), ["", "Call me"])
    put = [*text[: len(before)], *text[len(text) - len(after) :]]
    assert [names[number] for number in put] == [*before, *after]
    assert not set(text[len(before) : len(text) - len(after)]) & names.keys()
    assert " ".join(names[number] for number in empty) == nothing


@every_family
def test_a_spelled_special_token_is_text(folder: Folder, family: str) -> None:
    """No special id comes out of a text but that of what is unknown, and what was spelled can be read again."""
    before, after, _ = AROUND[family]
    special = {token["content"]: token["id"] for token in _file(folder(family))["added_tokens"] if token["special"]}
    unknown = {number for name, number in special.items() if name in ("[UNK]", "<unk>")}
    texts = [*special, *(f"win {name} now" for name in special), "".join(special)]
    reference = _as_the_file_says(folder(family))
    for text, ids in zip(texts, _ours(folder(family), texts), strict=True):
        own = ids[len(before) : len(ids) - len(after)]
        assert not set(own) & set(special.values()) - unknown
        if family not in WORD_PIECES:  # these leave blanks and case out
            assert reference.decode(own) == text


def test_a_unigram_vocabulary_is_kept_from_reading_them(folder: Folder) -> None:
    """The reference, told to split special tokens, still ends the text where a user writes "</s>"; here it goes on."""
    path = folder("xlm-roberta")
    end = {name: number for number, name in _names(path).items()}["</s>"]
    assert _ids(_auto(path), ["win</s> now"])[0].count(end) == 2
    assert _ours(path, ["win</s> now"])[0].count(end) == 1


@pytest.mark.parametrize(
    ("family", "spelled"),
    [("qwen2", "<tool_call>"), ("gemma", "<unused0>"), ("olmo2", "|||EMAIL_ADDRESS|||"), ("gpt-neox", "   ")],
)
def test_an_added_token_that_is_not_special_is_one_token(folder: Folder, family: str, spelled: str) -> None:
    """Such tokens are for text: what spells them is read as them, here as in the reference."""
    number = next(number for number, name in _names(folder(family)).items() if name == spelled)
    ids = _ours(folder(family), [f"x{spelled}y"])
    assert number in ids[0]
    assert ids == _ids(_auto(folder(family)), [f"x{spelled}y"])


def _template(folder: Path, *names: str) -> dict[str, Any]:
    """A post-processor that puts these around a text ("$A")."""
    ids = {name: number for number, name in _names(folder).items()}
    put = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in names if name != "$A"}
    pieces: list[Any] = [
        {"Sequence": {"id": "A", "type_id": 0}} if name == "$A" else {"SpecialToken": {"id": name, "type_id": 0}}
        for name in names
    ]
    pair = [*pieces, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": pieces, "pair": pair, "special_tokens": put}


@pytest.mark.parametrize(
    "described",
    [{}, {"add_bos_token": True, "tokenizer_class": "absent"}, {"add_bos_token": False, "add_eos_token": True}],
)
@pytest.mark.parametrize("around", ["nothing", "begin", "both"])
@every_family
def test_begin_and_end_where_the_files_differ(
    copy: Callable[..., Path], family: str, around: str, described: dict[str, Any]
) -> None:
    """The post-processor of tokenizer.json decides, whatever tokenizer_config.json says of begin and end tokens.

    The classes of BERT, RoBERTa and XLM-RoBERTa put their own in every case, that of GPT-NeoX none.
    """
    path = copy(family, **described)
    special = [token["content"] for token in _file(path)["added_tokens"] if token["special"]]
    first, last = special[0], special[-1]
    names = {"nothing": None, "begin": (last, "$A"), "both": (first, "$A", last, last)}[around]
    content = _file(path) | {"post_processor": names and _template(path, *names)}
    (path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    texts = ["a", " b c", "longer than that"]
    assert _ours(path, texts) == _ids(_auto(path), texts)


@pytest.mark.parametrize(
    ("family", "described"),
    [
        ("bert-uncased", {"do_lower_case": False}),
        ("bert-uncased", {"strip_accents": False}),
        ("bert-uncased", {"tokenize_chinese_chars": False, "tokenizer_class": "BertTokenizerFast"}),
        ("bert-cased", {"do_lower_case": True}),
        ("bert-cased", {"strip_accents": True}),
        ("distilbert", {"do_lower_case": False}),
        ("gpt2", {"add_prefix_space": True}),
        ("gpt2", {"add_prefix_space": True, "tokenizer_class": "absent"}),
        ("roberta", {"add_prefix_space": True}),
        ("gpt-neox", {"add_prefix_space": True}),
        ("qwen2", {"add_prefix_space": True}),
        ("bert-cased", {"cls_token": "[MASK]", "sep_token": {"content": "[PAD]", "__type": "AddedToken"}}),
    ],
)
def test_settings_of_the_class_are_written_into_the_file(
    copy: Callable[..., Path], family: str, described: dict[str, Any]
) -> None:
    """What tokenizer_config.json decides is in the file that a bundle keeps, which then needs no other."""
    path = copy(family, **described)
    texts = hostile_texts(400)[1:]  # an empty one has no ids in the reference
    expected = _ids(_auto(path), texts)
    made = Tokenizer.of_model(path, max_tokens=100_000)
    assert made.json_bytes != (path / "tokenizer.json").read_bytes()
    assert _apart(Tokenizer(made.json_bytes, max_tokens=100_000).encode(texts)) == expected
    assert expected != _ids(_as_the_file_says(path), texts)


@pytest.mark.parametrize(
    ("family", "described", "text"),
    [
        ("smollm2", {"tokenizer_class": "GPT2Tokenizer"}, "a  42 7"),
        ("llama2-published", {"tokenizer_class": "LlamaTokenizer"}, " 1"),
        ("bert-cased", {"do_lower_case": "absent"}, "Call"),
    ],
)
def test_the_file_is_right_where_the_reference_rebuilds_it(
    copy: Callable[..., Path], family: str, described: dict[str, Any], text: str
) -> None:
    """AutoTokenizer of 5.23 gives other ids than the published file; here the file decides."""
    path = copy(family, **described)
    texts = [text, *hostile_texts(400)[1:]]
    expected = _ids(_as_the_file_says(path), texts)
    assert _ids(_auto(path), [text]) != expected[:1]
    assert _ours(path, texts) == expected


@every_family
def test_stored_padding_and_truncation_do_not_matter(folder: Folder, copy: Callable[..., Path], family: str) -> None:
    """Sentence-embedding folders carry them; they would pad texts or hide that they were cut."""
    truncation = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    padding |= {"pad_type_id": 0, "pad_token": "x"}
    path = copy(family, parts={"truncation": truncation, "padding": padding})
    texts = ["", "ok", "a text of quite a few more words than four"]
    assert _ours(path, texts) == _ours(folder(family), texts)


@every_family
def test_every_window_stands_between_the_same_tokens(folder: Folder, family: str) -> None:
    """Of a long text each window begins and ends like a whole one, and together they hold all of it."""
    before, after, _ = AROUND[family]
    text = "Call me, or reply YES to win 900 pounds. " * 20
    (whole,) = _ours(folder(family), [text])
    own = whole[len(before) : len(whole) - len(after)]
    rule = LongRule(kind="windows", stride=16)
    tokens, windows = Tokenizer.of_model(folder(family), max_tokens=16 + len(before) + len(after), long=rule).read(
        [text]
    )
    parts = _apart(tokens)
    assert windows.counts[0] == len(parts) > 2
    for part in parts:
        assert part[: len(before)] == whole[: len(before)]
        assert part[len(part) - len(after) :] == whole[len(whole) - len(after) :]
    inner = [part[len(before) : len(part) - len(after)] for part in parts]
    assert [number for part in inner[:-1] for number in part] == own[: 16 * (len(parts) - 1)]
    assert inner[-1] == own[-16:]


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=8)


@every_family
@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, data=st.data())
def test_a_text_has_the_same_ids_in_any_company(folder: Folder, family: str, texts: list[str], data: Any) -> None:
    """Alone, in any order, and in slices put end to end."""
    made = Tokenizer.of_model(folder(family), max_tokens=64)
    ids = _apart(made.encode(texts))
    order = data.draw(st.permutations(range(len(texts))))
    cut = data.draw(st.integers(0, len(texts)))
    assert [_apart(made.encode([text]))[0] for text in texts] == ids
    assert _apart(made.encode([texts[place] for place in order])) == [ids[place] for place in order]
    halves = [made.encode(texts[:cut]), made.encode(texts[cut:])]
    np.testing.assert_array_equal(np.concatenate([half.ids for half in halves]), made.encode(texts).ids)
