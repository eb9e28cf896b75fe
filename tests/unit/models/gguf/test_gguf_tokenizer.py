"""Tokenizers rebuilt from a GGUF file's fields give the ids of those that the file was written from.

The references are trained here, set up as the families' own tokenizer.json files are; SentencePiece is its own oracle.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.hostile_texts import hostile_texts
from support.tiny_gguf import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, add_byte_level, add_word_piece
from support.tiny_models import CORPUS, END_OF_TEXT
from tailtune.errors import ModelError
from tailtune.models.gguf.metadata import open_gguf
from tailtune.models.gguf.tokenizer import RULES, rebuild

_BEGIN = "<|begin_of_text|>"
_THINK = "<think>"
_SIZE = 700

# As they stand in the tokenizer.json files of Llama 3, Qwen 2, Mistral Nemo, GPT-4o and BLOOM.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # noqa: RUF001


@functools.cache
def _corpus() -> tuple[str, ...]:
    """What the tokenizers learn from: merges of digits, blanks, line ends, capitals and several scripts among them."""
    joined = ["12", " 23", "  42", "2024", "1999", "\n\n", "\n\n\n", "    ", " \n", "DON'T", "we'll", "naïve café"] * 40
    scripts = [
        "漢字かな交じり文 한국어 العربية עברית हिन्दी",
        "e\u0301 é Å A\u030a",
        "😀👩‍👩‍👧",
        "WINNERS Hello iPhone",
    ] * 20
    return (*CORPUS, *joined, *scripts)


def _split(pattern: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _gpt2_rule() -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _digits_rule() -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2_rule()])


def _trained(
    cut: Any, *, composed: bool = False, whole_first: bool = False, begin: bool = False, added: Sequence[str] = ()
) -> Any:
    """A byte-level BPE with two special tokens, ids 0 and 1, and added tokens after a hole of three ids."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=whole_first))
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    if composed:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE,
        special_tokens=[END_OF_TEXT, _BEGIN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=True, special=False) for token in added])
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{_BEGIN} $A", special_tokens=[(_BEGIN, 1)])
    return tokenizer


# Name of the rule in the file -> the reference.
_BYTE_LEVEL: dict[str, Callable[[], Any]] = {
    "gpt-2": lambda: _trained(_gpt2_rule()),
    "mpt": lambda: _trained(_gpt2_rule(), composed=True, added=["  ", "   ", "    ", "     "]),
    "olmo": lambda: _trained(_gpt2_rule(), composed=True),
    "smollm": lambda: _trained(_digits_rule()),
    "llama-bpe": lambda: _trained(_split(_LLAMA3), whole_first=True, begin=True),
    "smaug-bpe": lambda: _trained(_split(_LLAMA3), whole_first=True, added=[_THINK]),
    "dbrx": lambda: _trained(_split(_LLAMA3)),
    "qwen2": lambda: _trained(_split(_QWEN2), composed=True, added=[_THINK, "</think>"]),
    "deepseek-r1-qwen": lambda: _trained(_split(_QWEN2)),
    "tekken": lambda: _trained(_split(_TEKKEN), whole_first=True, begin=True),
    "gpt-4o": lambda: _trained(_split(_GPT4O)),
    "bloom": lambda: _trained(_split(_BLOOM)),
}
_TEXTS = [*hostile_texts(), f"so {_THINK}hm</think> {_BEGIN}", "x" * 5 + " " * 40 + "y", "\n" * 40 + "a\r\n\r\nb"]


