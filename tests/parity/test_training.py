"""Training through adapters, and of everything, follows the reference libraries step by step.

The reference is transformers' sequence classifier, with peft's adapters on it: one unpadded text at a time, the same
batches, the same start of the head, the same A, B zero, AdamW with the same settings.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from support.architectures import ARCHITECTURES
from support.parts import LABELS, ROWS, SETTINGS, TOKENS, features_of, train
from support.reference import write_reference
from support.texts import random_tokens
from support.tiny_models import write_tiny_gpt2, write_tiny_llama
from tailtune.methods.adapter import write_adapter
from tailtune.methods.lora import LoraSettings, adapter_of, add_lora
from tailtune.methods.scorers import TailScorer, score_features
from tailtune.methods.tail import new_tail
from tailtune.models.parts import load_part
from tailtune.text.tokenizer import Tokens

WRITERS: dict[str, Callable[..., Path]] = {"llama": write_tiny_llama, "gpt2": write_tiny_gpt2}
TOLERANCE = 1e-4
LORAS = {
    "all": LoraSettings(),
    "rslora-few": LoraSettings(kind="rslora", rank=4, alpha=6.0, targets="query_key_value, mlp_out"),
    "dora": LoraSettings(kind="dora", rank=8),
}


@pytest.fixture(params=WRITERS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path / request.param, seed=0)


def reference(model: Path, *, blocks: int = 4) -> Any:
    """Return transformers' classifier of the model, without dropout."""
    from transformers import AutoModelForSequenceClassification

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = AutoModelForSequenceClassification.from_pretrained(model, num_labels=3, num_hidden_layers=blocks)
    return found.eval()


def with_adapter(classifier: Any, adapter: Path, *, trainable: bool) -> Any:
    """Return the classifier with the adapter in a folder on it, as peft loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import PeftModel

        return PeftModel.from_pretrained(classifier, str(adapter), is_trainable=trainable).eval()


def logits(classifier: Any, text: int, tokens: Tokens = TOKENS) -> Tensor:
    """Return the [3] scores of a text by itself."""
    ids = torch.from_numpy(tokens.take(np.array([text])).ids).long()[None]
    scores: Tensor = classifier(input_ids=ids).logits[0]
    return scores


def reference_losses(classifier: Any) -> list[float]:
    """Return the loss of every step of the plainest loop there is, on what ``classifier`` has that is trainable."""
    parameters = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    assert SETTINGS.learning_rate is not None
    optimizer = torch.optim.AdamW(parameters, lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay)
    order, losses = np.random.default_rng(SETTINGS.seed), []
    for _ in range(SETTINGS.epochs):
        shuffled = order.permutation(ROWS.train)
        for start in range(0, len(shuffled), SETTINGS.batch_size):
            batch = shuffled[start : start + SETTINGS.batch_size]
            scores = torch.stack([logits(classifier, text) for text in batch])
            loss = functional.cross_entropy(scores, torch.from_numpy(LABELS[batch]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
    return losses


def require_same(got: list[float], expected: list[float]) -> None:
    """The curves are one, long enough, and not flat: the same constant twice would show nothing."""
    assert len(got) == len(expected) >= 20
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0)
    assert np.mean(expected[-4:]) < 0.9 * np.mean(expected[:4])


def start_of(model: Path, *, first: int) -> TailScorer:
    return new_tail(load_part(model), blocks=4 - first, depth=4, classes=3, seed=SETTINGS.seed)


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("name", LORAS)
def test_lora_follows_peft(model: Path, name: str, first: int, tmp_path: Path) -> None:
    """Twenty-four steps through adapters on all blocks or the upper two, of every kind."""
    settings = LORAS[name]
    start = start_of(model, first=first)
    add_lora(start, settings, seed=SETTINGS.seed)
    write_adapter(adapter_of(start, settings), tmp_path / "start", model="tiny")
    expected = reference_losses(with_adapter(reference(model), tmp_path / "start", trainable=True))
    _, _, got = train("lora", model, tmp_path / "store", first=first, lora=settings)
    require_same(got, expected)


@pytest.mark.parametrize("first", [0, 2])
def test_full_training_follows_transformers(model: Path, first: int, tmp_path: Path) -> None:
    """Twenty-four steps of every weight from the embeddings up, or of the upper blocks, norm and head."""
    classifier = reference(model)
    with torch.no_grad():
        classifier.score.weight.copy_(start_of(model, first=first).head.weight)
    frozen = [f"{kind}.{number}." for kind in ("layers", "h") for number in range(first)]
    frozen += ["embed_tokens", "wte", "wpe"] if first else []
    for parameter_name, parameter in classifier.named_parameters():
        parameter.requires_grad_(not any(part in parameter_name for part in frozen))
    expected = reference_losses(classifier)
    _, _, got = train("full", model, tmp_path, first=first)
    require_same(got, expected)


@pytest.mark.parametrize("name", LORAS)
def test_a_kept_adapter_gives_the_same_scores_there(model: Path, name: str, tmp_path: Path) -> None:
    """peft loads it onto transformers' classifier of as many blocks: the scores are those of the merged tail."""
    depth = 3
    trained, features, _ = train("lora", model, tmp_path / "store", first=1, depth=depth, lora=LORAS[name])
    assert trained.adapter is not None
    write_adapter(trained.adapter, tmp_path / "adapter", model="tiny")
    classifier = with_adapter(reference(model, blocks=depth), tmp_path / "adapter", trainable=False)
    with torch.inference_mode():
        expected = torch.stack([logits(classifier, text) for text in range(len(LABELS))]).numpy()
    got = score_features(trained.scorer, features, np.arange(len(LABELS)))
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)


