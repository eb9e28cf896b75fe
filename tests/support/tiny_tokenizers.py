"""Tokenizers of every family, trained on a handful of texts, as the folders that people have: built by the reference.

Where a family has a class of its own in the reference library the folder is what that class saves. The others are files
that were put together by their publishers: these are made of the same parts here, and saved by the plain class.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.hostile_texts import hostile_texts
from support.tiny_models import CORPUS

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

_BLOOM = r" ?[^(\s|[.,!?…。\uff0c、।\u06d4،])]+"
_BYTES = [f"<0x{number:02X}>" for number in range(256)]
_MORE = 300  # merges that are learnt


def write_tiny_tokenizer(folder: Path, family: str) -> Path:
    """Return ``folder``, now holding config.json (the model type alone) and the tokenizer files of ``family``."""
    model_type, build = TOKENIZERS[family]
    folder.mkdir(parents=True, exist_ok=True)
    build().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    return folder


def _texts() -> list[str]:
    """What is learnt from: awkward texts too, so that there are merges of blanks, digits and other scripts."""
    return [*CORPUS, *CORPUS, *(text for text in hostile_texts()[:150] if len(text) < 200)]


def _byte_level(first: Sequence[str], *, split: str | None = None, **parts: Any) -> Tokenizer:
    """A byte-level BPE.

    Args:
        first: The lowest tokens, in order.
        split: A regular expression in place of GPT-2's.
        parts: More of the pipeline: ``normalizer``, ``pre_tokenizer``, ``post_processor``.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split is not None:
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    made.decoder = decoders.ByteLevel()
    for name, part in parts.items():
        setattr(made, name, part)
    trainer = trainers.BpeTrainer(
        vocab_size=len(first) + 256 + _MORE,
        special_tokens=list(first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_texts(), trainer)
    return made


def _spaced(first: Sequence[str]) -> Tokenizer:
    """A BPE in the manner of SentencePiece: blanks are ▁, what has no token is spelled in bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    alphabet = sorted({character for text in CORPUS for character in text.replace(" ", "▁")} | {"\n", "é", "漢"})
    trainer = trainers.BpeTrainer(
        vocab_size=len(first) + 256 + len(alphabet) + _MORE,
        special_tokens=[*first, *_BYTES],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    made.train_from_iterator([*CORPUS, "a   b      c\n\nd   123"], trainer)
    return made


def _parts(made: Tokenizer) -> dict[str, Any]:
    """Vocabulary and merges, as the reference library's classes take them."""
    model = json.loads(made.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def _plain(made: Tokenizer, **named: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


def _three_digits() -> str:
    """How Llama 3 and cl100k (OLMo 2) split: as Qwen2 does, with up to three digits in one piece."""
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    single, several = r"|\p{N}|", r"|\p{N}{1,3}|"
    assert single in PRETOKENIZE_REGEX
    return str(PRETOKENIZE_REGEX).replace(single, several)


def _around(made: Tokenizer, single: str) -> Tokenizer:
    """The tokenizer, with a template of what stands around a text."""
    from tokenizers.processors import TemplateProcessing

    names = [name for name in single.split() if name != "$A"]
    made.post_processor = TemplateProcessing(
        single=single, special_tokens=[(name, made.token_to_id(name)) for name in names]
    )
    return made


def _gpt2() -> Any:
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer(**_parts(_byte_level(["<|endoftext|>"])))


def _opt() -> Any:
    from transformers import GPT2Tokenizer

    names = ["<s>", "<pad>", "</s>", "<unk>"]
    named = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}
    return GPT2Tokenizer(**_parts(_byte_level(names)), **named, add_bos_token=True)


def _llama2() -> Any:
    from transformers import LlamaTokenizer

    return LlamaTokenizer(**_parts(_spaced(["<unk>", "<s>", "</s>"])), add_bos_token=True)


def _prepended(added: Sequence[AddedToken] = ()) -> Tokenizer:
    """As Llama 2 was published: ▁ for blanks, and one in front, by the normaliser; no pre-tokenizer."""
    from tokenizers import AddedToken, decoders, normalizers

    made = _spaced(["<unk>", "<s>", "</s>"])
    trained = json.loads(made.to_str())
    trained["added_tokens"] = []
    bare = type(made).from_str(json.dumps(trained))
    bare.pre_tokenizer = None
    bare.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_and_blanks = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    bare.decoder = decoders.Sequence([*bytes_and_blanks, decoders.Strip(content=" ", left=1)])
    bare.add_special_tokens([AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>")])
    bare.add_tokens(list(added))
    return bare


def _llama2_published() -> Any:
    made = _around(_prepended(), "<s> $A")
    return _plain(made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _phi3() -> Any:
    from tokenizers import AddedToken

    chat = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
    added = [AddedToken(name, special=True, normalized=False, rstrip=True) for name in chat]
    made = _around(_prepended(added), "$A")
    return _plain(made, bos_token="<s>", eos_token="<|endoftext|>", unk_token="<unk>", pad_token="<|endoftext|>")


def _llama3() -> Any:
    from tokenizers import AddedToken, processors

    made = _byte_level([], split=_three_digits())
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    made.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    template = _around(made, "<|begin_of_text|> $A").post_processor
    made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return _plain(made, bos_token=names[0], eos_token=names[1])


def _smollm2() -> Any:
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    split = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"], pre_tokenizer=split)
    return _plain(made, bos_token="<|im_start|>", eos_token="<|im_end|>", unk_token="<|endoftext|>")


def _qwen2() -> Any:
    from transformers import Qwen2Tokenizer

    made = Qwen2Tokenizer(**_parts(_byte_level([])))
    made.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.add_tokens(["<tool_call>", "</tool_call>", "<think>"])
    return made


def _gemma() -> Any:
    from transformers import GemmaTokenizer

    made = GemmaTokenizer(**_parts(_spaced(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])), add_bos_token=True)
    made.add_special_tokens({"extra_special_tokens": ["<start_of_turn>", "<end_of_turn>"]})
    made.add_tokens(["<unused0>", "\n\n", "▁▁▁", "<table>"])
    return made


def _gpt_neox() -> Any:
    from tokenizers import AddedToken
    from transformers import GPTNeoXTokenizer

    made = GPTNeoXTokenizer(**_parts(_byte_level(["<|endoftext|>", "<|padding|>"])))
    # Runs of blanks are tokens that are no special ones.
    made.add_tokens([AddedToken(" " * number, normalized=True) for number in range(24, 1, -1)])
    return made


def _olmo2() -> Any:
    from tokenizers import AddedToken, processors

    made = _byte_level([], split=_three_digits(), post_processor=processors.ByteLevel(trim_offsets=False))
    made.add_tokens([AddedToken("<|extra_id_0|>", normalized=False)])
    made.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    made.add_tokens([AddedToken("|||EMAIL_ADDRESS|||", normalized=False)])
    return _plain(made, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def _bloom() -> Any:
    from tokenizers import processors

    names = ["<unk>", "<s>", "</s>", "<pad>"]
    made = _byte_level(names, split=_BLOOM, post_processor=processors.ByteLevel(trim_offsets=False))
    return _plain(made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


def _substrings(words: Iterable[str], inside: str = "") -> list[tuple[str, int]]:
    """The frequent parts of words, and how often they are there; ``inside`` stands before those not at the beginning.

    Not trained: the library's trainers of these two kinds give another vocabulary on every run.
    """
    counts = Counter(
        (inside if start else "") + word[start:stop]
        for word in words
        for start in range(len(word))
        for stop in range(start + 1, min(start + 6, len(word)) + 1)
    )
    return [(part, count) for part, count in counts.most_common() if count > 4 or len(part.removeprefix(inside)) == 1]


def _word_pieces(*, lower: bool) -> dict[str, int]:
    from tokenizers import normalizers, pre_tokenizers

    clean, split = normalizers.BertNormalizer(lowercase=lower), pre_tokenizers.BertPreTokenizer()
    words = [word for text in _texts() for word, _ in split.pre_tokenize_str(clean.normalize_str(text))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return {piece: number for number, piece in enumerate([*special, *dict(_substrings(words, "##"))])}


def _bert(*, lower: bool) -> Any:
    from transformers import BertTokenizer

    return BertTokenizer(vocab=_word_pieces(lower=lower), do_lower_case=lower)


def _distilbert() -> Any:
    from transformers import DistilBertTokenizer

    return DistilBertTokenizer(vocab=_word_pieces(lower=True))


def _roberta() -> Any:
    from transformers import RobertaTokenizer

    return RobertaTokenizer(**_parts(_byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])))


def _modernbert() -> Any:
    from tokenizers import AddedToken, normalizers

    made = _byte_level(["|||IP_ADDRESS|||", "<|padding|>"], normalizer=normalizers.NFC())
    made.add_tokens([AddedToken(" " * number, normalized=True) for number in range(24, 1, -1)])
    names = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    made.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    made.add_special_tokens([AddedToken("[MASK]", normalized=False, lstrip=True)])
    named = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return _plain(_around(made, "[CLS] $A [SEP]"), **named, mask_token="[MASK]")


def _xlm_roberta() -> Any:
    from transformers import XLMRobertaTokenizer

    found = _substrings("▁" + word for text in _texts() for word in text.split())
    total = sum(count for _, count in found)
    special = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    # Scores of few digits, which every parser of JSON reads alike.
    pieces = [*special, *((piece, round(math.log(count / total), 3)) for piece, count in found), ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=pieces)


TOKENIZERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "gpt2": ("gpt2", _gpt2),
    "opt": ("opt", _opt),
    "llama2": ("llama", _llama2),
    "llama2-published": ("llama", _llama2_published),
    "llama3": ("llama", _llama3),
    "smollm2": ("llama", _smollm2),
    "phi3": ("phi3", _phi3),
    "qwen2": ("qwen2", _qwen2),
    "qwen3": ("qwen3", _qwen2),
    "gemma": ("gemma2", _gemma),
    "gpt-neox": ("gpt_neox", _gpt_neox),
    "olmo2": ("olmo2", _olmo2),
    "bloom": ("bloom", _bloom),
    "bert-uncased": ("bert", lambda: _bert(lower=True)),
    "bert-cased": ("bert", lambda: _bert(lower=False)),
    "distilbert": ("distilbert", _distilbert),
    "roberta": ("roberta", _roberta),
    "modernbert": ("modernbert", _modernbert),
    "xlm-roberta": ("xlm-roberta", _xlm_roberta),
}
"""Model type and builder of each family."""

# What stands before and after a text, and what a text without any token is read as.
AROUND: dict[str, tuple[list[str], list[str], str]] = {
    "gpt2": ([], [], "<|endoftext|>"),
    "opt": (["</s>"], [], "</s>"),
    "llama2": (["<s>"], [], "<s>"),
    "llama2-published": (["<s>"], [], "<s>"),
    "llama3": (["<|begin_of_text|>"], [], "<|begin_of_text|>"),
    "smollm2": ([], [], "<|endoftext|>"),
    "phi3": ([], [], "<s>"),
    "qwen2": ([], [], "<|endoftext|>"),
    "qwen3": ([], [], "<|endoftext|>"),
    "gemma": (["<bos>"], [], "<bos>"),
    "gpt-neox": ([], [], "<|endoftext|>"),
    "olmo2": ([], [], "<|endoftext|>"),
    "bloom": ([], [], "<s>"),
    "bert-uncased": (["[CLS]"], ["[SEP]"], "[CLS] [SEP]"),
    "bert-cased": (["[CLS]"], ["[SEP]"], "[CLS] [SEP]"),
    "distilbert": (["[CLS]"], ["[SEP]"], "[CLS] [SEP]"),
    "roberta": (["<s>"], ["</s>"], "<s> </s>"),
    "modernbert": (["[CLS]"], ["[SEP]"], "[CLS] [SEP]"),
    "xlm-roberta": (["<s>"], ["</s>"], "<s> </s>"),
}
