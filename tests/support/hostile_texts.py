"""Texts that tokenizers trip over, the same on every run: some two hundred, or as many as are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_PLAIN = [
    "",
    " ",
    "   ",
    "\n",
    "\t\t\n\r\n",
    "   123",
    "a  42 7",
    "12:30  4",
    " 1",
    "Call 09061701461 NOW!!! £900 prize, txt WIN to 80086",
    "I'm you're they'll we've it'd DON'T 's 'S '",
    "naïve café e\u0301 \u0301 Å A\u030a ﬁ ½ ²",
    "漢字かな交じり文 한국어 العربية עברית हिन्दी",
    "😀👩‍👩‍👧‍👦🏳️‍🌈\ufe0f",
    "a\u200bb\u00a0c\u2028d\u2029e\ufefff\u202eg",
    "\x00\x01\x7f\x80",
    "٣٤٥ ௧௨ Ⅷ ①",
    "<|endoftext|>",
    "win <|endoftext|> now",
    "<|im_start|>user\nhello<|im_end|>",
    "<s></s><unk><pad>",
    "<|endoftext|><|endoftext|>",
    "<|endo ftext|>",
    "Ġ Ċ ▁",
    "x" * 3000,
    " " * 3000,
    "e" + "\u0301" * 500,
    "{{ user }} {% if %} \\n \\u0000 %s",
    "https://example.com/a?b=c&d=%20#e",
    "\ufffd\U0010ffff\ue000",
]
_ALPHABET = "aetoinZQ  \n\t0123456789.,!?'\u2019\"<|>/_-£€éß漢字😀\u0301\u200d\u00a0\u200bعא\x00"
_BLANKS = (" ", "  ", "    ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u0085", "\u2028")
_DIGITS = "0123456789\u0660\u0661\u0662\u0663\u0966\u0967\u0968Ⅷ①½²"
_WORDS = (
    "WIN",
    "free",
    "Call",
    "naïve",
    "İstanbul",
    "straße",
    "don't",
    "WE'LL",
    "ﬁne",
    "ΑΣΣ",
    "Ångström",
    "e\u0301te\u0301",
)
_RIGHT_TO_LEFT = "אבגדהשלום\u05b0\u05b8ءآمرحب\u0627\u064b\u0651\u200f\u202e\u2067"
_MARKS = "\u0300\u0301\u0308\u0327\u20dd\u0e31\u0e49\u093f\u094d\u3099\ufe0f"
_EMOJI = ("😀", "👩\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "👍🏽", "🇩🇪", "1\ufe0f\u20e3", "☺\ufe0f", "🫠")
_CONTROL = "\x00\x01\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\x9f\u00ad\u061c\u2060\ufeff\ufff9\ufffd\ufffe"
_ASIAN = "漢字㐀𠮷かなカナｶﾅ한글ᄒ\u1161ᆫ、。　"
_PIECES = ("▁", "▁▁", "Ġ", "ĊĊ", "##ing", "<0x0A>", "<0xFF>", "</w>", "@@", "[UNK]", "\\x00", "&#0;")
_COMMON_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|begin_of_text|>",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<bos>",
    "<mask>",
    "[CLS]",
    "[SEP]",
    "[MASK]",
)


def hostile_texts(count: int = 210, *, spelled: Sequence[str] = ()) -> list[str]:
    """Return the texts: thirty by hand, 180 drawn from an awkward alphabet, the rest from many awkward alphabets.

    Args:
        count: How many, at least 210.
        spelled: Special tokens of a tokenizer, spelled out in the midst of some texts; only beyond the first 210.
    """
    draw = random.Random(11)
    texts = [*_PLAIN, *("".join(draw.choices(_ALPHABET, k=draw.randint(1, 60))) for _ in range(180))]
    texts += [*spelled, *(f"win {token} now" for token in spelled), *(f"{token} {token}\n" for token in spelled)]
    pieces = _pieces(draw, [*_COMMON_SPECIAL, *spelled])
    while len(texts) < count:
        parts = draw.choices(pieces, k=draw.randint(1, 12))
        texts.append("".join(part() for part in parts))
    return texts[:count]


def _pieces(draw: random.Random, special: list[str]) -> list[Callable[[], str]]:
    """Ways to make a short piece of text."""

    def some(alphabet: str, most: int) -> str:
        return "".join(draw.choices(alphabet, k=draw.randint(1, most)))

    def any_character() -> str:
        code = draw.randrange(0x110000 - 0x800)
        return chr(code if code < 0xD800 else code + 0x800)  # all but the surrogates

    return [
        lambda: draw.choice(_BLANKS),
        lambda: draw.choice(_BLANKS) * draw.randint(1, 20) + some(_DIGITS, 6),
        lambda: some("0123456789", 12),
        lambda: some(_DIGITS, 4) + draw.choice([".", ",", ":", " ", "-", "'"]) + some(_DIGITS, 4),
        lambda: draw.choice(_WORDS),
        lambda: " " + draw.choice(_WORDS),
        lambda: some("abcdefghijklmnopqrstuvwxyz", 8) + some(_MARKS, 3),
        lambda: some(_RIGHT_TO_LEFT, 8),
        lambda: draw.choice(_EMOJI) * draw.randint(1, 3),
        lambda: some(_CONTROL, 3),
        lambda: some(_ASIAN, 6),
        lambda: some("!?.,;:'\"()[]{}<>|/\\@#$%^&*_-+=~`…—“”\u2019", 5),
        lambda: draw.choice(_PIECES),
        lambda: draw.choice(special),
        lambda: draw.choice(special)[: draw.randint(1, 6)],
        lambda: draw.choice(special).upper(),
        any_character,
        lambda: draw.choice("axZ0 é漢😀\u0301") * draw.randint(30, 120) if draw.random() < 0.1 else draw.choice(_WORDS),
    ]
