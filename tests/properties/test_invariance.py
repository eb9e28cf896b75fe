"""A text scores the same alone, in any batch, in any order, with any neighbours."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.classifiers import pooled_tail_bundle, probe_bundle, tail_bundle
from support.parts import full_bundle, lora_bundle
from support.tiny_models import write_tiny_bert, write_tiny_gpt2, write_tiny_llama
from tailtune.bundle import Bundle
from tailtune.features.backbone import Backbone
from tailtune.methods.scorers import in_order, probabilities
from tailtune.predict import Predictor

FAMILIES: dict[str, Callable[..., Path]] = {"llama": write_tiny_llama, "gpt2": write_tiny_gpt2, "bert": write_tiny_bert}
MAKERS: dict[str, Callable[[Path], Bundle]] = {
    "probe": probe_bundle, "tail": tail_bundle, "pooled": pooled_tail_bundle, "full": full_bundle, "lora": lora_bundle,
}  # fmt: skip
KINDS = [(family, method) for family in FAMILIES for method in MAKERS]
TOLERANCE = 1e-5
Texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=12)


@functools.cache
def classifier(family: str, method: str) -> Predictor:
    """Return a classifier on a tiny random model, hardly trained; weights matter less than that they differ."""
    folder = Path(tempfile.mkdtemp())
    return Predictor(MAKERS[method](FAMILIES[family](folder, seed=3)), device="cpu")


@pytest.mark.parametrize(("family", "method"), KINDS)
@given(texts=Texts, seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_neighbours_and_order_change_nothing(family: str, method: str, texts: list[str], seed: int) -> None:
    """Probabilities alone equal those in the batch, and those in the batch shuffled."""
    predictor = classifier(family, method)
    together = predictor.predict_proba(texts)
    order = np.random.default_rng(seed).permutation(len(texts))
    shuffled = predictor.predict_proba([texts[place] for place in order])
    np.testing.assert_allclose(shuffled, together[order], atol=TOLERANCE)
    for place, text in enumerate(texts):
        np.testing.assert_allclose(predictor.predict_proba([text])[0], together[place], atol=TOLERANCE)


@pytest.mark.parametrize(("family", "method"), KINDS)
@given(texts=Texts, budget=st.integers(1, 200))
@settings(max_examples=10, deadline=None)
def test_the_batch_size_changes_nothing(family: str, method: str, texts: list[str], budget: int) -> None:
    """Any token budget gives the same probabilities."""
    predictor = classifier(family, method)
    bundle = predictor.bundle
    tokens = bundle.tokenizer.encode(texts)
    backbone = Backbone(bundle.decoder, device=next(bundle.decoder.parameters()).device)
    pieces = [
        (piece.batch.texts, bundle.scorer.logits(piece))
        for piece in backbone.run(tokens, bundle.scorer.wanted, token_budget=budget)
    ]
    np.testing.assert_allclose(probabilities(in_order(pieces)), predictor.predict_proba(texts), atol=TOLERANCE)


@pytest.mark.parametrize(("family", "method"), KINDS)
def test_later_text_of_a_neighbour_is_never_seen(family: str, method: str) -> None:
    """Equal lengths are computed side by side; changing one of two such texts leaves the other alone."""
    predictor = classifier(family, method)
    one = predictor.predict_proba(["see you at home", "call me at work"])
    other = predictor.predict_proba(["see you at home", "win it all now!"])
    np.testing.assert_allclose(one[0], other[0], atol=TOLERANCE)
    assert np.abs(one[1] - other[1]).max() > TOLERANCE