FEW = random_tokens([5, 9], vocabulary=90)
FEW.ids[:] += 2  # pads, in some models
NATIVE = [name for name, each in ARCHITECTURES.items() if not each.encoder and not each.variant]


@pytest.mark.parametrize("name", NATIVE)
def test_adapters_of_every_family_load_there(name: str, tmp_path: Path) -> None:
    """Names, order of outputs and orientation are right in each: random updates give the same scores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_reference(ARCHITECTURES[name], tmp_path / "model")
    decoder = load_part(tmp_path / "model")
    blocks = decoder.config.blocks
    settings = LoraSettings(rank=4)
    tail = new_tail(decoder, blocks=blocks - 1, depth=blocks, classes=3, seed=0)
    add_lora(tail, settings, seed=0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter_name, parameter in tail.named_parameters():
            if "lora_B" in parameter_name:
                parameter.normal_(0.0, 0.1, generator=random)
    write_adapter(adapter_of(tail, settings), tmp_path / "adapter", model="tiny")
    classifier = reference(tmp_path / "model", blocks=blocks)
    with torch.inference_mode():
        plain = [logits(classifier, text, FEW) for text in (0, 1)]
        adapted = with_adapter(classifier, tmp_path / "adapter", trainable=False)
        expected = torch.stack([logits(adapted, text, FEW) for text in (0, 1)]).numpy()
    got = score_features(tail.eval(), features_of(decoder, tmp_path / "store", 1, FEW), np.array([0, 1]))
    assert np.abs(expected - torch.stack(plain).numpy()).max() > 10 * TOLERANCE
    np.testing.assert_allclose(got, expected, atol=TOLERANCE * max(1.0, np.abs(expected).max()))


def test_dropout_is_off_where_scores_are_read(model: Path, tmp_path: Path) -> None:
    """With dropout the steps differ, and equal seeds give equal runs; what is scored has none."""
    settings = replace(LORAS["all"], dropout=0.5)
    first, features, one = train("lora", model, tmp_path, first=2, lora=settings)
    second, _, same = train("lora", model, tmp_path, first=2, lora=settings)
    _, _, without = train("lora", model, tmp_path, first=2)
    assert one == same
    assert one[0] == pytest.approx(without[0], rel=1e-6)  # B is zero
    assert max(abs(a - b) for a, b in zip(one, without, strict=True)) > 1e-3
    scores = [score_features(each.scorer, features, np.arange(48)) for each in (first, second)]
    np.testing.assert_array_equal(scores[0], scores[1])
