"""The probe is scikit-learn's standardised logistic regression, chosen on held-out rows, blind to everything else."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.features import pooled_features, rows_of
from tailtune.class_values import class_weights
from tailtune.features.backbone import Floats
from tailtune.features.store import Features, Indices
from tailtune.labels import LabelSet
from tailtune.methods.linear import Linear, fit_linear
from tailtune.methods.probe import (
    DEPTH_WORK,
    FEW_ROWS,
    PENALTIES,
    SCOUT,
    TINY,
    Candidate,
    HeldOut,
    Rows,
    _folds,
    choose_probe,
    one_standard_error,
    steady,
)
from tailtune.methods.scorers import Pooling, ProbeScorer, probabilities, score_features
from tailtune.methods.tasks import TOLERANCE


def blobs(rows: int, width: int, classes: int, *, seed: int = 0, spread: float = 1.5) -> tuple[Floats, Indices]:
    """Return overlapping clouds, one per class, in columns of very different sizes, and the classes in turn."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % classes
    centres = random.standard_normal((classes, width))
    cloud = centres[labels] + spread * random.standard_normal((rows, width))
    sizes = 10.0 ** random.uniform(-2, 2, width)
    return (sizes * cloud + 5 * sizes * random.standard_normal(width)).astype(np.float32), labels


