"""Words that a language model would say for each label, and the first token of each, by which they are told apart.

A word of several tokens counts by its first one: the probability of that token is the probability of all words that
begin so, which is the word's own wherever few other words fit the place. Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tailtune.errors import ConfigError
from tailtune.storage import read_toml
from tailtune.text.tokenizer import Tokenizer

Words = Mapping[str, tuple[str, ...]]
_HOW = "write spam=spam,advertising;ham=ordinary, or name a TOML file with lines such as spam = ['spam']"


def label_words(spelled: str | None, labels: Sequence[str]) -> Words:
    """Return the words of each label, in the order of ``labels``.

    Args:
        spelled: As on the command line, or the path of a TOML file; None where each label is its own word.
        labels: Names.

    Raises:
        ConfigError: If it cannot be read, or lacks a label, or names one that there is not, or one without words.
    """
    if spelled is None:
        return {label: (label.strip(),) for label in labels}
    given = read_words(spelled)
    absent, unknown = [name for name in labels if name not in given], sorted(set(given) - set(labels))
    if absent or unknown:
        said = f"no words for {absent[0]!r}" if absent else f"words for {unknown[0]!r}, which is no label"
        raise ConfigError(f"--label-words: {said}; labels: {', '.join(map(repr, list(labels)[:20]))}", hint=_HOW)
    return {label: given[label] for label in labels}


def read_words(spelled: str) -> dict[str, tuple[str, ...]]:
    """Return label -> words, as they are written in ``spelled`` or in the TOML file that it names.

    Raises:
        ConfigError: If it cannot be read, or a label has no words.
    """
    pairs = _of_file(Path(spelled)) if spelled.endswith(".toml") else _of_line(spelled)
    found: dict[str, tuple[str, ...]] = {}
    for label, words in pairs:
        kept = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
        if not label or not kept or label in found:
            said = "is given twice" if label in found else "has no words" if label else "a label without a name"
            raise ConfigError(f"--label-words: {label!r} {said}" if label else f"--label-words: {said}", hint=_HOW)
        found[label] = kept
    return found


def _of_line(spelled: str) -> list[tuple[str, list[str]]]:
    pairs = [part.partition("=") for part in spelled.split(";") if part.strip()]
    return [(label.strip(), words.split(",")) for label, _, words in pairs]


def _of_file(path: Path) -> list[tuple[str, list[str]]]:
    content = read_toml(path, said=f"--label-words {path}", hint=_HOW)
    listed = {label: [words] if isinstance(words, str) else words for label, words in content.items()}
    for label, words in listed.items():
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ConfigError(f"--label-words {path}: {label}: expected a word or a list of words", hint=_HOW)
    return list(listed.items())


def first_tokens(tokenizer: Tokenizer, words: Words) -> tuple[list[int], list[int]]:
    """Return the first tokens of all words behind the tokenizer's template, each once, and which label each is of.

    Raises:
        ConfigError: If words of two labels begin with the same token: nothing would tell them apart.
    """
    owners: dict[int, tuple[int, str]] = {}
    names = list(words)
    for number, own in enumerate(words.values()):
        for word, token in zip(own, tokenizer.following(own), strict=True):
            other, known = owners.setdefault(token, (number, word))
            if other != number:
                said = f"{known!r} of {names[other]!r} and {word!r} of {names[number]!r} begin with the same token"
                raise ConfigError(f"label words: {said}", hint="name other words with --label-words")
    return list(owners), [number for number, _ in owners.values()]
