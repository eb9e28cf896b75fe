"""Scorers turn stored features into class scores, in the order asked for, whatever the batches were."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
import torch

from support.features import model_features
from support.texts import backbone, random_tokens
from tailtune.errors import ConfigError
from tailtune.features.backbone import Floats, Wanted
from tailtune.features.store import Features
from tailtune.methods import scorers
from tailtune.methods.scorers import (
    Pooling,
    ProbeScorer,
    Scorer,
    TailScorer,
    in_order,
    pool,
    pooling_of,
    probabilities,
    score_features,
    vectors_of,
)
from tailtune.methods.tail import new_tail
from tailtune.models.weights import load_decoder

TOKENS = random_tokens([5, 1, 9, 5, 2, 17, 3, 3])


def floats(rows: list[list[float]]) -> Floats:
    return np.array(rows, dtype=np.float32)


def probe() -> ProbeScorer:
    random = np.random.default_rng(4)
    mean, weight = random.standard_normal((2, 32)), random.standard_normal((2, 3, 32))
    return ProbeScorer(
        depths=(1, 3),
        pooling="mean",
        mean=mean.astype(np.float32),
        scale=np.exp(mean).astype(np.float32),
        weight=weight.astype(np.float32),
        bias=np.array([0.0, 1.0, -2.0], dtype=np.float32),
    )


def tail(model: Path) -> TailScorer:
    return new_tail(load_decoder(model), blocks=2, depth=4, classes=3, seed=1)


@pytest.fixture
def features(tiny_llama: Path, tmp_path: Path) -> Features:
    return model_features(tiny_llama, tmp_path, TOKENS, Wanted(pooled=(1, 3), states=(2,)))


_COLUMNS = {
    "last": [0, 1],
    "first": [0, 1],
    "mean": [2, 3],
    "last+mean": [0, 1, 2, 3],
    "first+mean": [0, 1, 2, 3],
}


@pytest.mark.parametrize(("pooling", "columns"), _COLUMNS.items())
def test_pooling_picks_its_columns(pooling: Pooling, columns: list[int]) -> None:
    """The state that is read, the mean state, or both side by side in that order."""
    both = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    assert np.array_equal(pool(both, pooling), both.reshape(3, 4)[:, columns])
    assert vectors_of(pooling) == len(columns) // 2
    assert set(_COLUMNS) == set(get_args(Pooling))


@pytest.mark.parametrize(("causal", "own", "other"), [(True, "last", "first"), (False, "first", "last")])
def test_pooling_names_the_token_that_is_read(causal: bool, own: str, other: str) -> None:
    """Left open it is that token and the mean; the other end of the text is refused, not taken for this one."""
    assert pooling_of("auto", causal=causal) == f"{own}+mean"
    for asked in (own, "mean", f"{own}+mean"):
        assert pooling_of(cast("Pooling", asked), causal=causal) == asked
    for asked in (other, f"{other}+mean"):
        with pytest.raises(ConfigError, match=re.escape(f"--pooling {asked}: the model is a")) as caught:
            pooling_of(cast("Pooling", asked), causal=causal)
        assert caught.value.hint == f"give {own}, mean or {own}+mean"


def test_a_probe_is_one_linear_function_of_its_depths(features: Features) -> None:
    """Scores are the bias plus, for each depth, the weighted standardised vectors."""
    made = probe()
    expected = made.bias.astype(np.float64) + sum(
        ((features.pooled(depth)[:, 1].astype(np.float64) - made.mean[place]) / made.scale[place])
        @ made.weight[place].T.astype(np.float64)
        for place, depth in enumerate(made.depths)
    )
    got = score_features(made, features, np.arange(len(TOKENS)))
    assert (made.depth, made.wanted) == (3, Wanted(pooled=(1, 3)))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_a_tail_continues_where_the_backbone_stopped(features: Features, tiny_llama: Path) -> None:
    """States at the cut through the tail equal the whole decoder, text by text, and the head without a bias."""
    made, whole = tail(tiny_llama), backbone(tiny_llama)
    assert (made.cut, made.depth, made.wanted) == (2, 4, Wanted(states=(2,)))
    got = score_features(made, features, np.arange(len(TOKENS)))
    for text in range(len(TOKENS)):
        (piece,) = whole.run(TOKENS.take(np.array([text])), Wanted(states=(4,)))
        assert whole.decoder.final_norm is not None
        with torch.inference_mode():
            row = whole.decoder.final_norm(torch.from_numpy(piece.states[4][-1:])) @ made.head.weight.T
        np.testing.assert_allclose(got[text], row.numpy()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["probe", "tail"])
def test_scores_come_in_the_order_asked_for(
    kind: str, features: Features, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any subset in any order, repeats included, gives the rows of the whole, in batches of any size."""
    made: Scorer = probe() if kind == "probe" else tail(tiny_llama)
    whole = score_features(made, features, np.arange(len(TOKENS)))
    asked = np.array([6, 0, 5, 5, 2])
    np.testing.assert_allclose(score_features(made, features, asked), whole[asked], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(scorers, "SCORING_TOKENS", 4)
    np.testing.assert_allclose(score_features(made, features, asked), whole[asked], rtol=1e-5, atol=1e-5)


def test_rows_go_back_to_their_places() -> None:
    """Pieces in any order are put together by place."""
    pieces = [(np.array([2, 0]), floats([[2, 2], [0, 0]])), (np.array([1]), floats([[1, 1]]))]
    assert in_order(pieces).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_probabilities_are_a_softmax_that_does_not_overflow() -> None:
    """Rows sum to 1, differences alone count, and scores of any size are fine."""
    got = probabilities(floats([[0.0, 0.0], [1e30, -1e30], [3e4, 3e4 - 1.0]]))
    np.testing.assert_allclose(got, [[0.5, 0.5], [1.0, 0.0], [0.7310586, 0.2689414]], atol=1e-6)
    assert got.dtype == np.float64
