"""Labels that are paths: their levels, and probabilities of the coarser ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtune.errors import BundleError, ConfigError
from tailtune.evaluate.levels import level_scores
from tailtune.label_levels import levels_of, with_levels
from tailtune.labels import LabelSet

FLAT = LabelSet(names=("bank/card/lost", "bank/card/stolen", "bank/transfer", "travel/visa", "other"))
PATHS = with_levels(FLAT, "/")


def test_levels_of_a_tree() -> None:
    """A label that ends early stands for itself below its end."""
    first, second, third = levels_of(PATHS)
    assert first.names == ("bank", "other", "travel")
    assert first.places.tolist() == [0, 0, 0, 2, 1]
    assert second.names == ("bank/card", "bank/transfer", "other", "travel/visa")
    assert set(third.names) == set(PATHS.names)
    assert levels_of(FLAT) == ()


def test_a_coarser_label_can_win_with_a_finer_one_that_loses() -> None:
    """Two halves of one branch beat the single likeliest label: so a level's best label is found from the sums."""
    rows = np.array([[0.3, 0.3, 0.0, 0.4, 0.0]])
    first = levels_of(PATHS)[0]
    assert first.summed(rows).tolist() == [[0.6, 0.0, 0.4]]


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_sums_keep_all_probability(rows: int, seed: int) -> None:
    """At every level the probabilities of a row sum to one, and the last level has those of the labels themselves."""
    found = np.random.default_rng(seed).dirichlet(np.ones(len(PATHS)), rows)
    *coarser, last = levels_of(PATHS)
    for level in coarser:
        assert level.summed(found).sum(axis=1) == pytest.approx(np.ones(rows))
    order = [last.names.index(name) for name in PATHS.names]
    assert np.array_equal(last.summed(found)[:, order], found)


def test_scores_of_levels() -> None:
    """A row taken for a sibling is right one level up."""
    rows = np.array([[0.1, 0.8, 0.1, 0.0, 0.0], [0.0, 0.0, 0.2, 0.8, 0.0]])
    first, second, third = level_scores(np.array([0, 3]), rows, levels_of(PATHS))
    assert [each["accuracy"] for each in (first, second, third)] == [1.0, 1.0, 0.5]
    assert [each["classes"] for each in (first, second, third)] == [3, 4, 5]
    assert second["log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)


def test_json_keeps_the_separator() -> None:
    """A set of paths comes back as one; a set without them says nothing of it."""
    assert LabelSet.from_json(json.loads(json.dumps(PATHS.to_json()))) == PATHS
    assert "label_levels" not in FLAT.to_json()
    with pytest.raises(BundleError, match="label_levels must be a text, got 3"):
        LabelSet.from_json(FLAT.to_json() | {"label_levels": 3})


@pytest.mark.parametrize(
    ("separator", "said"), [("|", "no label has that in its name"), ("r", "label 'bank/transfer' has an empty part")]
)
def test_refusals(separator: str, said: str) -> None:
    """A separator that no label has, or that leaves a part empty, is no separator of these labels."""
    with pytest.raises(ConfigError, match=said):
        with_levels(FLAT, separator)
