"""Texts to ragged token ids, exactly as the model was pretrained, with user text kept text.

A thin layer over the ``tokenizers`` library: a cut that is counted, no padding unless a classifier learnt to read pads,
and special tokens that a user spells out stay ordinary characters. What the tokenizer itself puts before and after a
text stands around every part of it that is read. Knows nothing about models or batches.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError, DataError, ModelError
from tailtune.template import Template
from tailtune.text.gpt2_files import TOKENIZER_JSON
from tailtune.text.spelled import keep_spelled_text
from tailtune.text.tokenizer_files import load_tokenizer_json
from tailtune.text.windows import LongRule, Windows

# Texts encoded at once, and their characters: large enough for the library to use all cores. It takes up to 400 bytes
# for each token of a text, so that a thousand long texts at once would fill the memory.
_SLICE = 4096
_SLICE_CHARACTERS = 1 << 22

# Texts between a template's words that show which tokens of those words stay whatever stands there.
_PROBES = ("a", "The text.", "7", "é", "(", "\n", " a ", "")

# Special tokens that neither begin nor end a text, in any of their spellings: <pad>, [UNK], <|padding|>, ...
_NO_BORDER = re.compile(r"\W*(pad|padding|unk|mask)\W*", re.IGNORECASE)


# What n-grams read of a text, in tokens: all of it, however many.
ANY_LENGTH = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Token ids of several texts, or of the windows of several texts, end to end.

    Attributes:
        ids: int32 [total].
        offsets: int64 [texts + 1]; text i is ids[offsets[i]:offsets[i + 1]].
        full_lengths: int64 [texts], tokens before cutting; nothing is cut off a window.
        shared: So many first tokens are the same in all of them, a template's words; every text has more than these.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    full_lengths: NDArray[np.int64]
    shared: int = 0

    def __len__(self) -> int:
        return len(self.full_lengths)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[texts] tokens per text, after cutting; at least 1."""
        return np.diff(self.offsets)

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """[texts] whether the text was cut."""
        return self.full_lengths > self.lengths

    def take(self, texts: NDArray[np.int64]) -> Tokens:
        """Return the given texts, in that order."""
        starts = self.offsets[texts]
        lengths = self.offsets[texts + 1] - starts  # self.lengths would be as long as all texts, for every batch
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        return Tokens(
            ids=self.ids[token_places(starts, lengths)],
            offsets=offsets,
            full_lengths=self.full_lengths[texts],
            shared=self.shared,
        )


