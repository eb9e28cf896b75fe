"""A text read in windows scores the same alone, in any batch and order, and as its windows merged by hand."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.classifiers import probe_bundle, reading, tail_bundle
from support.tiny_models import write_tiny_gpt2, write_tiny_llama
from tailtune.bundle import Bundle
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.methods.scorers import in_order, probabilities, score_features
from tailtune.models.weights import load_decoder
from tailtune.predict import Predictor
from tailtune.text.windows import LongRule, Merge

KINDS = [(family, method) for family in ("llama", "gpt2") for method in ("probe", "tail")]
MERGES: list[Merge] = ["mean", "vote", "max"]
TOLERANCE = 1e-5
Texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=90), min_size=1, max_size=8)


@functools.cache
def model(family: str) -> Path:
    write = write_tiny_llama if family == "llama" else write_tiny_gpt2
    return write(Path(tempfile.mkdtemp()), seed=3)


@functools.cache
def bundle(family: str, method: str) -> Bundle:
    """Return an untrained classifier; weights matter less than that they differ."""
    return (probe_bundle if method == "probe" else tail_bundle)(model(family))


def classifier(family: str, method: str, rule: LongRule, max_tokens: int) -> Predictor:
    return Predictor(reading(bundle(family, method), rule, max_tokens=max_tokens), device="cpu")


@pytest.mark.parametrize(("family", "method"), KINDS)
@given(texts=Texts, merge=st.sampled_from(MERGES), room=st.integers(2, 20))
@settings(max_examples=15, deadline=None)
def test_neighbours_and_order_change_nothing(
    family: str, method: str, texts: list[str], merge: Merge, room: int
) -> None:
    """Probabilities alone equal those in the batch, and those in the batch shuffled."""
    predictor = classifier(family, method, LongRule(kind="windows", merge=merge), room)
    together = predictor.predict_proba(texts)
    order = np.random.default_rng(room).permutation(len(texts))
    shuffled = predictor.predict_proba([texts[place] for place in order])
    np.testing.assert_allclose(shuffled, together[order], atol=TOLERANCE)
    for place, text in enumerate(texts):
        np.testing.assert_allclose(predictor.predict_proba([text])[0], together[place], atol=TOLERANCE)


@pytest.mark.parametrize(("family", "method"), KINDS)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90), stride=st.integers(1, 7))
@settings(max_examples=15, deadline=None)
def test_merging_is_what_one_gets_by_hand(family: str, method: str, text: str, stride: int) -> None:
    """Each window goes through the model as a text of its own, then their probabilities are merged."""
    made = bundle(family, method)
    whole = Predictor(reading(made, LongRule(), max_tokens=200), device="cpu").bundle
    ids = whole.tokenizer.encode([text]).ids
    parts = [(start, start + 7) for start in (*range(0, len(ids) - 7, stride), len(ids) - 7)] if len(ids) > 7 else []
    tokens = whole.tokenizer.encode([text] * max(1, len(parts)))
    if parts:
        tokens = replace(
            tokens,
            ids=np.concatenate([ids[start:stop] for start, stop in parts]),
            offsets=7 * np.arange(len(parts) + 1),
        )
    backbone = classifier(family, method, LongRule(), 200)._backbone
    pieces = [(piece.batch.texts, made.scorer.logits(piece)) for piece in backbone.run(tokens, made.scorer.wanted)]
    shares = probabilities(in_order(pieces))
    by_hand = {"mean": np.exp(np.log(shares).mean(axis=0)), "vote": shares.mean(axis=0), "max": shares.max(axis=0)}
    for merge in MERGES:
        rule = LongRule(kind="windows", stride=stride, merge=merge)
        (row,) = classifier(family, method, rule, 7).predict_proba([text])
        np.testing.assert_allclose(row, by_hand[merge] / by_hand[merge].sum(), atol=TOLERANCE)


@pytest.mark.parametrize(("family", "method"), KINDS)
@given(texts=Texts)
@settings(max_examples=15, deadline=None)
def test_texts_that_fit_get_the_same_answer_under_every_rule(family: str, method: str, texts: list[str]) -> None:
    """To the bit; and the prediction says that all of it was read, at once."""
    longest = max(1, *(len(text.encode()) for text in texts))  # never fewer than the tokens of a byte-level vocabulary
    rules = [LongRule(), LongRule(kind="truncate-head"), *(LongRule(kind="windows", merge=merge) for merge in MERGES)]
    expected, *others = (classifier(family, method, rule, longest).predict(texts) for rule in rules)
    assert all(found == expected for found in others)
    assert all(each.windows == 1 and not each.truncated and each.tokens == each.tokens_total for each in expected)


@pytest.mark.parametrize(("family", "method"), KINDS)
@given(texts=Texts, merge=st.sampled_from(MERGES))
@settings(max_examples=8, deadline=None)
def test_stored_features_give_the_answers_of_prediction(
    family: str, method: str, texts: list[str], merge: Merge
) -> None:
    """What training sees of held-out texts is what the classifier will say of them."""
    predictor = classifier(family, method, LongRule(kind="windows", merge=merge), 9)
    tokens, windows = predictor.bundle.tokenizer.read(texts)
    wanted = predictor.bundle.scorer.wanted
    with tempfile.TemporaryDirectory() as store:
        passes = Passes(load_decoder(model(family)), weights=family, store=Path(store), device="cpu")
        wanted = Wanted(pooled=wanted.pooled, states=wanted.states)
        features = passes.features(tokens, wanted, precision="fp32", windows=windows)
        scores = score_features(predictor.bundle.scorer, features, np.arange(len(texts)))
    np.testing.assert_allclose(probabilities(scores), predictor.predict_proba(texts), atol=TOLERANCE)
