"""How texts look to a classifier: the same as it predicts, whatever kind it is, and kept in the store for probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import (
    blended_bundle,
    int8_bundle,
    ngrams_bundle,
    padded_bundle,
    probe_bundle,
    ruled_bundle,
    several_bundle,
    tail_bundle,
    windows_bundle,
)
from support.texts import messages
from tailtune.bundle import Bundle
from tailtune.features.cache import stores
from tailtune.labelling.view import classifier_view, model_view
from tailtune.predict import Predictor

TEXTS = [*messages(12)[0], "a long one " * 20, "ok"]


def mixed_bundle(model: Path) -> Bundle:
    """Return a blend whose members read the same model."""
    return blended_bundle(model, model)


KINDS = [
    probe_bundle,
    tail_bundle,
    ruled_bundle,
    windows_bundle,
    several_bundle,
    padded_bundle,
    int8_bundle,
    ngrams_bundle,
    mixed_bundle,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("named", [True, False], ids=["stored", "not stored"])
def test_it_says_what_the_classifier_predicts(
    tmp_path: Path, tiny_llama: Path, kind: Callable[[Path], Bundle], named: bool
) -> None:
    """From the store or from a pass of its own: the probabilities are those of ``tailtune predict``."""
    bundle = kind(tiny_llama)
    if named:
        bundle = replace(bundle, about={"model": {"name": "tiny", "sha256": "0" * 64}})
    view = classifier_view(bundle, TEXTS, store=tmp_path)
    again = classifier_view(bundle, TEXTS, store=tmp_path)
    assert view.probabilities is not None
    assert again.probabilities is not None
    expected = Predictor(bundle).predict_proba(TEXTS)
    np.testing.assert_allclose(view.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(again.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(again.vectors, view.vectors, atol=1e-5)
    assert len(view.vectors) == len(TEXTS)
    assert view.labels == bundle.labels
    assert np.isfinite(view.vectors).all()
    kept = [each for each in stores(tmp_path) if each.texts]
    assert bool(kept) == (named and kind not in (tail_bundle, padded_bundle, ngrams_bundle, mixed_bundle))


def test_a_pretrained_model_is_looked_at_on_its_way_up(tmp_path: Path, tiny_llama: Path, tiny_bert: Path) -> None:
    """A decoder of four blocks at depth 1, an encoder of four at depth 4; no probabilities; equal texts look equal."""
    for model, said in ((tiny_llama, "at depth 1 of 4"), (tiny_bert, "at depth 4 of 4")):
        view = model_view(str(model), ["one text", "another", "one text"], store=tmp_path)
        assert view.source.endswith(said)
        assert view.probabilities is None
        assert view.labels is None
        np.testing.assert_array_equal(view.vectors[0], view.vectors[2])
        assert np.abs(view.vectors[0] - view.vectors[1]).max() > 1e-3