def _rebuilt(path: Path, write: Callable[[Any], None], *, architecture: str = "llama", size: int = 10**6) -> Any:
    """The tokenizer of a file that holds nothing else."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    write(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return rebuild(open_gguf(path)[0], architecture, size)[0]


def _require_equal(rebuilt: Any, reference: Any, texts: Sequence[str] = _TEXTS) -> None:
    """Ids and what they decode to, where spelled-out special tokens are text and where they are not."""
    for as_text in (False, True):
        rebuilt.encode_special_tokens = reference.encode_special_tokens = as_text
        for text in texts:
            ids = reference.encode(text).ids
            assert rebuilt.encode(text).ids == ids, text
            assert rebuilt.decode(ids) == reference.decode(ids), text


@pytest.mark.parametrize("pre", _BYTE_LEVEL)
def test_byte_level_ids_are_those_of_the_reference(tmp_path: Path, pre: str) -> None:
    """On every hostile text; the padding of the embedding in the token list becomes no token."""
    reference = _BYTE_LEVEL[pre]()
    begin = 1 if RULES[pre].begin else None
    rebuilt = _rebuilt(
        tmp_path / "t.gguf", lambda writer: add_byte_level(writer, reference, pre, size=900, begin=begin)
    )
    _require_equal(rebuilt, reference)
    assert rebuilt.get_vocab_size() == reference.get_vocab_size()


def test_every_rule_has_a_reference() -> None:
    """But for names that mean the same as another one."""
    twins = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "phi-2": "gpt-2"}
    assert set(RULES) == set(_BYTE_LEVEL) | set(twins)
    assert all(RULES[name] == RULES[twin] for name, twin in twins.items())


def test_the_rules_differ_on_the_hostile_texts(tmp_path: Path) -> None:
    """With one rule in another's place some text gets other ids, so that the comparisons above can fail."""
    differ = [
        ("gpt-2", "smollm"),
        ("gpt-2", "mpt"),
        ("dbrx", "deepseek-r1-qwen"),
        ("dbrx", "gpt-4o"),
        ("gpt-2", "bloom"),
    ]
    differ += [("gpt-4o", "tekken"), ("gpt-2", "dbrx"), ("deepseek-r1-qwen", "qwen2")]
    for right, wrong in differ:
        reference = _BYTE_LEVEL[right]()
        write = functools.partial(add_byte_level, tokenizer=reference, pre=wrong, begin=1)
        other = _rebuilt(tmp_path / f"{right}-{wrong}", write)
        assert any(other.encode(text).ids != reference.encode(text).ids for text in _TEXTS), (right, wrong)


@pytest.mark.parametrize(
    ("architecture", "name"), [("gpt2", "GPT2Tokenizer"), ("gptneox", "GPTNeoXTokenizer"), ("qwen2", "Qwen2Tokenizer")]
)
@pytest.mark.parametrize("pre", [None, "default"])
def test_files_that_name_no_rule_get_that_of_their_architecture(
    tmp_path: Path, architecture: str, name: str, pre: str | None
) -> None:
    """Ids of the reference library's own class, built from the same tokens and merges."""
    import transformers

    trained = _BYTE_LEVEL["gpt-2" if architecture != "qwen2" else "qwen2"]()
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    own = getattr(transformers, name)(vocab=model["vocab"], merges=merges)
    rebuilt = _rebuilt(
        tmp_path / "t.gguf",
        lambda writer: add_byte_level(writer, own.backend_tokenizer, pre),
        architecture=architecture,
    )
    _require_equal(rebuilt, own.backend_tokenizer, hostile_texts())


@pytest.mark.parametrize(
    ("flags", "before", "after"),
    [({}, [1], []), ({"bos": False}, [], []), ({"eos": True}, [1], [0]), ({"bos": False, "eos": True}, [], [0])],
)
def test_begin_and_end_tokens_are_the_file_s_word_before_the_rule_s(
    tmp_path: Path, flags: dict[str, bool], before: list[int], after: list[int]
) -> None:
    """Llama 3's rule asks for a begin token; the file may say no, and may ask for an end token."""
    reference = _BYTE_LEVEL["llama-bpe"]()

    def write(writer: Any) -> None:
        add_byte_level(writer, reference, "llama-bpe", begin=1)
        for name, value in flags.items():
            writer.add_bool(f"tokenizer.ggml.add_{name}_token", value)

    rebuilt = _rebuilt(tmp_path / "t.gguf", write)
    plain = reference.encode("hello there", add_special_tokens=False).ids
    assert rebuilt.encode("hello there").ids == [*before, *plain, *after]


