"""Our decoder equals the reference library's at every depth, in values and gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from support.architectures import ARCHITECTURES
from support.parity import CHECKS, TOLERANCE, Pair, pair_of
from support.reference import packed, ragged, relative_error, write_reference
from tailtune.models.weights import load_decoder

LENGTHS = [5, 1, 9, 5, 2, 17]


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_the_reference(name: str, check: Callable[[Pair], None], tmp_path: Path) -> None:
    """Every family and variant passes every check."""
    check(pair_of(ARCHITECTURES[name], tmp_path))


CLASSIFIERS = [name for name, model in ARCHITECTURES.items() if not model.encoder and not model.variant]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_logits_equal_the_reference_classifier(name: str, tmp_path: Path) -> None:
    """Last real token, final norm and a bias-free head give the logits of the reference sequence classifier."""
    from transformers import AutoModelForSequenceClassification

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_reference(ARCHITECTURES[name], tmp_path)
        classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3).eval()
    decoder = load_decoder(tmp_path)
    texts = ragged(LENGTHS)
    batch, ids, layout = packed(decoder, texts)
    with torch.inference_mode():
        rows = decoder.read_rows(decoder.embed(ids, layout), layout)
        logits = rows @ classifier.score.weight.T
        expected = torch.cat([classifier(torch.from_numpy(texts[i])[None]).logits for i in batch.texts])
    assert relative_error(logits, expected) < TOLERANCE


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped"])
def test_a_cut_decoder_is_the_lower_part_of_the_whole(name: str, tmp_path: Path) -> None:
    """Reading only the lowest blocks gives the same states, and holds no others."""
    write_reference(ARCHITECTURES[name], tmp_path)
    whole, cut = load_decoder(tmp_path), load_decoder(tmp_path, depth=2)
    assert list(cut.blocks) == ["0", "1"]
    _, ids, layout = packed(whole, ragged(LENGTHS))
    with torch.inference_mode():
        expected = dict(whole.climb(whole.embed(ids, layout), layout))
        got = dict(cut.climb(cut.embed(ids, layout), layout))
    assert torch.equal(got[2], expected[2])
