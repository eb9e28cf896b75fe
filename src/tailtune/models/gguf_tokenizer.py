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
from tailtune.models.gguf_metadata import Metadata

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

_BERT = {"bos": "[CLS]", "seperator": "[SEP]", "unknown": "[UNK]"}

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
    kind = metadata.text("tokenizer.ggml.model")
    if kind not in ("gpt2", "llama", "bert"):
        raise ModelError(f"{metadata.source}: tokenizer {kind!r} is not supported; supported: 'gpt2', 'llama', 'bert'")
    tokens = metadata.texts("tokenizer.ggml.tokens")
    types = metadata.wholes("tokenizer.ggml.token_type", [_NORMAL] * len(tokens))
    if len(types) != len(tokens) or len(tokens) > vocabulary:
        raise _contradiction(metadata, f"{len(tokens)} tokens, {len(types)} types, {vocabulary} embeddings")
    defaults: dict[str, int] = {}
    wanted = {"bos": False, "eos": False}
    if kind == "gpt2":
        rule = _rule(metadata, architecture)
        tokenizer, wanted["bos"] = _byte_level(metadata, tokens, types, rule), rule.begin
    elif kind == "llama":
        tokens, defaults, wanted["bos"] = _respelled(tokens, types), {"bos": 1, "eos": 2}, True
        tokenizer = _sentence_piece(metadata, tokens, types)
    else:
        tokens, wanted = _as_word_pieces(tokens, types), {"bos": True, "seperator": True}  # so spelled in the format
        defaults = {name: tokens.index(token) for name, token in _BERT.items() if token in tokens}
        tokenizer = _word_piece(metadata, tokens, types, defaults)
    _add(tokenizer, tokens, types)
    around = [
        _token(metadata, tokens, name, defaults) if metadata.flag(f"tokenizer.ggml.add_{name}_token", asked) else None
        for name, asked in wanted.items()
    ]
    if any(around):
        tokenizer.post_processor = _around(tokens, *around)
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    told = {name: key for name, key in keys.items() if metadata.has(f"tokenizer.ggml.{key}_token_id")}
    return tokenizer, {name: _token(metadata, tokens, key, {}) for name, key in told.items()}


def _rule(metadata: Metadata, architecture: str) -> Rule:
    name = metadata.text("tokenizer.ggml.pre", "default")
    name = _UNNAMED.get(architecture, name) if name == "default" else name
    if name not in RULES:
        raise ModelError(
            f"{metadata.source}: pre-tokenizer {name!r} is not known; known: {', '.join(map(repr, sorted(RULES)))}"
        )
    return RULES[name]


def _contradiction(metadata: Metadata, what: str) -> ModelError:
    return ModelError(f"{metadata.source}: its metadata do not fit together: {what}")


def _token(metadata: Metadata, tokens: Sequence[str], name: str, defaults: Mapping[str, int]) -> str:
    key = f"tokenizer.ggml.{name}_token_id"
    default = [defaults[name]] if name in defaults else []
    number = metadata.whole(key, *default)
    if not 0 <= number < len(tokens):
        raise _contradiction(metadata, f"{key} is {number}, there are {len(tokens)} tokens")
    return tokens[number]


def _ids(metadata: Metadata, tokens: Sequence[str], types: Sequence[int]) -> dict[str, int]:
    """Token -> id; the unused ones are the padding of an embedding, no text becomes them."""
    used = [(token, number) for number, token in enumerate(tokens) if types[number] != _UNUSED]
    ids = dict(used)
    if len(ids) != len(used):
        twice = next(token for token, number in used if ids[token] != number)
        raise _contradiction(metadata, f"token {twice!r} is there twice")
    return ids


def _bpe(metadata: Metadata, **wanted: Any) -> Tokenizer:
    from tokenizers import Tokenizer, models

    try:
        return Tokenizer(models.BPE(**wanted))
    except Exception as error:  # the library raises no class of its own
        raise _contradiction(metadata, str(error)) from error


