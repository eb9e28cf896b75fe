"""Some two hundred texts that tokenizers trip over, the same on every run."""

from __future__ import annotations

import random

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


def hostile_texts() -> list[str]:
    """Return the texts: thirty by hand, the others drawn from an awkward alphabet."""
    draw = random.Random(11)
    return [*_PLAIN, *("".join(draw.choices(_ALPHABET, k=draw.randint(1, 60))) for _ in range(180))]