def reference(
    vectors: Floats, labels: Indices, penalty: float, *, balanced: bool = False, tolerance: float = TOLERANCE
) -> Any:
    """Return scikit-learn's own pipeline, fitted in double precision."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weight = "balanced" if balanced else None
    model = LogisticRegression(C=penalty, max_iter=5000, tol=tolerance, class_weight=weight)
    return make_pipeline(StandardScaler(), model).fit(vectors.astype(np.float64), labels)


def inverse(labels: Indices) -> NDArray[np.float64]:
    """Return the weights that make all classes of ``labels`` weigh the same."""
    classes = int(labels.max()) + 1
    weights = class_weights("auto", LabelSet(names=tuple("abcd"[:classes])), labels)
    assert weights is not None
    return weights


def softmax(linear: Linear, vectors: Floats) -> NDArray[np.float64]:
    return probabilities(linear.scores(vectors))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_scikit_learns(classes: int, balanced: bool) -> None:
    """Probabilities equal StandardScaler + LogisticRegression to 1e-4, and those of its converged fit to 2e-3."""
    vectors, labels = blobs(330, 24, classes)
    learn = np.flatnonzero((labels > 0) | (np.arange(330) % 4 == 0))  # class 0 is rare, so that weights matter
    weights = inverse(labels[learn]) if balanced else None
    fitted = fit_linear(vectors[learn], labels[learn], penalty=0.1, classes=classes, weights=weights)
    for tolerance, apart in ((TOLERANCE, 1e-4), (1e-9, 2e-3)):
        expected = reference(vectors[learn], labels[learn], 0.1, balanced=balanced, tolerance=tolerance)
        np.testing.assert_allclose(softmax(fitted, vectors), expected.predict_proba(vectors), atol=apart)


def test_weights_turn_towards_the_rare_class() -> None:
    """Balanced weighting gives a class of one row in ten more probability, on average, than it has without."""
    vectors, labels = blobs(400, 8, 2, spread=4.0)
    learn = np.flatnonzero((labels == 1) | (np.arange(400) % 18 == 0))
    means = [
        softmax(fit_linear(vectors[learn], labels[learn], penalty=0.1, classes=2, weights=weights), vectors)[:, 0]
        for weights in (None, inverse(labels[learn]))
    ]
    assert means[1].mean() > means[0].mean() + 0.2


def test_weights_reach_what_settings_are_chosen_by() -> None:
    """Held-out fits, of the depth scan too, are weighted like the final one; held-out rows count alike all the same."""
    vectors, labels = blobs(300, 6, 2, spread=4.0)
    weights = np.array([5.0, 0.5])
    rows = rows_of(labels, train=200, validation=100, weights=weights)
    candidate = HeldOut(pooled_features({1: vectors}), rows, "last", work=0.0).candidate((1,), SCOUT)
    linear = fit_linear(vectors[:200], labels[:200], penalty=SCOUT, classes=2, weights=weights)
    expected = -np.log(softmax(linear, vectors[200:])[np.arange(100), labels[200:]])
    np.testing.assert_allclose(candidate.losses, expected, rtol=1e-5)
    plain = HeldOut(pooled_features({1: vectors}), replace(rows, weights=None), "last", work=0.0)
    assert np.abs(plain.candidate((1,), SCOUT).losses - candidate.losses).mean() > 0.1


def test_class_weights_are_inverse_to_the_counts() -> None:
    """The weights of training rows average to 1, and each class weighs the same in all."""
    labels = np.array([0] * 6 + [1] * 3 + [2])
    np.testing.assert_allclose(inverse(labels), [10 / 18, 10 / 9, 10 / 3])


@pytest.mark.parametrize("value", [0.0, 0.1, 3.3, 1000.1])
def test_a_constant_column_is_ignored(value: float) -> None:
    """A column that never changes gets no say, even where a new text differs there."""
    vectors, labels = blobs(5000, 6, 2)
    plain = fit_linear(vectors, labels, penalty=0.1, classes=2)
    vectors = np.column_stack((vectors, np.full(len(vectors), value, dtype=np.float32)))
    fitted = fit_linear(vectors, labels, penalty=0.1, classes=2)
    expected = softmax(plain, vectors[:, :6])
    np.testing.assert_allclose(softmax(fitted, vectors), expected, atol=1e-3)
    vectors[:, 6] += 0.01 * (1.0 + value)
    np.testing.assert_allclose(softmax(fitted, vectors), expected, atol=1e-2)


def test_columns_far_from_zero_are_standardised() -> None:
    """A column with a mean a thousand times its spread, as decoders have some, is used like any other."""
    vectors, labels = blobs(5000, 6, 2)
    vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    plain = fit_linear(vectors, labels, penalty=0.1, classes=2)
    fitted = fit_linear(vectors + np.float32(1000.0), labels, penalty=0.1, classes=2)
    np.testing.assert_allclose(softmax(fitted, vectors + np.float32(1000.0)), softmax(plain, vectors), atol=2e-3)


@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_class_without_rows_gets_next_to_nothing(present: list[int]) -> None:
    """The other classes are fitted as without it."""
    vectors, labels = blobs(300, 5, 4)
    learn = np.flatnonzero(np.isin(labels, present))
    fitted = fit_linear(vectors[learn], labels[learn], penalty=0.1, classes=4)
    got = softmax(fitted, vectors[learn])
    absent = [number for number in range(4) if number not in present]
    assert got[:, absent].max() < 1e-9
    expected = reference(vectors[learn], labels[learn], 0.1).predict_proba(vectors[learn])
    np.testing.assert_allclose(got[:, present], expected, atol=1e-4)


@pytest.fixture
def two_depths() -> tuple[Features, Rows]:
    shallow, labels = blobs(150, 8, 3, seed=1)
    deep, _ = blobs(150, 8, 3, seed=2)
    return pooled_features({2: shallow, 5: deep}), rows_of(labels, train=90, validation=30)


@pytest.mark.parametrize("pooling", ["last", "mean", "last+mean"])
def test_depths_are_averaged(two_depths: tuple[Features, Rows], pooling: Pooling) -> None:
    """A probe cut at the upper depth scores the mean of one logistic regression per depth, fitted on training rows."""
    features, rows = two_depths
    probe, chosen, _ = choose_probe(features, rows, depths=(2, 5), pooling=pooling)
    scores = []
    for depth in (2, 5):
        vectors = {
            "last": features.pooled(depth)[:, 0],
            "mean": features.pooled(depth)[:, 1],
            "last+mean": features.pooled(depth).reshape(150, 16),
        }[pooling]
        linear = fit_linear(vectors[rows.train], rows.labels[rows.train], penalty=chosen.penalty, classes=3)
        scores.append(linear.scores(vectors))
    assert (probe.depths, chosen.depths, probe.depth) == ((2, 5), (2, 5), 5)
    np.testing.assert_allclose(score_features(probe, features, np.arange(150)), np.mean(scores, axis=0), atol=1e-5)


def test_what_was_tried_is_told(two_depths: tuple[Features, Rows]) -> None:
    """Every penalty at the depths given; the best of them is taken."""
    features, rows = two_depths
    told: list[tuple[int, int]] = []
    _, chosen, tried = choose_probe(
        features,
        rows,
        depths=(2, 5),
        pooling="last",
        progress=lambda stage, done, total, unit: told.append((done, total)),
    )
    assert [(c.depths, c.penalty) for c in tried] == [((2, 5), penalty) for penalty in PENALTIES]
    assert SCOUT in PENALTIES
    assert chosen.loss == min(c.loss for c in tried)
    assert told == [(done, len(tried)) for done in range(1, len(tried) + 1)]
    assert chosen.as_json() == {
        "candidate": "probe",
        "depth": 5,
        "penalty": chosen.penalty,
        "rows": 120,
        "loss": chosen.loss,
        "accuracy": chosen.correct.mean(),
    }


def test_held_out_losses_are_those_of_held_out_fits(two_depths: tuple[Features, Rows]) -> None:
    """Each row's loss comes from a regression that never saw its fold."""
    features, rows = two_depths
    _, _, (tried, *_) = choose_probe(features, rows, depths=(2,), pooling="last")
    vectors, expected = features.pooled(2)[:, 0], []
    for learn, judge in _folds(rows, 8, DEPTH_WORK):
        assert not set(learn) & set(judge)
        own = reference(vectors[learn], rows.labels[learn], tried.penalty).predict_proba(vectors[judge])
        expected.append(-np.log(own[np.arange(len(judge)), rows.labels[judge]]))
    np.testing.assert_allclose(tried.losses, np.concatenate(expected), atol=2e-3)


