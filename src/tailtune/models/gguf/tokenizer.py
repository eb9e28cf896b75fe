"""A tokenizer.json rebuilt from the metadata of a GGUF file: the ids that the reference's own file gives.

Three kinds: byte-level BPE, cut beforehand by the rule that ``tokenizer.ggml.pre`` names; SentencePiece BPE, whose
scores stand for its merges; BERT's WordPiece, with a mark before the pieces that begin a word where BERT marks those
that go on. The file holds the name of the rule alone; the rule, the normalizer and whether a text gets a begin token
stand here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tailtune.errors import ModelError
from tailtune.models.gguf.metadata import Metadata

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Token types of the format.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5
_BLANK = "▁"

_END = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?"
_SIGNS = r" ?[^\s\p{L}\p{N}]+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LLAMA3 = rf"{_SUFFIX}|{_WORD}\p{{L}}+|\p{{N}}{{1,3}}|{_SIGNS}[\r\n]*|{_END}"
_QWEN2 = rf"{_SUFFIX}|{_WORD}\p{{L}}+|\p{{N}}|{_SIGNS}[\r\n]*|{_END}"
_TEKKEN = rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}|{_SIGNS}[\r\n/]*|{_END}"
_GPT4O = (
    rf"{_WORD}{_UPPER}*{_LOWER}+{_SUFFIX}?|{_WORD}{_UPPER}+{_LOWER}*{_SUFFIX}?"
    rf"|\p{{N}}{{1,3}}|{_SIGNS}[\r\n/]*|{_END}"
)
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # noqa: RUF001


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What the name of a pre-tokenizer stands for.

    Attributes:
        split: Pieces that no token crosses; "" is GPT-2's rule.
        digits_alone: Every digit is cut out before that.
        composed: Characters are composed first (NFC).
        whole_first: A piece that is a token is not built by merges.
        begin: A text gets a begin token unless the file says no.
    """

    split: str = ""
    digits_alone: bool = False
    composed: bool = False
    whole_first: bool = False
    begin: bool = False


_LLAMA3_RULE = Rule(split=_LLAMA3, whole_first=True, begin=True)
RULES: Mapping[str, Rule] = {
    "gpt-2": Rule(),
    "phi-2": Rule(),
    "mpt": Rule(composed=True),  # GPT-NeoX, Pythia
    "olmo": Rule(composed=True),  # the same tokenizer under its later name
    # Every digit alone first, then GPT-2's rule. A plain byte-level one would join digits, and blanks before them,
    # into tokens that the model was never trained on.
    "smollm": Rule(digits_alone=True),
    "llama-bpe": _LLAMA3_RULE,
    "llama3": _LLAMA3_RULE,
    "llama-v3": _LLAMA3_RULE,
    "smaug-bpe": Rule(split=_LLAMA3, whole_first=True),  # SmolLM3: Llama 3's without a begin token
    "dbrx": Rule(split=_LLAMA3),  # OLMo 2
    "qwen2": Rule(split=_QWEN2, composed=True),
    "deepseek-r1-qwen": Rule(split=_QWEN2),
    "tekken": Rule(split=_TEKKEN, whole_first=True, begin=True),  # later Mistrals
    "gpt-4o": Rule(split=_GPT4O),  # Phi-4 mini
    "bloom": Rule(split=_BLOOM),
}
"""``tokenizer.ggml.pre`` -> what it means."""

# Files from before April 2024 name no rule.
_UNNAMED = {"gpt2": "gpt-2", "gptneox": "mpt", "bloom": "bloom", "qwen2": "qwen2"}