def test_a_begin_token_that_is_asked_for_must_be_named(tmp_path: Path) -> None:
    """llama.cpp would take token 11, which is one of its own model's."""
    reference = _BYTE_LEVEL["llama-bpe"]()
    with pytest.raises(ModelError, match=r"has no metadata 'tokenizer\.ggml\.bos_token_id'"):
        _rebuilt(tmp_path / "t.gguf", lambda writer: add_byte_level(writer, reference, "llama-bpe"))


def test_a_token_that_is_there_twice_is_told(tmp_path: Path) -> None:
    """One of the two ids would never come out."""

    def write(writer: Any) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(["a", "b", "a"])
        writer.add_token_types([NORMAL] * 3)
        writer.add_token_merges(["a b"])

    with pytest.raises(ModelError, match="token 'a' is there twice"):
        _rebuilt(tmp_path / "t.gguf", write)


def test_more_tokens_than_embeddings_are_told(tmp_path: Path) -> None:
    """A text could ask for a row that is not there."""
    reference = _BYTE_LEVEL["gpt-2"]()
    with pytest.raises(ModelError, match="700 tokens, 700 types, 600 embeddings"):
        _rebuilt(tmp_path / "t.gguf", lambda writer: add_byte_level(writer, reference, "gpt-2"), size=600)