def token_places(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [sum of lengths] the places of the tokens of several texts, one text after the other.

    Args:
        starts: [texts] the place of each text's first token.
        lengths: [texts] tokens of each.
    """
    ends = np.cumsum(lengths)
    places = np.repeat(starts - ends + lengths, lengths)
    places += np.arange(len(places))
    return places


class Tokenizer:
    """A tokenizer.json, its special tokens spelled out by users kept as text, and what it reads of long texts.

    Args:
        json_bytes: The file's content.
        max_tokens: Most tokens that are read at once, those that the tokenizer adds to a text among them.
        long: What is read of longer texts.
        pad: Token that is put behind a text until it has ``max_tokens``, for classifiers that were trained to read the
            last of them; None, as everything here is trained, adds nothing.
        template: Words around every text; the texts given here are those inside. Of longer texts they stay: what is cut
            lies between them, and every window has them.
        where: Said in errors.

    Attributes:
        json_bytes: As given.
        max_tokens: As given.
        long: With its stride settled.
        pad: As given.
        template: As given.
        room: Tokens of a text that are read at once.

    Raises:
        ModelError: If it is no tokenizer.
        ConfigError: If ``max_tokens`` leaves no room for the text, or the stride does not fit the window.
    """

    def __init__(
        self,
        json_bytes: bytes,
        *,
        max_tokens: int,
        long: LongRule | None = None,
        pad: int | None = None,
        template: Template | None = None,
        where: str = "tokenizer.json",
    ) -> None:
        from tokenizers import Tokenizer as Library

        try:
            self._library = Library.from_str(json_bytes.decode("utf-8"))
        except Exception as error:
            raise ModelError(f"{where}: not a usable tokenizer: {error}") from error
        self._library.no_padding()
        self._library.no_truncation()
        self._library.encode_special_tokens = True
        keep_spelled_text(self._library)
        self._of_nothing = self._border()
        self._before, self._after = self._added(where)
        self.template = template
        if template is not None and template.wraps:
            self._before, self._after = self._around(template)
        self.json_bytes = json_bytes
        self.max_tokens = max_tokens
        self.room = max_tokens - len(self._before) - len(self._after)
        if self.room < 1:
            added = len(self._before) + len(self._after)
            adds = "the tokenizer adds" if template is None else "the template and the tokenizer add"
            raise ConfigError(f"--max-tokens {max_tokens}: {adds} {added} to each text, which leaves it none")
        self.long = (long or LongRule()).within(self.room)
        self.pad = pad

    def _border(self) -> int:
        """The lowest special token that begins or ends texts; what a text without any token is read as."""
        known = self._library.get_added_tokens_decoder()
        special = sorted(number for number, token in known.items() if token.special)
        borders = (number for number in special if not _NO_BORDER.fullmatch(known[number].content))
        return next(borders, min(special, default=0))

    def _added(self, where: str) -> tuple[list[int], list[int]]:
        """Special tokens that the tokenizer puts before and after a text.

        Asked of the last step alone: a sample text may come out without a token, where a normaliser strips it.
        """
        from tokenizers import Tokenizer as Library
        from tokenizers.models import WordLevel

        one = Library(WordLevel({"a": 0}, unk_token="a")).encode("a")
        encoding = self._library.post_process(one)
        own = [place for place, added in enumerate(encoding.special_tokens_mask) if not added]
        if not own:
            raise ModelError(f"{where}: not a usable tokenizer: its post-processor leaves the text out")
        return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]

    def _around(self, template: Template) -> tuple[list[int], list[int]]:
        """Tokens before and after every text, special ones and those of the template that no text merges with."""
        found = [encoding.ids for encoding in self._library.encode_batch([template.wrap(each) for each in _PROBES])]
        shortest = min(found, key=len)
        before = shortest[: _alike(found)]
        after = _alike([ids[len(before) :][::-1] for ids in found])
        return before, shortest[len(shortest) - after :]

    def following(self, words: Sequence[str]) -> list[int]:
        """Return the first token of each word as it stands behind the template, with the space that belongs to it.

        Args:
            words: None of them blank.

        Raises:
            ConfigError: If the template's end and a word become tokens that the template alone does not end with.
        """
        ends = self.template.after if self.template is not None else ""
        gap = "" if ends[-1:].isspace() else " "
        start = self._read_words(f"a{ends}")
        firsts = []
        for word in words:
            whole = self._read_words(f"a{ends}{gap}{word}")
            if len(whole) <= len(start) or whole[: len(start)] != start:
                said = f"the template's end {ends[-20:]!r} and the word {word!r} share a token"
                raise ConfigError(said, hint="let it end with a word or a mark; the space comes with the word")
            firsts.append(whole[len(start)])
        return firsts

    def _read_words(self, text: str) -> list[int]:
        ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return ids

    @classmethod
    def of_model(
        cls, folder: Path, *, max_tokens: int, long: LongRule | None = None, template: Template | None = None
    ) -> Tokenizer:
        """Return the tokenizer of a model folder: its tokenizer.json, with what tokenizer_config.json decides.

        Raises:
            ModelError: If the files cannot be read or are no tokenizer.
            ConfigError: If ``max_tokens`` leaves no room for the text, or the stride does not fit the window.
        """
        content = load_tokenizer_json(folder)
        return cls(content, max_tokens=max_tokens, long=long, template=template, where=str(folder / TOKENIZER_JSON))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        max_tokens: int,
        long: LongRule | None = None,
        pad: int | None = None,
        template: Template | None = None,
    ) -> Tokenizer:
        """Return the tokenizer in the file ``path``, as it stands there; see the class.

        Raises:
            ModelError: If it cannot be read or is no tokenizer.
            ConfigError: If ``max_tokens`` leaves no room for the text, or the stride does not fit the window.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
        return cls(content, max_tokens=max_tokens, long=long, pad=pad, template=template, where=str(path))

    def unlimited(self) -> Tokenizer:
        """Return the same that reads every text whole, and adds no pads."""
        return Tokenizer(self.json_bytes, max_tokens=ANY_LENGTH)

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Return the token ids of what is read of ``texts``, in order; see ``read``."""
        return self.read(texts)[0]

    def read(self, texts: Sequence[str]) -> tuple[Tokens, Windows]:
        """Return the token ids of what is read of ``texts``, window by window, and which window is whose.

        A text without any token (an empty one, where the tokenizer puts nothing around a text) is read as the lowest
        special token that is none for padding, masks or what is unknown: it begins or ends texts in the families here.
        Pads are tokens that are read, and not tokens of the text.

        Raises:
            DataError: If a text is no string, or holds half a character (a lone surrogate); it names which.
        """
        # One array per slice, not per text: at a million texts 0.1 GB of small objects less.
        ids = [np.empty(0, dtype=np.int32)]
        lengths, counts, full_lengths, padded = ([np.empty(0, dtype=np.int64)] for _ in range(4))
        template = self.template if self.template is not None and self.template.wraps else None
        for part in _slices(texts):
            whole = part if template is None else list(map(template.wrap, part))
            found = [encoding.ids or [self._of_nothing] for encoding in self._library.encode_batch_fast(whole)]
            windows = [self._windows(text) for text in found]
            flat = list(itertools.chain.from_iterable(windows))
            filled = flat if self.pad is None else [self._filled(window, self.pad) for window in flat]
            ids.append(np.fromiter(itertools.chain.from_iterable(filled), dtype=np.int32))
            for kept, lists in ((lengths, flat), (counts, windows), (full_lengths, found), (padded, filled)):
                kept.append(np.fromiter(map(len, lists), dtype=np.int64, count=len(lists)))
        full, sizes = np.concatenate(full_lengths), np.concatenate(lengths)
        in_windows = self.long.kind == "windows"
        tokens = Tokens(
            ids=np.concatenate(ids),
            offsets=np.concatenate(([0], np.cumsum(np.concatenate(padded)))),
            full_lengths=sizes if in_windows else full,
        )
        if template is not None:
            tokens = replace(tokens, shared=_shared(tokens, most=len(self._before)))
        return tokens, Windows(
            offsets=np.concatenate(([0], np.cumsum(np.concatenate(counts)))),
            lengths=full if in_windows else sizes,
            full_lengths=full,
            merge=self.long.merge,
        )

    def _filled(self, ids: list[int], pad: int) -> list[int]:
        return ids + [pad] * (self.max_tokens - len(ids))

    def _windows(self, ids: list[int]) -> list[list[int]]:
        """The parts of a text that are read, each with the special tokens of a whole one."""
        if len(ids) <= self.max_tokens:
            return [ids]
        before, after = self._before, self._after
        if self.template is not None:  # a text may merge with a template's words; what stays of them is kept
            before = before[: _alike([before, ids])]
            after = after[len(after) - _alike([after[::-1], ids[::-1]]) :]
        text = ids[len(before) : len(ids) - len(after)]
        spans = self.long.spans(len(text), self.room)
        return [[*before, *text[start:stop], *after] for start, stop in spans]


def _alike(lists: Sequence[Sequence[int]]) -> int:
    """How many first numbers are the same in all lists."""
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*lists, strict=False)))


def _shared(tokens: Tokens, *, most: int) -> int:
    """How many first tokens, at most ``most``, all texts share and none ends with."""
    if not len(tokens):
        return 0
    most = min(most, int(tokens.lengths.min()) - 1)
    starts = tokens.ids[tokens.offsets[:-1, None] + np.arange(most)]
    different = np.flatnonzero((starts != starts[0]).any(axis=0))
    return int(different[0]) if len(different) else most


def _slices(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts, checked, so many at once as are encoded together."""
    part: list[str] = []
    characters = 0
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {place}: expected a string, got {type(text).__name__}")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError(f"text {place}: holds half a character (a lone surrogate)", hint="mend its encoding")
        part.append(text)
        characters += len(text)
        if len(part) == _SLICE or characters >= _SLICE_CHARACTERS:
            yield part
            part, characters = [], 0
    yield part