def _merges(metadata: Metadata) -> list[tuple[str, str]]:
    found = [merge.partition(" ") for merge in metadata.texts("tokenizer.ggml.merges")]
    wrong = next((left + blank + right for left, blank, right in found if not (left and right)), None)
    if wrong is not None:
        raise _contradiction(metadata, f"{wrong!r} is no merge of two tokens")
    return [(left, right) for left, _, right in found]


def _byte_level(metadata: Metadata, tokens: Sequence[str], types: Sequence[int], rule: Rule) -> Tokenizer:
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    wanted = {"ignore_merges": True} if rule.whole_first else {}
    ids, merges = _ids(metadata, tokens, types), _merges(metadata)
    tokenizer = _bpe(metadata, vocab=ids, merges=merges, **wanted)
    if rule.composed:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if rule.digits_alone else []
    if rule.split:
        steps.append(pre_tokenizers.Split(Regex(rule.split), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not rule.split))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _respelled(tokens: Sequence[str], types: Sequence[int]) -> list[str]:
    """The converter writes the blanks of added tokens as blanks, all others as SentencePiece does."""
    return [
        token.replace(" ", _BLANK) if kind == _USER_DEFINED else token
        for token, kind in zip(tokens, types, strict=True)
    ]


def _sentence_piece(metadata: Metadata, tokens: Sequence[str], types: Sequence[int]) -> Tokenizer:
    from tokenizers import decoders, normalizers

    if metadata.has("tokenizer.ggml.merges"):
        merges = _merges(metadata)
    else:
        scores = metadata.reals("tokenizer.ggml.scores")
        if len(scores) != len(tokens):
            raise _contradiction(metadata, f"{len(tokens)} tokens, {len(scores)} scores")
        merges = merges_by_score(tokens, scores, types)
    unknown = types.index(_UNKNOWN) if _UNKNOWN in types else 0
    tokenizer = _bpe(
        metadata,
        vocab=_ids(metadata, tokens, types),
        merges=merges,
        unk_token=_token(metadata, tokens, "unknown", {"unknown": unknown}),
        fuse_unk=True,
        byte_fallback=True,
    )
    # A blank before the text, whatever it begins with, as SentencePiece trained it. The reference's fifth version, when
    # it builds a Llama tokenizer itself, leaves it out before a text that begins with a blank.
    first = metadata.flag("tokenizer.ggml.add_space_prefix", True)
    blanks = normalizers.Replace(" ", _BLANK)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_BLANK), blanks]) if first else blanks
    steps: list[Any] = [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if first else []))
    return tokenizer


def _as_word_pieces(tokens: Sequence[str], types: Sequence[int]) -> list[str]:
    """BERT marks pieces that go on in a word, the format those that begin one."""
    return [
        token if kind in (_CONTROL, _UNUSED) else token[1:] if token.startswith(_BLANK) else f"##{token}"
        for token, kind in zip(tokens, types, strict=True)
    ]


def _word_piece(
    metadata: Metadata, tokens: Sequence[str], types: Sequence[int], defaults: Mapping[str, int]
) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    unknown = _token(metadata, tokens, "unknown", defaults)
    tokenizer = Tokenizer(models.WordPiece(_ids(metadata, tokens, types), unk_token=unknown))
    # The file does not say whether texts are lowered; a vocabulary without a capital letter would lose every word of
    # them otherwise.
    capitals = any(token != token.lower() for token, kind in zip(tokens, types, strict=True) if kind == _NORMAL)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not capitals)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


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


def _add(tokenizer: Tokenizer, tokens: Sequence[str], types: Sequence[int]) -> None:
    from tokenizers import AddedToken

    for added, special in (((_CONTROL, _UNKNOWN), True), ((_USER_DEFINED,), False)):
        chosen = [token for token, kind in zip(tokens, types, strict=True) if kind in added]
        known = [AddedToken(token, special=special, normalized=False) for token in chosen]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(known)


def _around(tokens: Sequence[str], begin: str | None, end: str | None) -> Any:
    from tokenizers import processors

    given = [token for token in (begin, end) if token is not None]
    return processors.TemplateProcessing(
        single=[*([begin] if begin else []), "$A", *([end] if end else [])],
        special_tokens=[(token, tokens.index(token)) for token in dict.fromkeys(given)],
    )
