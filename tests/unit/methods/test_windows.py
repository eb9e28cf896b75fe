"""Methods on windows: every text weighs the same however long it is, and is judged by its windows' merged scores."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from support.features import model_features, pooled_features, rows_of
from support.texts import random_tokens
from tailtune.features.backbone import Floats, Wanted
from tailtune.features.cost import middling
from tailtune.features.passes import Passes
from tailtune.features.store import Features, Indices, text_keys, whole_keys
from tailtune.methods.descent import Step, TailSettings, fit_tail
from tailtune.methods.learning import _refit
from tailtune.methods.linear import fit_linear
from tailtune.methods.probe import SCOUT, HeldOut, Rows, choose_probe
from tailtune.methods.scan import Limits, scan
from tailtune.methods.scorers import probabilities, score_features
from tailtune.methods.tail import new_tail
from tailtune.models.weights import load_decoder
from tailtune.text.windows import Merge, Windows

MERGES: list[Merge] = ["mean", "vote", "max"]
COUNTS = np.random.default_rng(5).integers(1, 5, 60)
TRAIN, VALIDATION = np.arange(40), np.arange(40, 60)


def windows_of(counts: Indices, merge: Merge = "mean", *, tokens: int = 6) -> Windows:
    lengths = tokens * counts
    offsets = np.concatenate(([0], np.cumsum(counts)))
    return Windows(offsets=offsets, lengths=lengths, full_lengths=lengths, merge=merge)


def clouds(merge: Merge) -> tuple[Features, Rows]:
    """Windows whose vectors lean towards the class of their text, at two depths."""
    random = np.random.default_rng(2)
    labels = np.arange(len(COUNTS), dtype=np.int64) % 3
    centres = random.standard_normal((3, 7))
    noise = 1.5 * random.standard_normal((2, COUNTS.sum(), 7))
    shallow, deep = (centres[np.repeat(labels, COUNTS)] + noise).astype(np.float32)
    features = pooled_features({1: shallow, 4: deep})
    features.windows = windows_of(COUNTS, merge)
    return features, rows_of(labels, train=40, validation=20)


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0])])
def test_a_share_is_so_many_copies(weights: NDArray[np.float64] | None) -> None:
    """A row whose share is 3 is three rows: in the standardisation and in the fit, beside the weight of its class."""
    random = np.random.default_rng(0)
    vectors = (random.standard_normal((90, 5)) * [1, 10, 100, 0.1, 3]).astype(np.float32)
    labels = (vectors[:, 0] + 0.8 * random.standard_normal(90) > 0.7).astype(np.int64)
    copies = random.integers(1, 4, 90)
    fit = functools.partial(fit_linear, penalty=0.1, classes=2, weights=weights)
    repeated = fit(np.repeat(vectors, copies, axis=0), np.repeat(labels, copies))
    weighted = fit(vectors, labels, shares=copies.astype(np.float64))
    plain = fit(vectors, labels)
    expected = probabilities(repeated.scores(vectors))
    np.testing.assert_allclose(probabilities(weighted.scores(vectors)), expected, atol=2e-3)
    assert np.abs(probabilities(plain.scores(vectors)) - expected).max() > 1e-2


def merged_by_hand(scores: Floats, merge: Merge, texts: Indices) -> NDArray[np.float64]:
    rows = []
    for places in np.split(probabilities(scores), np.cumsum(COUNTS[texts])[:-1]):
        together = {"mean": np.exp(np.log(places).mean(axis=0)), "vote": places.mean(axis=0), "max": places.max(axis=0)}
        rows.append(together[merge] / together[merge].sum())
    return np.array(rows)


@pytest.mark.parametrize("merge", MERGES)
def test_held_out_texts_are_judged_by_merged_scores(merge: Merge) -> None:
    """One loss per text; the probe is fitted on weighted windows, and scores what its windows merge to."""
    features, rows = clouds(merge)
    probe, chosen, _ = choose_probe(features, rows, depths=(1, 4), pooling="last", penalties=(SCOUT,))
    assert len(chosen.losses) == len(VALIDATION)
    learn, labels, shares = features.windows.rows(TRAIN, rows.labels)
    held = features.windows.of(VALIDATION)
    scores = np.zeros((len(held), 3))
    for depth in (1, 4):
        vectors = features.pooled(depth)[:, 0]
        linear = fit_linear(vectors[learn], labels, penalty=SCOUT, classes=3, shares=shares)
        scores += linear.scores(vectors[held]) / 2
    expected = merged_by_hand(scores.astype(np.float32), merge, VALIDATION)
    truth = rows.labels[VALIDATION]
    np.testing.assert_allclose(chosen.losses, -np.log(expected[np.arange(20), truth]), rtol=1e-4)
    np.testing.assert_allclose(probabilities(score_features(probe, features, VALIDATION)), expected, atol=1e-5)
    again = _refit(features, rows, probe, TRAIN, penalty=SCOUT)
    np.testing.assert_allclose(probabilities(again), expected, atol=1e-5)


def test_folds_hold_whole_texts() -> None:
    """In cross-validation too a text is judged once, with all its windows, by a probe that saw none of them."""
    features, rows = clouds("mean")
    held_out = HeldOut(features, rows, "last")
    assert sorted(held_out.judged.tolist()) == list(range(60))
    assert len(held_out.candidate((1,), SCOUT).losses) == 60


@pytest.fixture
def states(tiny_llama: Path, tmp_path: Path) -> Features:
    tokens = random_tokens([6] * int(COUNTS.sum()), seed=3)
    features = model_features(tiny_llama, tmp_path, tokens, Wanted(states=(3,)))
    features.windows = windows_of(COUNTS)
    return features


@pytest.mark.parametrize("weighted", [False, True])
def test_windows_share_the_loss_of_their_text(tiny_llama: Path, states: Features, weighted: bool) -> None:
    """The loss of an epoch in one step is the mean over texts of the mean over their windows, times class weights."""
    labels = np.arange(60, dtype=np.int64) % 3
    class_weights = np.array([0.5, 2.0, 1.0], dtype=np.float32)
    tail = new_tail(load_decoder(tiny_llama), blocks=1, depth=4, classes=3, seed=0)
    single = Windows.whole(states.lengths)
    merged, states.windows = states.windows, single
    scores = torch.from_numpy(score_features(tail, states, np.arange(len(single.lengths))))
    states.windows = merged
    each = functional.cross_entropy(scores, torch.from_numpy(np.repeat(labels, COUNTS)), reduction="none").numpy()
    texts = np.array([part.mean() for part in np.split(each, np.cumsum(COUNTS)[:-1])])[TRAIN]
    of_windows = class_weights[np.repeat(labels, COUNTS)][: COUNTS[TRAIN].sum()]
    classed = (class_weights[labels[TRAIN]] * texts).mean() / of_windows.mean()
    settings = TailSettings(epochs=1, batch_size=1000, learning_rate=1e-3)
    (step, *_) = fit_tail(
        tail,
        states,
        labels,
        train=TRAIN,
        validation=VALIDATION,
        settings=settings,
        class_weights=class_weights if weighted else None,
    )
    assert isinstance(step, Step)
    assert step.loss == pytest.approx(float(classed if weighted else texts.mean()), rel=1e-5)


def test_an_epoch_goes_through_all_windows(tiny_llama: Path, states: Features) -> None:
    """Steps are counted in windows, so that none needs the memory of a long text."""
    tail = new_tail(load_decoder(tiny_llama), blocks=1, depth=4, classes=3, seed=0)
    settings = TailSettings(epochs=2, batch_size=8)
    labels = np.arange(60, dtype=np.int64) % 3
    events = fit_tail(tail, states, labels, train=TRAIN, validation=VALIDATION, settings=settings)
    steps = [event for event in events if isinstance(event, Step)]
    assert len(steps) == steps[0].steps == 2 * -(-int(COUNTS[TRAIN].sum()) // 8)


def test_keys_of_texts_are_those_of_their_windows() -> None:
    """The order of windows counts, a single window keeps its key, and equal texts have equal keys."""
    keys = text_keys(random_tokens([4, 5, 6, 7]))
    pairs = keys[[0, 1, 1, 0, 0, 1, 2]]
    found = whole_keys(pairs, windows_of(np.array([2, 2, 2, 1])))
    assert found[0] == found[2] != found[1]
    assert found[3] == keys[2]
    assert len(set(found.tolist()) - set(keys.tolist())) == 2


def test_the_scan_samples_and_prices_whole_texts(tiny_llama: Path, tmp_path: Path) -> None:
    """Rows are texts; a text of four windows is priced four times one window."""
    tokens, windows = random_tokens([6] * int(COUNTS.sum()), seed=3), windows_of(COUNTS)
    passes = Passes(load_decoder(tiny_llama), weights="tiny", store=tmp_path, device="cpu")
    rows = rows_of(np.arange(60) % 3, train=40, validation=20)
    found = scan(
        passes, tokens, rows, depths=(1, 2), precision="fp32", pooling="last", limits=Limits(), windows=windows
    )
    assert found.rows == 60
    assert passes.done[0].texts == int(COUNTS.sum())
    window, count = middling(tokens, windows)
    assert (len(window), count) == (1, int(np.sort(COUNTS)[30]))
