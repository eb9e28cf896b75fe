"""Labelled texts written for the tests, and classifiers made of tiny random models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tailtune.features.backbone import Backbone
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokenizer, Tokens

_SPAM = ("WINNER!! Claim prize {} now", "Free entry {}: text WIN to 80086", "URGENT call 0906{} for your reward {}")
_HAM = (
    "See you at {}",
    "Are we still on for {} tonight?",
    "Grandmother mentioned train number {} arrives terribly late, apologies",
)
_PLACES = ("home", "the station", "work", "lunch", "school", "the gym", "a friend's", "the park", "court", "church")


def messages(count: int) -> tuple[list[str], list[str]]:
    """Return ``count`` distinct short messages and their labels, ham and spam in turn; no two are near duplicates."""
    texts, labels = [], []
    for number in range(count):
        place = _PLACES[number // 2 % len(_PLACES)]
        words = f"{place} {_letters(number)} {_letters(7 * number + 3)}"  # one word alone would make near duplicates
        forms, label = ((_SPAM, "spam"), (_HAM, "ham"))[number % 2]
        texts.append(forms[number // 2 % len(forms)].format(words, number))
        labels.append(label)
    return texts, labels


_FEELINGS = {"anger": "this is outrageous", "joy": "so glad today", "love": "I adore you"}


def tagged(count: int) -> tuple[list[str], list[list[str]]]:
    """Return ``count`` distinct short messages and the labels of each: every set of three, none included, in turn."""
    texts, labels = [], []
    for number in range(count):
        own = [name for place, name in enumerate(_FEELINGS) if number >> place & 1]
        words = f"{_PLACES[number % len(_PLACES)]} {_letters(number)} {_letters(7 * number + 3)}"
        texts.append(" and ".join([*(_FEELINGS[name] for name in own), f"see you at {words} later"]))
        labels.append(own)
    return texts, labels


def write_tagged(path: Path, texts: Sequence[str], labels: Sequence[Sequence[str]]) -> Path:
    """Write JSON lines with the keys text and labels, a list, and return their path."""
    rows = ({"text": text, "labels": list(own)} for text, own in zip(texts, labels, strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _letters(number: int) -> str:
    """A made-up word per number: digits would fold away."""
    word = ""
    while True:
        word += "bcdfghklmn"[number % 10] + "aeiou"[number % 5]
        number //= 10
        if not number:
            return word


def write_csv(path: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """Write a file with the columns text and label, and return its path."""
    rows = ['"' + text.replace('"', '""') + f'",{label}' for text, label in zip(texts, labels, strict=True)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def encode(model: Path, texts: Sequence[str], *, max_tokens: int = 64) -> Tokens:
    """Return the token ids of ``texts`` under the tokenizer in a model folder."""
    return Tokenizer.load(model / "tokenizer.json", max_tokens=max_tokens).encode(texts)


def backbone(model: Path) -> Backbone:
    """Return the whole decoder in a model folder as a backbone."""
    return Backbone(load_decoder(model), device=torch.device("cpu"))


def random_tokens(lengths: Sequence[int], *, seed: int = 0, vocabulary: int = 257) -> Tokens:
    """Return random token ids with the given lengths."""
    counts = np.array(lengths, dtype=np.int64)
    ids = np.random.default_rng(seed).integers(0, vocabulary, counts.sum()).astype(np.int32)
    return Tokens(ids=ids, offsets=np.concatenate(([0], np.cumsum(counts))), full_lengths=counts)
