"""A classifier made without texts: it says what the language model says, and nothing it was not asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tailtune.errors import ConfigError
from tailtune.methods.scorers import probabilities
from tailtune.models.lm_head import read_head
from tailtune.models.parts import load_part
from tailtune.predict import Predictor
from tailtune.text.packing import pack
from tailtune.text.tokenizer import Tokenizer
from tailtune.zero_shot import zero_shot

WORDS = {"spam": ("prize",), "ham": ("home",)}
TEXT = "claim it now"


def test_it_is_the_softmax_of_the_next_words(tiny_gpt2: Path) -> None:
    """Computed here by hand: the whole prompt as one string, all blocks, norm, the rows of both words."""
    made = zero_shot(WORDS, template="Message: {text} It is", model=str(tiny_gpt2), device="cpu")
    assert made.labels == ("ham", "spam")
    decoder = load_part(tiny_gpt2)
    plain = Tokenizer.load(tiny_gpt2 / "tokenizer.json", max_tokens=64)
    tokens = plain.encode([f"Message: {TEXT} It is"])
    words = [int(plain.encode([word]).ids[0]) for word in (" home", " prize")]
    layout = decoder.layout(pack(np.array([0]), tokens.lengths), torch.device("cpu"))
    with torch.no_grad():
        *_, (_, states) = decoder.climb(decoder.embed(torch.from_numpy(tokens.ids), layout), layout)
        assert decoder.final_norm is not None
        logits = decoder.final_norm(states[-1:]) @ read_head(tiny_gpt2, words).weight.t()
    np.testing.assert_allclose(made.predict_proba([TEXT]), probabilities(logits.numpy()), atol=1e-5)


def test_what_the_model_says_of_nothing_is_taken_off(tiny_gpt2: Path) -> None:
    """Then texts that say nothing are near even."""
    settings = {"template": "Message: {text} It is", "model": str(tiny_gpt2), "device": "cpu"}
    plain, calibrated = (zero_shot(WORDS, calibrate=off, **settings) for off in (False, True))  # type: ignore[arg-type]
    neutral = ["", "N/A", "[MASK]"]
    before, after = plain.predict_proba(neutral), calibrated.predict_proba(neutral)
    assert np.abs(after - 0.5).mean() < np.abs(before - 0.5).mean()
    odds = np.log(before.mean(axis=0))
    expected = plain.predict_proba([TEXT]) / np.exp(odds)
    np.testing.assert_allclose(calibrated.predict_proba([TEXT]), expected / expected.sum(), atol=1e-5)


def test_it_saves_and_loads(tiny_llama: Path, tmp_path: Path) -> None:
    """As any classifier, in int8 as well; a service of single texts answers as a batch does."""
    for precision in ("fp32", "int8"):
        made = zero_shot(WORDS, model=str(tiny_llama), precision=precision, device="cpu")
        made.save(tmp_path / precision)
        loaded = Predictor.load(tmp_path / precision, device="cpu")
        texts = [TEXT, "hello", ""]
        alone = np.concatenate([loaded.predict_proba([text]) for text in texts])
        np.testing.assert_allclose(alone, made.predict_proba(texts), atol=1e-5)
        assert loaded.bundle.about["model"]["name"]


def test_encoders_are_refused(tiny_bert: Path) -> None:
    """They say no next word."""
    with pytest.raises(ConfigError, match="is an encoder: it has no LM head"):
        zero_shot(WORDS, model=str(tiny_bert))
