"""The weighted sum of several classifiers, and the weights that held-out rows give them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from support.classifiers import ngram_member
from tailtune.methods.blend import FLOOR, Blend, Doubles, normalised
from tailtune.methods.blending import PULL, fit_weights, held_out_loss
from tailtune.methods.scorers import probabilities
from tailtune.methods.tasks import task_of

LETTERS, WORDS = ngram_member("char"), ngram_member("word")


def some(*, seed: int, rows: int = 40, classes: int = 3) -> Doubles:
    return np.random.default_rng(seed).standard_normal((rows, classes)) * 2


@pytest.mark.parametrize("several", [False, True])
def test_all_weight_on_the_own_scorer_is_the_own_scorer(several: bool) -> None:
    """Its probabilities, whatever the others say, or where they say nothing."""
    blend = Blend(weights=(1.0, 0.0, 0.0), members=(LETTERS, WORDS), several=several)
    own = some(seed=1)
    for others in ([some(seed=2), some(seed=3)], [None, None]):
        mixed = blend.mixed(own, others)
        np.testing.assert_allclose(
            probabilities(mixed, several=several), probabilities(own, several=several), atol=1e-12
        )


def test_log_probabilities_are_summed_not_scores() -> None:
    """A constant added to the scores of a text changes nothing; an impossible class is the floor, not the end."""
    blend = Blend(weights=(0.5, 0.5), members=(LETTERS,))
    own, other = some(seed=1), some(seed=2)
    np.testing.assert_allclose(blend.mixed(own + 100.0, [other]), blend.mixed(own, [other - 7.0]), atol=1e-9)
    other[:, 0] = -np.inf
    mixed = blend.mixed(own, [other])
    assert np.isfinite(mixed).all()
    np.testing.assert_allclose(mixed[:, 0], 0.5 * normalised(own, several=False)[:, 0] + 0.5 * FLOOR)


def test_scores_of_labels_are_summed_each_by_itself() -> None:
    """Infinite ones, of labels that every text or none has, are cut off."""
    blend = Blend(weights=(0.5, 2.0), members=(LETTERS,), several=True)
    mixed = blend.mixed(np.array([[1.0, -2.0, 0.0]]), [np.array([[0.5, np.inf, -np.inf]])])
    assert mixed.tolist() == [[1.5, -1.0 - 2 * FLOOR, 2 * FLOOR]]


def test_a_blend_says_what_it_is() -> None:
    """In words, parts without weight left out; by one word, the only part's own where there is one."""
    both = Blend(weights=(0.613, 0.4), members=(LETTERS,))
    assert both.said("probe at depth 18") == "0.61 probe at depth 18 + 0.4 character n-grams"
    assert (both.method, both.own) == ("blend", True)
    alone = Blend(weights=(0.0, 0.0, 1.0), members=(LETTERS, WORDS))
    assert (alone.method, alone.own, alone.said("nothing")) == ("ngrams", False, "word n-grams")
    assert Blend(weights=(0.0, 1.0, 1.0), members=(LETTERS, WORDS)).method == "blend"


@pytest.mark.parametrize("weights", [(1.0,), (1.0, -0.1), (np.nan, 1.0), (np.inf, 1.0), (0.0, 0.0), (1.0, 1.0, 1.0)])
def test_weights_that_make_no_sense_are_refused(weights: tuple[float, ...]) -> None:
    """One per classifier, none negative or infinite, not all 0."""
    with pytest.raises(ValueError, match="weights"):
        Blend(weights=weights, members=(LETTERS,))


def made(*, several: bool, rows: int = 300) -> tuple[list[Doubles], np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Scores of three classifiers: two that know something of the truth, in their own ways, and one that knows none."""
    random = np.random.default_rng(7)
    truth = random.integers(0, 3, rows)
    labels = (random.random((rows, 3)) < 0.4).astype(np.int64) if several else truth
    flags = labels if several else np.eye(3)[truth]
    known = 3.0 * flags - 1.0
    scores = [known + 2.0 * random.standard_normal((rows, 3)), 2 * known + 5.0 * random.standard_normal((rows, 3))]
    return [*scores, random.standard_normal((rows, 3))], labels


@pytest.mark.parametrize("several", [False, True])
def test_weights_are_the_best_of_a_grid(several: bool) -> None:
    """No point of a fine grid beside them, and none of a coarse grid over everything, has a lower loss."""
    scores, labels = made(several=several)
    task, rows = task_of(labels), len(labels)

    def cost(weights: tuple[float, ...]) -> float:
        pull = PULL * sum((weight - 1 / 3) ** 2 for weight in weights) / rows
        return held_out_loss(weights, scores, labels, task) + pull

    found = fit_weights(scores, labels, task)
    assert found == fit_weights(scores, labels, task)
    assert min(found) >= 0
    assert found[2] < 0.1 < found[1] < found[0]
    least = cost(found)
    near = itertools.product(*((max(0.0, weight + step) for step in (-0.01, 0.0, 0.01)) for weight in found))
    far = itertools.product(np.linspace(0, 1.5, 7), repeat=3)
    assert min(cost(weights) for weights in (*near, *far)) >= least - 1e-12


def test_what_the_others_make_superfluous_gets_nothing() -> None:
    """One that says the opposite of what a good one says, which is too modest: exactly 0."""
    labels = np.arange(300) % 2
    modest = 0.2 * np.eye(2)[labels] + 0.05 * np.random.default_rng(3).standard_normal((300, 2))
    found = fit_weights([modest, -modest], labels, task_of(labels))
    assert found[1] == 0.0 < found[0]


def test_weights_have_an_end() -> None:
    """Of rows that are told apart without a fault, of two equal classifiers, and of a class that cannot be."""
    labels = np.arange(30) % 3
    sure = 8.0 * np.eye(3)[labels]
    found = fit_weights([sure, sure], labels, task_of(labels))
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert 0.4 < found[0] < 3
    impossible = np.where(np.eye(3)[labels] == 1, -np.inf, 0.0)
    assert np.isfinite(fit_weights([sure, impossible], labels, task_of(labels))).all()