def candidate(depth: int, losses: list[float]) -> Candidate:
    values = np.array(losses)
    return Candidate(depths=(depth,), penalty=0.1, losses=values, correct=values < 0.5)


def test_one_standard_error_prefers_the_shallowest_that_is_as_good() -> None:
    """Depth 1 is worse row by row beyond the error; depth 2 is within it; depth 3 is the best; order plays no part."""
    best = candidate(3, [0.1, 0.2, 0.3, 0.4])
    within = candidate(2, [0.3, 0.1, 0.2, 0.5])  # +0.2 -0.1 -0.1 +0.1: mean 0.025, error 0.065
    beyond = candidate(1, [0.2, 0.3, 0.4, 0.5])  # +0.1 on every row: mean 0.1, error 0
    assert one_standard_error([beyond, within, best]) is within
    assert one_standard_error([best, within, beyond]) is within
    assert one_standard_error([beyond, best]) is best
    assert one_standard_error([beyond]) is beyond


def test_few_rows_take_the_usual_depth_among_those_as_good() -> None:
    """The nearest to it within one error; with rows enough, or where the usual one is worse, nothing changes."""
    random = np.random.default_rng(0)
    noise = random.random((3, FEW_ROWS))

    def three(rows: int) -> list[Candidate]:
        depths = zip((3, 9, 15), noise[:, :rows], strict=True)
        return [candidate(depth, (losses - losses.mean() + 1.0).tolist()) for depth, losses in depths]

    assert [steady(three(FEW_ROWS - 1), usual=usual).depth for usual in (1, 3, 8.4, 9, 30)] == [3, 3, 9, 9, 15]
    assert steady(three(FEW_ROWS), usual=9).depth == 3
    shallow, worse = candidate(3, [0.1, 0.2, 0.3]), candidate(9, [0.2, 0.3, 0.5])
    assert steady([shallow, worse], usual=9) is shallow


def test_the_error_is_that_of_the_difference() -> None:
    """Losses that vary much from row to row but agree between candidates leave little error."""
    best = candidate(2, [0.0, 5.0, 0.0, 5.0])
    worse = candidate(1, [0.1, 5.1, 0.1, 5.2])
    assert one_standard_error([worse, best]) is best


def test_folds_keep_groups_together() -> None:
    """Groups stay whole, each row is judged once, and no row outside the parts is seen."""
    groups = np.repeat(np.arange(40), 3)
    rows = Rows(
        train=np.arange(0, 80),
        validation=np.arange(80, 100),
        labels=groups % 2,
        groups=groups,
        classes=2,
    )
    folds = list(_folds(rows, 8, DEPTH_WORK))
    assert len(folds) == 5
    for learn, judge in folds:
        assert not set(groups[learn]) & set(groups[judge])
        assert sorted([*learn, *judge]) == list(range(100))
    assert sorted(np.concatenate([judge for _, judge in folds])) == list(range(100))