def rebuild(metadata: Metadata, architecture: str, vocabulary: int) -> tuple[Tokenizer, dict[str, str]]:
    """Return the tokenizer, and the names of its special tokens as tokenizer_config.json spells them.

    Args:
        metadata: Of the file.
        architecture: For files that name no rule.
        vocabulary: Rows of the embedding.

    Raises:
        ModelError: If the kind or the rule is not known, or the fields contradict each other.
    """
    from tokenizers import AddedToken, processors

    kind = metadata.text("tokenizer.ggml.model")
    build = {"gpt2": _byte_level, "llama": _sentence_piece, "bert": _word_piece}.get(kind)
    if build is None:
        raise ModelError(f"{metadata.source}: tokenizer {kind!r} is not supported; supported: 'gpt2', 'llama', 'bert'")
    tokens = metadata.texts("tokenizer.ggml.tokens")
    types = metadata.wholes("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    if len(types) != len(tokens) or len(tokens) > vocabulary:
        raise _contradiction(metadata, f"{len(tokens)} tokens, {len(types)} types, {vocabulary} embeddings")
    file = _File(metadata=metadata, tokens=_respelled(kind, tokens, types), types=types)
    tokenizer, before, after = build(file, architecture)
    for added, special in (((_CONTROL, _UNKNOWN), True), ((_USER_DEFINED,), False)):
        known = [AddedToken(token, special=special, normalized=False) for token in file.of_types(*added)]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(known)
    if before or after:
        ids = [(token, file.tokens.index(token)) for token in {*before, *after}]
        tokenizer.post_processor = processors.TemplateProcessing(single=[*before, "$A", *after], special_tokens=ids)
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    told = {name: key for name, key in keys.items() if metadata.has(f"tokenizer.ggml.{key}_token_id")}
    return tokenizer, {name: file.token(key) for name, key in told.items()}


def _respelled(kind: str, tokens: Sequence[str], types: Sequence[int]) -> list[str]:
    """The tokens as the reference spells them."""

    def spelled(token: str, of_type: int) -> str:
        # The converter writes the blanks of added tokens as blanks, all others as SentencePiece does.
        if kind == "llama" and of_type == _USER_DEFINED:
            return token.replace(" ", _BLANK)
        # BERT marks pieces that go on in a word, the format those that begin one.
        if kind == "bert" and of_type not in (_CONTROL, _UNUSED):
            return token[1:] if token.startswith(_BLANK) else f"##{token}"
        return token

    return [spelled(token, of_type) for token, of_type in zip(tokens, types, strict=True)]


def _contradiction(metadata: Metadata, what: str) -> ModelError:
    return ModelError(f"{metadata.source}: its metadata do not fit together: {what}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """What a file says of its tokenizer."""

    metadata: Metadata
    tokens: list[str]
    types: list[int]

    def of_types(self, *wanted: int) -> list[str]:
        return [token for token, kind in zip(self.tokens, self.types, strict=True) if kind in wanted]

    def token(self, name: str, *default: int) -> str:
        key = f"tokenizer.ggml.{name}_token_id"
        number = self.metadata.whole(key, *default)
        if not 0 <= number < len(self.tokens):
            raise _contradiction(self.metadata, f"{key} is {number}, there are {len(self.tokens)} tokens")
        return self.tokens[number]

    def around(self, name: str, wanted: bool, *default: int) -> list[str]:
        """The token that is put at one end of a text, if any is."""
        asked = self.metadata.flag(f"tokenizer.ggml.add_{name}_token", wanted)
        return [self.token(name, *default)] if asked else []

    def ids(self) -> dict[str, int]:
        """Token -> id; the unused ones are the padding of an embedding, no text becomes them."""
        used = [(token, number) for number, token in enumerate(self.tokens) if self.types[number] != _UNUSED]
        ids = dict(used)
        if len(ids) != len(used):
            twice = next(token for token, number in used if ids[token] != number)
            raise _contradiction(self.metadata, f"token {twice!r} is there twice")
        return ids

    def merges(self, ids: Mapping[str, int]) -> list[tuple[str, str]]:
        """The merges that are listed, checked: the library's own error for a wrong one is of no class."""
        found = []
        for merge in self.metadata.texts("tokenizer.ggml.merges"):
            left, _, right = merge.partition(" ")
            if not {left, right, left + right} <= ids.keys():
                raise _contradiction(self.metadata, f"{merge!r} is no merge of two tokens")
            found.append((left, right))
        return found


# The tokenizer, and what stands before and after every text.
_Built = tuple["Tokenizer", list[str], list[str]]


def _rule(metadata: Metadata, architecture: str) -> Rule:
    name = metadata.text("tokenizer.ggml.pre", "default")
    name = _UNNAMED.get(architecture, name) if name == "default" else name
    if name not in RULES:
        raise ModelError(
            f"{metadata.source}: pre-tokenizer {name!r} is not known; known: {', '.join(map(repr, sorted(RULES)))}"
        )
    return RULES[name]


def _byte_level(file: _File, architecture: str) -> _Built:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    rule, ids = _rule(file.metadata, architecture), file.ids()
    wanted = {"ignore_merges": True} if rule.whole_first else {}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=file.merges(ids), **wanted))
    if rule.composed:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if rule.digits_alone else []
    if rule.split:
        steps.append(pre_tokenizers.Split(Regex(rule.split), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not rule.split))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, file.around("bos", rule.begin), file.around("eos", False)


