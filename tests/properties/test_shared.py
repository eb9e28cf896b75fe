"""Whatever texts share and however they fall into batches, computing it once gives the features of whole texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.shared_beginnings import beginning_alike, features_of, largest_difference
from support.texts import backbone
from tailtune.features.backbone import Backbone, Wanted
from tailtune.features.store import FeatureStore, text_keys
from tailtune.models.int8 import to_int8
from tailtune.models.weights import load_decoder

WANTED = Wanted(pooled=(1, 4), states=(3,))


SHARED = st.integers(1, 60)
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=9)


@settings(deadline=None, max_examples=25)
@given(shared=SHARED, lengths=LENGTHS, seed=st.integers(0, 9))
def test_any_beginning(tiny_llama: Path, shared: int, lengths: list[int], seed: int) -> None:
    """Beginnings longer than a batch, single texts, texts of one more token."""
    tokens = beginning_alike(shared, lengths, seed=seed)
    assert largest_difference(backbone(tiny_llama), tokens, WANTED) < 1e-5


@settings(deadline=None, max_examples=10)
@given(shared=SHARED, lengths=LENGTHS)
def test_in_int8(tiny_gpt2: Path, shared: int, lengths: list[int]) -> None:
    """Rows are rounded each by itself, so a beginning computed alone is rounded as before."""
    part = to_int8(load_decoder(tiny_gpt2).below(4))
    tokens = beginning_alike(shared, lengths)
    # Sums in another order may tip a value over to the next of 255 steps.
    assert largest_difference(Backbone(part, device=torch.device("cpu")), tokens, WANTED) < 0.02


def test_with_blocks_that_stay_in_their_file(tiny_llama: Path) -> None:
    """Each block is read when it computes, and knows its own beginning."""
    mapped = Backbone(load_decoder(tiny_llama, map_above=0), device=torch.device("cpu"))
    tokens = beginning_alike(11, (3, 1, 6))
    assert mapped.shared(tokens) == 11
    assert largest_difference(mapped, tokens, WANTED) < 1e-5
    once, other = features_of(mapped, tokens, WANTED), features_of(backbone(tiny_llama), tokens, WANTED)
    for text, arrays in other.items():
        for got, expected in zip(once[text], arrays, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_beginning_is_remembered_and_replaced(tiny_llama: Path) -> None:
    """Another beginning, or more depths of the same one, is computed anew; answers are those of a fresh backbone."""
    made = backbone(tiny_llama)
    for tokens, wanted in (
        (beginning_alike(9, (3, 4)), WANTED),
        (beginning_alike(9, (5,), seed=1), WANTED),
        (beginning_alike(9, (5,), seed=1), Wanted(pooled=(2,))),
        (beginning_alike(9, (3, 4)), WANTED),
    ):
        once, fresh = features_of(made, tokens, wanted), features_of(backbone(tiny_llama), tokens, wanted)
        for text, arrays in fresh.items():
            for got, expected in zip(once[text], arrays, strict=True):
                np.testing.assert_array_equal(got, expected)


def test_stored_features_are_those_of_the_whole_texts(tiny_llama: Path, tmp_path: Path) -> None:
    """Keys are of all ids, so that a text has one place however it was computed; what was spared is counted."""
    tokens = beginning_alike(12, (3, 8, 3, 1))
    whole = replace(tokens, shared=0)
    assert (text_keys(tokens) == text_keys(whole)).all()
    store = FeatureStore(tmp_path, {"weights": "tiny"})
    first = store.features(backbone(tiny_llama), tokens.take(np.array([0, 1, 2])), WANTED)
    assert (first.computed_tokens, first.spared_tokens) == (50, 24)
    second = store.features(backbone(tiny_llama), whole, WANTED)
    assert (second.computed_texts, second.computed_tokens, second.spared_tokens) == (1, 13, 0)
    other = FeatureStore(tmp_path / "other", {"weights": "tiny"}).features(backbone(tiny_llama), whole, WANTED)
    np.testing.assert_allclose(second.pooled(4), other.pooled(4), rtol=1e-5, atol=1e-5)
    texts = np.arange(4)
    np.testing.assert_allclose(second.states(3, texts), other.states(3, texts), rtol=1e-5, atol=1e-5)
