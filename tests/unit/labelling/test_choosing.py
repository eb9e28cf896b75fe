"""What is chosen: the uncertain, the typical, and uncertain ones that are unlike each other."""

from __future__ import annotations

import numpy as np
import pytest

from tailtune.errors import ConfigError
from tailtune.labelling.choosing import By, Measure, choose, directions, middles, most, spread_out, uncertainty


@pytest.mark.parametrize("measure", ["uncertainty", "margin", "entropy"])
def test_certain_is_zero_and_even_is_most(measure: Measure) -> None:
    """Each measure is 0 for certainty, largest for even odds, and ranks two classes alike."""
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.6, 0.4], [0.5, 0.5]])
    found = uncertainty(rows, measure)
    assert found[0] == pytest.approx(0.0)
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(0.5 if measure == "uncertainty" else 1.0)


def test_measures_differ_with_more_classes() -> None:
    """Margin sees two rivals, entropy the whole row."""
    rivals, spread = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.52, 0.16, 0.16, 0.16])
    both = np.stack((rivals, spread))
    assert uncertainty(both, "margin").argmax() == 0
    assert uncertainty(both, "entropy").argmax() == 1


def test_several_labels_are_uncertain_by_their_mean_binary_entropy() -> None:
    """Whatever the measure; rows do not sum to 1 there."""
    rows = np.array([[0.0, 1.0], [0.5, 1.0], [0.5, 0.5]])
    for measure in ("uncertainty", "margin", "entropy"):
        assert uncertainty(rows, measure, several=True).tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_the_most_uncertain_come_first_and_ties_in_order() -> None:
    """Equal ones keep their order."""
    assert most(np.array([0.2, 0.9, 0.2, 0.9, 0.1]), 3).tolist() == [1, 3, 0]


def blobs(*sizes: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Tight groups of so many rows, far from each other."""
    random = np.random.default_rng(seed)
    centres = 10 * np.eye(len(sizes), 8)
    rows = [centre + 0.1 * random.standard_normal((size, 8)) for centre, size in zip(centres, sizes, strict=True)]
    return np.concatenate(rows).astype(np.float32)


NONE = np.empty((0, 8), dtype=np.float32)


def test_middles_are_one_of_each_group_the_largest_first() -> None:
    """The row nearest to the centre stands for its group."""
    vectors = blobs(30, 50, 20)
    found = middles(vectors, 3, known=NONE, seed=0)
    assert [int(np.searchsorted([30, 80, 100], at, side="right")) for at in found] == [1, 0, 2]
    group = vectors[30:80]
    assert found[0] - 30 == np.linalg.norm(group - group.mean(axis=0), axis=1).argmin()


def test_middles_leave_groups_with_a_label_for_later() -> None:
    """What is labelled covers its group; the others come first."""
    vectors = blobs(30, 50, 20)
    known = blobs(30, 50, 20, seed=1)[[31]]
    found = middles(vectors, 2, known=known, seed=0)
    assert sorted(int(np.searchsorted([30, 80, 100], at, side="right")) for at in found) == [0, 2]


def test_both_takes_the_most_uncertain_of_each_group() -> None:
    """Where one group holds all of the most uncertain rows, the others are asked too."""
    vectors = blobs(10, 10, 10)
    uncertain = np.linspace(0.1, 0.5, 30)
    uncertain[:10] += 0.5
    found = spread_out(vectors, uncertain, 3, seed=0)
    assert found.tolist() == [9, 29, 19]
    assert set(most(uncertain, 3) // 10) == {0}


def test_both_fills_up_where_rows_look_the_same() -> None:
    """Fewer looks than rows asked for: the next most uncertain rows follow, each once."""
    vectors = np.repeat(blobs(1, 1), 5, axis=0)
    found = spread_out(vectors, np.arange(10) / 10, 4, seed=0)
    assert len(set(found.tolist())) == 4
    assert {9, 4} <= set(found.tolist())


@pytest.mark.parametrize("by", ["uncertainty", "margin", "entropy", "diversity", "both"])
def test_small_pools_are_chosen_whole(by: By) -> None:
    """Asking for more than there is gives each row once."""
    vectors = directions(blobs(3, 2))
    found = choose(by, 50, vectors=vectors, uncertain=np.linspace(0, 1, 5), seed=0)
    assert sorted(found.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("by", ["diversity", "both"])
def test_the_seed_decides(by: By) -> None:
    """The same seed gives the same rows, another one others."""
    random = np.random.default_rng(0)
    vectors, uncertain = directions(random.standard_normal((400, 16)).astype(np.float32)), random.random(400)
    first, again, other = (
        choose(by, 10, vectors=vectors, uncertain=uncertain, seed=seed).tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert len(set(first)) == 10
    assert first != other


def test_without_a_classifier_only_diversity_works() -> None:
    """Nothing is uncertain where nothing is known."""
    with pytest.raises(ConfigError, match="--by both: nothing knows any label yet"):
        choose("both", 2, vectors=blobs(3, 3), uncertain=None, seed=0)


def test_directions_forget_scale() -> None:
    """Every row has length 1, a column that does not vary counts nothing."""
    vectors = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32) * (1, 100, 1, 0) + 5
    found = directions(vectors.astype(np.float32))
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert not found[:, 3].any()