def _sentence_piece(file: _File, architecture: str) -> _Built:
    from tokenizers import Tokenizer, decoders, models, normalizers

    metadata, ids = file.metadata, file.ids()
    if metadata.has("tokenizer.ggml.merges"):
        merges = file.merges(ids)
    else:
        scores = metadata.reals("tokenizer.ggml.scores")
        if len(scores) != len(file.tokens):
            raise _contradiction(metadata, f"{len(file.tokens)} tokens, {len(scores)} scores")
        merges = merges_by_score(file.tokens, scores, file.types)
    unknown = file.token("unknown", file.types.index(_UNKNOWN) if _UNKNOWN in file.types else 0)
    model = models.BPE(vocab=ids, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    # A blank before the text, whatever it begins with, as SentencePiece trained it. The reference's fifth version, when
    # it builds a Llama tokenizer itself, leaves it out before a text that begins with a blank.
    first = metadata.flag("tokenizer.ggml.add_space_prefix", True)
    blanks = normalizers.Replace(" ", _BLANK)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_BLANK), blanks]) if first else blanks
    steps: list[Any] = [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if first else []))
    return tokenizer, file.around("bos", True, 1), file.around("eos", False, 2)


def _word_piece(file: _File, architecture: str) -> _Built:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    def named(key: str, spelled: str) -> str:
        return file.token(key, *([file.tokens.index(spelled)] if spelled in file.tokens else []))

    tokenizer = Tokenizer(models.WordPiece(file.ids(), unk_token=named("unknown", "[UNK]")))
    # The file does not say whether texts are lowered; a vocabulary without a capital letter would lose every word of
    # them otherwise.
    capitals = any(token != token.lower() for token in file.of_types(_NORMAL))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not capitals)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, [named("bos", "[CLS]")], [named("seperator", "[SEP]")]  # so spelled in the format


def merges_by_score(tokens: Sequence[str], scores: Sequence[float], types: Sequence[int]) -> list[tuple[str, str]]:
    """Return the merges that SentencePiece's scores stand for: of all neighbours, it joins those that score highest.

    Added tokens come first, in their order: SentencePiece matches them before it looks at scores.

    Args:
        tokens: By id.
        scores: Of each token.
        types: Of each token.
    """
    mergeable = {token: number for number, token in enumerate(tokens) if types[number] in (_NORMAL, _USER_DEFINED)}
    ranked: list[tuple[tuple[float, ...], str, str]] = []
    for token, number in mergeable.items():
        first = types[number] == _USER_DEFINED
        rank = (0.0, float(number)) if first else (1.0, -scores[number])
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in mergeable and right in mergeable:
                # The order that the reference's conversion gives to the cuts of one token, and to equal scores.
                places = (mergeable[left], mergeable[right])
                ranked.append(((*rank, -len(left), -len(right), number, *places), left, right))
    return [(left, right) for _, left, right in sorted(ranked)]
