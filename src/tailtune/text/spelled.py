"""Special tokens that a user spells out stay text, where a tokenizer's own vocabulary would read them as themselves.

``encode_special_tokens`` of the ``tokenizers`` library only keeps special tokens from being looked for before the text
is split. A Unigram vocabulary (XLM-RoBERTa, T5) holds them as pieces too, at the best score: it reads "</s>" as the end
token, and so does the reference library. In a byte-pair encoding no merges lead to them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def keep_spelled_text(library: Tokenizer) -> None:
    """Split off the first character of what spells a special token, for those that would be read as themselves."""
    from tokenizers import Regex, pre_tokenizers

    special = [token.content for token in library.get_added_tokens_decoder().values() if token.special]
    # A single character is always read as what it is.
    read = [name for name in special if len(name) > 1 and name in library.encode(name, add_special_tokens=False).tokens]
    if not read:
        return
    pattern = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in read)
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    before = library.pre_tokenizer
    library.pre_tokenizer = split if before is None else pre_tokenizers.Sequence([before, split])
