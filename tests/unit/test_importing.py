"""An imported classifier answers as the modules it was trained with do, with pads and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from support.book import CONTEXT, END_OF_TEXT_ID, HEADS, TOKENIZER, WIDTH, book_model, classify, save_book
from tailtune.bundle import read_bundle
from tailtune.errors import ConfigError, ModelError
from tailtune.features.backbone import Backbone
from tailtune.importing import Reading, folded, import_classifier
from tailtune.methods.scorers import in_order
from tailtune.predict import Predictor

_LABELS = ("not spam", "spam")
_PAD_TO = 40
_TEXTS = (
    "You are a winner you have been specially selected to receive $1000 cash or a $2000 award.",
    "Hey, just wanted to check if we're still on for dinner tonight? Let me know!",
    "",
    "ok",
    " ",
    "win <|endoftext|> now",
    "a long text that has more tokens than are read with pads, and is cut " * 4,
)


def _import(source: Path, out: Path, *, labels: tuple[str, ...] = _LABELS, **reading: Any) -> Path:
    return import_classifier(
        source, labels, reading=Reading(**{"tokenizer": TOKENIZER, "heads": HEADS, **reading}), out=str(out)
    )


def _scores(bundle: Path, texts: tuple[str, ...]) -> NDArray[np.float32]:
    """[N, C] class scores before the softmax."""
    loaded = read_bundle(bundle)
    backbone = Backbone(loaded.decoder, device=torch.device("cpu"))
    tokens = loaded.tokenizer.encode(texts)
    pieces = backbone.run(tokens, loaded.scorer.wanted)
    return in_order([(piece.batch.texts, loaded.scorer.logits(piece)) for piece in pieces])


@pytest.mark.parametrize(("suffix", "qkv_bias"), [(".pth", True), (".safetensors", True), (".safetensors", False)])
@pytest.mark.parametrize("pad_to", [None, _PAD_TO])
def test_scores_equal_those_of_the_modules(tmp_path: Path, suffix: str, qkv_bias: bool, pad_to: int | None) -> None:
    """Class scores to 1e-5 and the same labels, a text at a time there and all together here."""
    model = book_model(classes=2, qkv_bias=qkv_bias)
    source = save_book(model, tmp_path / f"review_classifier{suffix}")
    bundle = _import(source, tmp_path / "bundle", pad_to=pad_to)
    expected = classify(model, _TEXTS, pad_to=pad_to)
    np.testing.assert_allclose(_scores(bundle, _TEXTS), expected.numpy(), rtol=1e-5, atol=1e-5)
    predictor = Predictor.load(bundle, device="cpu")
    found = predictor.predict(_TEXTS)
    assert [each.label for each in found] == [_LABELS[number] for number in expected.argmax(1).tolist()]
    np.testing.assert_allclose(predictor.predict_proba(_TEXTS), expected.softmax(1).numpy(), atol=1e-5)
    assert {each.padded_to for each in found} == {pad_to}


def test_pads_change_the_answer(tmp_path: Path) -> None:
    """The two ways of reading are two classifiers, and the bundle says which it is."""
    source = save_book(book_model(classes=2), tmp_path / "model.safetensors")
    plain, padded = _import(source, tmp_path / "a"), _import(source, tmp_path / "b", pad_to=_PAD_TO)
    assert np.abs(_scores(plain, _TEXTS) - _scores(padded, _TEXTS)).max() > 1e-2
    tokenizers = [read_bundle(each).tokenizer for each in (plain, padded)]
    assert [(each.pad, each.max_tokens) for each in tokenizers] == [(None, CONTEXT), (END_OF_TEXT_ID, _PAD_TO)]
    about = read_bundle(padded).about
    assert about["model"]["name"] == "model"
    assert "padded with token 299 to 40 tokens" in about["imported"]["reads"]
    assert "padded with token 299" in (padded / "README.md").read_text(encoding="utf-8")


def test_a_head_without_bias_and_more_classes(tmp_path: Path) -> None:
    """Nothing to fold in; as many classes as there are rows."""
    model = book_model(classes=5)
    model.out_head = nn.Linear(WIDTH, 5, bias=False)
    model.requires_grad_(False)
    source = save_book(model, tmp_path / "model.safetensors")
    bundle = _import(source, tmp_path / "bundle", labels=("a", "b", "c", "d", "e"), max_tokens=9)
    assert read_bundle(bundle).tokenizer.max_tokens == 9
    expected = classify(model, _TEXTS[1:5], pad_to=None)
    np.testing.assert_allclose(_scores(bundle, _TEXTS[2:5]), expected[1:].numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 2, 20, WIDTH])
def test_the_bias_folds_exactly(classes: int) -> None:
    """Up to as many classes as the states are wide: the head makes its bias of what is added before it."""
    random = np.random.default_rng(classes)
    weight = random.standard_normal((classes, WIDTH)).astype(np.float32)
    bias = random.standard_normal(classes).astype(np.float32)
    np.testing.assert_allclose(weight.astype(np.float64) @ folded(weight, bias), bias, atol=1e-9)


def test_a_bias_that_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    """Two rows that are the same with two biases that are not."""
    model = book_model(classes=2)
    model.out_head.weight[1] = model.out_head.weight[0]
    with pytest.raises(ModelError, match=r"class scores would be off by .*two rows"):
        _import(save_book(model, tmp_path / "model.safetensors"), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_largest_book_folds_below_rounding(tmp_path: Path) -> None:
    """What the fold costs is said: the scores of a fresh head as wide as GPT-2's move by less than 1e-6."""
    torch.manual_seed(123)
    head = nn.Linear(768, 2)
    weight, bias = (each.detach().numpy() for each in (head.weight, head.bias))
    after = folded(weight, bias).astype(np.float32)
    assert np.abs(weight.astype(np.float64) @ after - bias).max() < 1e-6


@pytest.mark.parametrize(
    ("labels", "reading", "error", "said"),
    [
        (("spam",), {}, ConfigError, "--labels names 1 classes, out_head of .* has 2"),
        (("a", "b", "c"), {}, ConfigError, "class 0 first"),
        (("a", "a"), {}, ConfigError, "distinct"),
        (_LABELS, {"pad_to": CONTEXT + 1}, ConfigError, "--pad-to 65: the model reads 1 to 64 tokens"),
        (_LABELS, {"max_tokens": 0}, ConfigError, "--max-tokens 0: the model reads"),
        (_LABELS, {"pad_to": 9, "max_tokens": 9}, ConfigError, "stands instead of --max-tokens"),
        (_LABELS, {"heads": None}, ConfigError, "--heads"),
        (_LABELS, {"tokenizer": Path("absent")}, ModelError, "no tokenizer there"),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, labels: tuple[str, ...], reading: dict[str, Any], error: type[Exception], said: str
) -> None:
    """One line, and no folder is left."""
    source = save_book(book_model(classes=2), tmp_path / "model.safetensors")
    with pytest.raises(error, match=said) as caught:
        _import(source, tmp_path / "bundle", labels=labels, **reading)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_language_model_is_told_from_a_classifier(tmp_path: Path) -> None:
    """Before its head was replaced it has a row per token; the hint says what it is good for."""
    source = save_book(book_model(), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"300 rows, one per token.*tailtune train DATA --model") as caught:
        _import(source, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