@pytest.mark.parametrize("why", ["work", "tiny class"])
def test_validation_alone_judges_where_folding_is_dear_or_impossible(why: str) -> None:
    """Above the work limit, and when a class has fewer groups than folds, the two parts serve as they are."""
    labels, most = np.arange(100) % 2, 8 * 100 - 1.0
    if why == "tiny class":
        labels, most = np.array([0] * 96 + [1] * 4)[np.random.default_rng(0).permutation(100)], DEPTH_WORK
    rows = rows_of(labels, train=60, validation=TINY)
    ((learn, judge),) = _folds(rows, 8, most)
    assert np.array_equal(learn, rows.train)
    assert np.array_equal(judge, rows.validation)


def test_a_tiny_validation_part_does_not_judge_alone() -> None:
    """With two to four groups of a class all rows are folded; with one the validation part is all there is."""
    labels = np.array([0] * 20 + [1] * 3)[np.random.default_rng(0).permutation(23)]
    folds = list(_folds(rows_of(labels, train=16, validation=7), 8, DEPTH_WORK))
    assert len(folds) == 3
    assert sorted(np.concatenate([judge for _, judge in folds])) == list(range(23))
    ((learn, judge),) = _folds(rows_of([0] * 22 + [1], train=16, validation=7), 8, DEPTH_WORK)
    assert (len(learn), len(judge)) == (16, 7)


def test_without_validation_the_training_rows_are_folded() -> None:
    """As many folds as the smallest class has groups; with a single one the rows judge themselves."""
    three = rows_of([0] * 20 + [1] * 3, train=23, validation=0)
    assert sorted(np.concatenate([judge for _, judge in _folds(three, 8, DEPTH_WORK)])) == list(range(23))
    assert len(list(_folds(three, 8, DEPTH_WORK))) == 3
    one = rows_of([0] * 20 + [1], train=21, validation=0)
    ((learn, judge),) = _folds(one, 8, DEPTH_WORK)
    assert np.array_equal(learn, judge)


def bytes_of(probe: ProbeScorer) -> list[bytes]:
    return [part.tobytes() for part in (probe.mean, probe.scale, probe.weight, probe.bias)]


def test_rows_of_neither_part_change_nothing(two_depths: tuple[Features, Rows]) -> None:
    """Poisoned labels, groups and vectors of the test rows leave the probe as it was, byte for byte."""
    features, rows = two_depths
    first = choose_probe(features, rows, depths=(2, 5), pooling="last+mean")
    poisoned = {depth: features.pooled(depth)[:, 0].copy() for depth in (2, 5)}
    for vectors in poisoned.values():
        vectors[120:] = 1e6
    labels, groups = rows.labels.copy(), rows.groups.copy()
    labels[120:], groups[120:] = (labels[120:] + 1) % 3, 0
    other = Rows(train=rows.train, validation=rows.validation, labels=labels, groups=groups, classes=3)
    again = choose_probe(pooled_features(poisoned), other, depths=(2, 5), pooling="last+mean")
    assert bytes_of(again[0]) == bytes_of(first[0])
    assert [c.loss for c in again[2]] == [c.loss for c in first[2]]


def test_a_fit_cut_short_is_no_warning() -> None:
    """A regression that 300 steps do not finish is good enough to choose by, and nobody is told."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((60, 2)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_linear(vectors, (vectors[:, 0] > 0).astype(np.int64), penalty=1e9, classes=2)
    assert np.isfinite(fitted.weight).all()


def test_heavy_rows_choose_the_penalty_at_the_cut(
    two_depths: tuple[Features, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then one candidate per penalty reads the cut alone; what is kept reads all depths, with the best penalty."""
    features, rows = two_depths
    monkeypatch.setattr("tailtune.methods.probe.HEAVY_WORK", 0.0)
    scorer, chosen, tried = choose_probe(features, rows, depths=(2, 5), pooling="mean", penalties=PENALTIES)
    assert [candidate.depths for candidate in tried] == [(5,)] * len(PENALTIES) + [(2, 5)]
    assert chosen is tried[-1]
    assert chosen.penalty == min(tried[:-1], key=lambda candidate: candidate.loss).penalty
    assert scorer.depths == (2, 5)
