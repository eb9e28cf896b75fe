"""What a row reads of each text: how many tokens, with pads or without. Knows nothing about labels and runs no model.

Two of the book's rows read less than they compute. Under a causal mask nothing behind a token reaches it: the first
position is the same for a text and for its first token alone, the last token of a text the same with pads behind it and
without. So neither the rest of the text nor the pads are computed here, which changes no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.errors import ModelError
from tailtune.experiments.settings import Setting
from tailtune.experiments.splits import Texts
from tailtune.storage import read_json
from tailtune.text.tokenizer import Tokenizer, Tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """The tokens of all texts of a split, as a row reads them.

    Attributes:
        tokens: Of every text, its pads among them where they are read.
        limit: Most tokens of a text.
        pad: What fills texts up; None where nothing does.
        real: Tokens that are no pads, of all texts together.
    """

    tokens: Tokens
    limit: int
    pad: int | None
    real: int

    @property
    def total(self) -> int:
        """Tokens of all texts together, pads among them."""
        return int(self.tokens.offsets[-1])

    def as_json(self) -> dict[str, Any]:
        """Return counts, ready for JSON."""
        return {"limit": self.limit, "pad": self.pad, "read": self.total, "real": self.real}


def read_texts(texts: Texts, folder: Path, setting: Setting, *, context: int, causal: bool) -> Read:
    """Return the tokens of every text of ``texts``.

    Args:
        texts: Under one split.
        folder: Of the model; its tokenizer is read.
        setting: Of the row.
        context: Most tokens that the model reads.
        causal: Whether a token sees only those before it.

    Raises:
        ModelError: If texts are to be filled up and the model names no token for that.
    """
    whole = Tokenizer.of_model(folder, max_tokens=context)
    plain = whole.encode(texts.dataset.texts)
    limit = _limit(setting, plain, texts, context)
    pad = pad_token(folder) if setting.pads else None
    filling = Tokenizer(whole.json_bytes, max_tokens=limit, pad=pad, where=str(folder))
    tokens = filling.encode(texts.dataset.texts)
    real = int(np.minimum(plain.lengths, limit).sum())
    if setting.position == "first" and causal:
        tokens, pad = first_tokens(tokens), None
        real = len(tokens)
    return Read(tokens=tokens, limit=limit, pad=pad, real=real)


def _limit(setting: Setting, plain: Tokens, texts: Texts, context: int) -> int:
    if setting.limit == "longest":
        return int(plain.lengths[texts.split.train].max())
    return context if setting.limit is None else min(setting.limit, context)


def first_tokens(tokens: Tokens) -> Tokens:
    """Return the first token of each text alone."""
    texts = len(tokens)
    return Tokens(
        ids=tokens.ids[tokens.offsets[:-1]],
        offsets=np.arange(texts + 1, dtype=np.int64),
        full_lengths=np.ones(texts, dtype=np.int64),
    )


def pad_token(folder: Path) -> int:
    """Return the token that the model in ``folder`` fills texts up with: its end-of-text token where it names none.

    Raises:
        ModelError: If its config.json names neither.
    """
    raw = read_json(folder / "config.json")
    for name in ("pad_token_id", "eos_token_id"):
        value = raw.get(name)
        token = value[0] if isinstance(value, list) and value else value
        if isinstance(token, int):
            return token
    raise ModelError(
        f"{folder / 'config.json'}: names neither pad_token_id nor eos_token_id, so nothing can fill texts"
    )
