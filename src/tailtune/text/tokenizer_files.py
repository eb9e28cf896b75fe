"""A model folder's tokenizer files become one tokenizer.json, which a bundle then carries alone.

tokenizer.json is the truth: how the file normalises and splits a text, and what it puts around it, is what the model
was trained with. tokenizer_config.json has a say where the reference library (transformers 5.23) gives it one: for the
classes below, which set some parts themselves. ``add_bos_token`` and ``add_eos_token`` have none beside a
tokenizer.json, there or here.

Two departures, on purpose. The reference's classes also rebuild the other parts from their own code, whatever the file
says: SmolLM2's digits, published under GPT2Tokenizer, are then no longer split, and Llama 2 loses the first of leading
blanks. And its BERT class lower-cases where nobody says a word about case, while here the file is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailtune.errors import ModelError
from tailtune.text.gpt2_files import TOKENIZER_JSON, holds_gpt2_files, read_tokenizer

Around = tuple[list[int], list[int]]

# Classes that put these around a text whatever tokenizer.json says, by what tokenizer_config.json may call otherwise.
_BERT = {"cls_token": "[CLS]", "sep_token": "[SEP]"}
_PUT_AROUND: dict[str, dict[str, str]] = {
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": _BERT,
    "RobertaTokenizer": {"cls_token": "<s>", "sep_token": "</s>"},
    "XLMRobertaTokenizer": {"bos_token": "<s>", "eos_token": "</s>"},
    "GPTNeoXTokenizer": {},
}
_BERT_FLAGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_BLANK_IN_FRONT = {"GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer", "RobertaTokenizer"}
_CLASS_OF_TYPE = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "gpt2": "GPT2Tokenizer",
    "opt": "GPT2Tokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
}


def load_tokenizer_json(folder: Path) -> bytes:
    """Return the tokenizer.json of a model folder, with what tokenizer_config.json decides written into it.

    Byte for byte the file where nothing differs. A GPT-2 without one has its two older files instead.

    Args:
        folder: Holds tokenizer.json; tokenizer_config.json and config.json are read where they are there.

    Raises:
        ModelError: If it has no tokenizer.json, or one of the files is no JSON.
    """
    path = folder / TOKENIZER_JSON
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        if _read(folder / "config.json").get("model_type") == "gpt2" and holds_gpt2_files(folder):
            return read_tokenizer(folder)
        raise ModelError(f"{folder}: has no tokenizer.json", hint=_way_out(folder)) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    described = _read(folder / "tokenizer_config.json")
    name = _class(described, _read(folder / "config.json"))
    if name not in _PUT_AROUND and name not in _BLANK_IN_FRONT:
        return content
    tokenizer = _parsed(content, path)
    try:
        changed = _settle(tokenizer, name, described)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError) as error:
        raise ModelError(f"{path}: not a usable tokenizer: {type(error).__name__}: {error}") from error
    return json.dumps(tokenizer, ensure_ascii=False).encode("utf-8") if changed else content


def _way_out(folder: Path) -> str:
    found = [name for name in ("tokenizer.model", "vocab.json", "vocab.txt") if (folder / name).is_file()]
    return (
        f"it has {' and '.join(found)}: " if found else ""
    ) + "with transformers, AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes one"


def _read(path: Path) -> dict[str, Any]:
    """The file's content; empty where there is none."""
    try:
        return _parsed(path.read_bytes(), path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:  # no UTF-8 is one too
        raise ModelError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _class(described: dict[str, Any], config: dict[str, Any]) -> str:
    """The reference library's class for the folder, without the "Fast" of its older versions."""
    named = described.get("tokenizer_class") or config.get("tokenizer_class")
    return str(named or _CLASS_OF_TYPE.get(str(config.get("model_type")), "")).removesuffix("Fast")


def _settle(tokenizer: dict[str, Any], name: str, described: dict[str, Any]) -> bool:
    """Whether ``tokenizer`` had to be changed to what the class and its settings make of it."""
    changed = False
    if name in _BLANK_IN_FRONT and isinstance(wanted := described.get("add_prefix_space"), bool):
        for part in _parts(tokenizer.get("pre_tokenizer"), "pretokenizers"):
            if part.get("type") == "ByteLevel":
                changed |= _set(part, "add_prefix_space", wanted)
    if _PUT_AROUND.get(name) is _BERT:
        for part in _parts(tokenizer.get("normalizer"), "normalizers"):
            if part.get("type") == "BertNormalizer":
                for flag in _BERT_FLAGS.keys() & described.keys():
                    changed |= _set(part, _BERT_FLAGS[flag], described[flag])
    if name in _PUT_AROUND:
        changed |= _settle_around(
            tokenizer, [_content(described.get(key), usual) for key, usual in _PUT_AROUND[name].items()]
        )
    return changed


def _set(part: dict[str, Any], key: str, value: Any) -> bool:
    changed = key not in part or bool(part[key] != value)
    part[key] = value
    return changed


def _content(token: Any, usual: str) -> str:
    """A token is written as its text or as an object that holds it."""
    return str(token["content"]) if isinstance(token, dict) and "content" in token else str(token or usual)


def _parts(part: Any, key: str) -> Iterator[dict[str, Any]]:
    """The part itself, or the parts of a sequence."""
    if isinstance(part, dict):
        yield from part.get(key, [part])


def _settle_around(tokenizer: dict[str, Any], names: list[str]) -> bool:
    """Whether the post-processor had to be replaced: the first of ``names`` before a text, the second after it."""
    ids = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    if not all(name in ids for name in names):
        return False
    wanted = [ids[name] for name in names]
    if _around(tokenizer.get("post_processor")) == (wanted[:1], wanted[1:]):
        return False
    tokenizer["post_processor"] = _template(*names, ids=ids) if names else None
    return True


def _around(processor: Any) -> Around:
    """What a post-processor puts before and after a text."""
    before: list[int] = []
    after: list[int] = []
    for part in _parts(processor, "processors"):
        if part["type"] in ("BertProcessing", "RobertaProcessing"):
            before, after = [part["cls"][1], *before], [*after, part["sep"][1]]
        elif part["type"] == "TemplateProcessing":
            pieces = part["single"]
            place = next(number for number, piece in enumerate(pieces) if "Sequence" in piece)
            put = [
                [id_ for piece in side for id_ in _ids(piece, part)] for side in (pieces[:place], pieces[place + 1 :])
            ]
            before, after = [*put[0], *before], [*after, *put[1]]
    return before, after


def _ids(piece: dict[str, Any], part: dict[str, Any]) -> list[int]:
    ids: list[int] = part["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
    return ids


def _template(first: str, last: str, *, ids: dict[str, int]) -> dict[str, Any]:
    """A post-processor that puts one token before a text and one after it, as tokenizer.json spells it."""

    def special(name: str, side: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": side}}

    def text(name: str, side: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": side}}

    single = [special(first, 0), text("A", 0), special(last, 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), special(last, 1)],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (first, last)},
    }
