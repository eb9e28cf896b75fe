"""Pads, for classifiers that were trained to read them: a fixed length whatever the text, never counted as text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import padded_bundle, tail_bundle
from support.texts import messages
from support.tiny_models import write_tiny_llama
from tailtune.bundle import MANIFEST, read_bundle
from tailtune.errors import BundleError
from tailtune.predict import Predictor
from tailtune.storage import canonical_json, sha256_bytes
from tailtune.text.tokenizer import Tokenizer


def test_every_text_has_the_same_number_of_tokens(tiny_llama: Path) -> None:
    """The text's own tokens first, cut to the length, then the pad; what is told of the text leaves pads out."""
    plain = Tokenizer.load(tiny_llama / "tokenizer.json", max_tokens=12)
    padded = Tokenizer.load(tiny_llama / "tokenizer.json", max_tokens=12, pad=7)
    asked = ["", "ok", "a somewhat longer text that is cut at twelve tokens", "<|endoftext|>"]
    (tokens, windows), (own, told) = padded.read(asked), plain.read(asked)
    np.testing.assert_array_equal(tokens.lengths, [12] * 4)
    np.testing.assert_array_equal(windows.lengths, told.lengths)
    np.testing.assert_array_equal(windows.full_lengths, told.full_lengths)
    np.testing.assert_array_equal(tokens.truncated, own.truncated)
    for number, row in enumerate(tokens.ids.reshape(4, 12).tolist()):
        text = own.ids[own.offsets[number] : own.offsets[number + 1]].tolist()
        assert row == text + [7] * (12 - len(text))


def test_answers_do_not_hang_on_the_batch(tiny_llama: Path) -> None:
    """A text scores the same alone and among others; and pads do change the answer."""
    padded = Predictor(padded_bundle(tiny_llama), device="cpu")
    asked = [*messages(20)[0], "ok", ""]
    together = padded.predict_proba(asked)
    alone = np.concatenate([padded.predict_proba([text]) for text in asked])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together - Predictor(tail_bundle(tiny_llama), device="cpu").predict_proba(asked)).max() > 1e-3


def test_predictions_tell(tiny_llama: Path) -> None:
    """In JSON too, and only where it is so."""
    found = Predictor(padded_bundle(tiny_llama), device="cpu").predict(["ok"])[0]
    assert (found.padded_to, found.tokens) == (24, found.tokens_total)
    assert found.as_json()["padded_to"] == 24
    assert "padded_to" not in Predictor(tail_bundle(tiny_llama), device="cpu").predict(["ok"])[0].as_json()


def test_the_rule_is_saved(tmp_path: Path) -> None:
    """In a bundle of a format that earlier versions refuse; without pads the format stays what it was."""
    model = write_tiny_llama(tmp_path / "model", blocks=3)
    Predictor(padded_bundle(model), device="cpu").save(tmp_path / "padded")
    Predictor(tail_bundle(model), device="cpu").save(tmp_path / "plain")
    loaded = read_bundle(tmp_path / "padded")
    assert (loaded.tokenizer.pad, loaded.tokenizer.max_tokens) == (0, 24)
    assert '"format_version": 5' in (tmp_path / "padded" / MANIFEST).read_text(encoding="utf-8")
    assert '"format_version": 2' in (tmp_path / "plain" / MANIFEST).read_text(encoding="utf-8")


@pytest.mark.parametrize("pad", [-1, 400, "0", True])
def test_a_pad_that_is_no_token_is_refused(tmp_path: Path, pad: object) -> None:
    """A number beyond the embedding would crash later."""
    model = write_tiny_llama(tmp_path / "model", blocks=3)
    Predictor(padded_bundle(model), device="cpu").save(tmp_path / "padded")
    file = tmp_path / "padded" / MANIFEST
    manifest = {**json.loads(file.read_text(encoding="utf-8")), "pad": pad}
    del manifest["digest"]
    manifest["digest"] = sha256_bytes(canonical_json(manifest).encode())
    file.write_text(canonical_json(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match="pads with token"):
        read_bundle(tmp_path / "padded")