@functools.cache
def _sentence_piece(*, first_blank: bool, symbols: tuple[str, ...] = ()) -> Any:
    """A SentencePiece BPE with byte fallback, set up as Llama's or, with symbols and no first blank, as Gemma's."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_corpus()),
        model_writer=model,
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        character_coverage=0.995,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=first_blank,
        user_defined_symbols=list(symbols),
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def _add_sentence_piece(writer: Any, pieces: Any, *, padded: int = 0) -> None:
    """Write a SentencePiece model as the converter does: the blanks of added tokens as blanks, their scores lost."""
    count = pieces.get_piece_size()
    tokens, scores, types = [], [], []
    for number in range(count):
        piece = pieces.id_to_piece(number)
        kind = (
            UNKNOWN
            if pieces.is_unknown(number)
            else CONTROL
            if pieces.is_control(number)
            else BYTE
            if pieces.is_byte(number)
            else NORMAL
        )
        added = kind == NORMAL and piece in _SYMBOLS
        tokens.append(piece.replace("▁", " ") if added else piece)
        scores.append(-1000.0 if added or kind == CONTROL else pieces.get_score(number))
        types.append(USER_DEFINED if added else kind)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens + [f"[PAD{count + number}]" for number in range(padded)])
    writer.add_token_scores(scores + [-10000.0] * padded)
    writer.add_token_types(types + [UNUSED] * padded)
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())


_SYMBOLS = ("\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "<table>", "</table>")


def test_sentence_piece_ids_are_those_of_sentence_piece(tmp_path: Path) -> None:
    """Llama 2, TinyLlama, Mistral, Phi-3: a blank before the text, bytes for what is not known, merges by score."""
    pieces = _sentence_piece(first_blank=True)
    rebuilt = _rebuilt(tmp_path / "t.gguf", lambda writer: _add_sentence_piece(writer, pieces, padded=7))
    rebuilt.encode_special_tokens = True
    for text in _TEXTS:
        ids = pieces.encode(text, add_bos=True)
        assert rebuilt.encode(text).ids == ids, text
        assert rebuilt.decode(ids) == pieces.decode(ids), text
    assert rebuilt.get_vocab_size() == pieces.get_piece_size()


def test_sentence_piece_ids_are_those_of_the_reference_s_llama_class(tmp_path: Path) -> None:
    """But for texts that begin with a blank, before which that class, unlike SentencePiece, puts no other one."""
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    pieces = _sentence_piece(first_blank=True)
    numbers = range(pieces.get_piece_size())
    vocabulary = {pieces.id_to_piece(number): number for number in numbers}
    merges = generate_merges(vocabulary, {pieces.id_to_piece(number): pieces.get_score(number) for number in numbers})
    own = LlamaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True).backend_tokenizer
    rebuilt = _rebuilt(tmp_path / "t.gguf", lambda writer: _add_sentence_piece(writer, pieces))
    rebuilt.encode_special_tokens = own.encode_special_tokens = True
    texts = [text for text in _TEXTS if not text.startswith((" ", "▁"))]
    assert len(texts) > 150
    assert all(rebuilt.encode(text).ids == own.encode(text).ids for text in texts)
    assert rebuilt.encode(" win").ids != own.encode(" win").ids


def test_gemma_s_ids_are_those_of_the_reference(tmp_path: Path) -> None:
    """No first blank; added tokens of blanks and line ends, spelled with blanks in the file, are still built by merges.

    References are the library's own class, with the merges that its conversion makes, and SentencePiece.
    """
    from tokenizers import AddedToken
    from transformers import GemmaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    pieces = _sentence_piece(first_blank=False, symbols=_SYMBOLS)
    vocabulary = {pieces.id_to_piece(number): number for number in range(pieces.get_piece_size())}
    merges = generate_merges(vocabulary, {token: -number for token, number in vocabulary.items()})
    own = GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token=None,
        mask_token=None,
        add_bos_token=True,
    )
    reference = own.backend_tokenizer
    reference.add_tokens([AddedToken(symbol, normalized=False) for symbol in _SYMBOLS])

    def write(writer: Any) -> None:
        _add_sentence_piece(writer, pieces)
        writer.add_add_space_prefix(False)

    rebuilt = _rebuilt(tmp_path / "t.gguf", write, architecture="gemma2")
    _require_equal(rebuilt, reference)
    rebuilt.encode_special_tokens = True
    assert all(rebuilt.encode(text).ids == pieces.encode(text, add_bos=True) for text in _TEXTS)


@pytest.mark.parametrize("lowered", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_word_pieces_are_those_of_bert(tmp_path: Path, lowered: bool, named: bool) -> None:
    """[CLS] before, [SEP] after, whether the file numbers them or spells them alone; capitals as the vocabulary has.

    The reference is trained with the library's own pipeline of BERT.
    """
    from tokenizers import BertWordPieceTokenizer

    trained = BertWordPieceTokenizer(lowercase=lowered)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(_corpus(), vocab_size=500, special_tokens=special, show_progress=False)
    vocabulary = trained.get_vocab()
    reference = BertWordPieceTokenizer(vocabulary, lowercase=lowered)._tokenizer
    rebuilt = _rebuilt(tmp_path / "t.gguf", lambda writer: add_word_piece(writer, reference, named=named))
    assert reference.encode("Hey, win").ids[0] == vocabulary["[CLS]"]
    _require_equal(rebuilt, reference, [*_TEXTS, "[CLS] win [SEP] now", "Hey [MASK]"])


def test_merges_that_the_file_lists_are_taken_from_it(tmp_path: Path) -> None:
    """Scores are not needed then; a file without either is refused."""

    def write(writer: Any, *, merges: bool) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a"])
        writer.add_token_types([UNKNOWN, CONTROL, CONTROL, *[NORMAL] * 5])
        if merges:
            writer.add_token_merges(["a b"])

    rebuilt = _rebuilt(tmp_path / "t.gguf", lambda writer: write(writer, merges=True))
    assert rebuilt.encode("ab").tokens == ["<s>", "▁", "ab"]
    with pytest.raises(ModelError, match=r"has no metadata 'tokenizer\.ggml\.scores'"):
        _rebuilt(tmp_path / "u.gguf", lambda writer: write(writer, merges=False))
