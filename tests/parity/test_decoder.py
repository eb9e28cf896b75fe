"""Our decoder equals the reference library's at every depth, in values and gradients."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.reference import ARCHITECTURES, packed, ragged, relative_error, write_reference
from tailtune.models.weights import load_decoder

LENGTHS = [5, 1, 9, 5, 2, 17]
TOLERANCE = 1e-5


@pytest.fixture(params=ARCHITECTURES)
def reference(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_reference(request.param, tmp_path)


def _reference_states(model: Any, ids: np.ndarray[Any, np.dtype[np.int64]]) -> list[Tensor]:
    with torch.no_grad():
        out = model(torch.from_numpy(ids)[None], output_hidden_states=True)
    return [state[0] for state in out.hidden_states]


def test_states_at_every_depth_equal_the_reference(reference: Any, tmp_path: Path) -> None:
    """Packed states after 0..L blocks, the final norm and the LM logits equal a text-by-text reference run."""
    decoder = load_decoder(tmp_path)
    texts = ragged(LENGTHS)
    batch, ids, layout = packed(decoder, texts)
    expected = [_reference_states(reference, texts[i]) for i in batch.texts]
    with torch.inference_mode():
        states = decoder.embed(ids, layout)
        assert relative_error(states, torch.cat([text[0] for text in expected])) < TOLERANCE
        for depth, above in decoder.climb(states, layout):
            states = above
            if depth < decoder.config.blocks:
                assert relative_error(states, torch.cat([text[depth] for text in expected])) < TOLERANCE
        assert decoder.final_norm is not None
        normed = decoder.final_norm(states)
    assert relative_error(normed, torch.cat([text[-1] for text in expected])) < TOLERANCE
    head = reference.get_output_embeddings().weight.detach()
    logits = torch.cat([reference(torch.from_numpy(texts[i])[None]).logits[0] for i in batch.texts])
    assert relative_error(normed @ head.T, logits.detach()) < TOLERANCE


def test_one_row_of_the_last_block_equals_the_full_block(reference: Any, tmp_path: Path) -> None:
    """Values at the last tokens and gradients of every parameter are those of the block computed in full."""
    decoder = load_decoder(tmp_path).requires_grad_(True)
    texts = ragged(LENGTHS)
    _, ids, layout = packed(decoder, texts)
    target = torch.randn(len(texts), decoder.config.width, generator=torch.Generator().manual_seed(3))
    gradients = []
    for one_row in (True, False):
        decoder.zero_grad()
        states = decoder.embed(ids, layout)
        if one_row:
            rows = decoder.read_last(states, layout)
        else:
            *_, (_, states) = decoder.climb(states, layout)
            assert decoder.final_norm is not None
            rows = decoder.final_norm(states[layout.last])
        (rows * target).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append((rows.detach(), {name: p.grad for name, p in decoder.named_parameters()}))
    (rows_one, grads_one), (rows_full, grads_full) = gradients
    assert relative_error(rows_one, rows_full) < TOLERANCE
    for name, expected in grads_full.items():
        got = grads_one[name]
        assert got is not None and expected is not None, name
        assert relative_error(got, expected) < 5 * TOLERANCE, name


def test_class_logits_equal_the_reference_classifier(reference: Any, tmp_path: Path) -> None:
    """Last real token, final norm and a bias-free head give the logits of the reference sequence classifier."""
    from transformers import AutoModelForSequenceClassification

    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3).eval()
    decoder = load_decoder(tmp_path)
    texts = ragged(LENGTHS)
    batch, ids, layout = packed(decoder, texts)
    with torch.inference_mode():
        rows = decoder.read_last(decoder.embed(ids, layout), layout)
        logits = rows @ classifier.score.weight.T
        expected = torch.cat([classifier(torch.from_numpy(texts[i])[None]).logits for i in batch.texts])
    assert relative_error(logits, expected) < TOLERANCE


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped"])
def test_a_cut_decoder_is_the_lower_part_of_the_whole(name: str, tmp_path: Path) -> None:
    """Reading only the lowest blocks gives the same states, and holds no others."""
    write_reference(name, tmp_path)
    whole, cut = load_decoder(tmp_path), load_decoder(tmp_path, depth=2)
    assert list(cut.blocks) == ["0", "1"]
    _, ids, layout = packed(whole, ragged(LENGTHS))
    with torch.inference_mode():
        expected = dict(whole.climb(whole.embed(ids, layout), layout))
        got = dict(cut.climb(cut.embed(ids, layout), layout))
    assert torch.equal(got[2], expected[2])
