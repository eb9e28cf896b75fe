"""Calibration: known temperatures come back, flexible fits do not win by overfitting, few rows do no harm."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.calibration import (
    FEWEST_ROWS,
    Method,
    calibrate,
    fit_isotonic,
    fit_temperature,
    fit_vector,
)
from tailtune.evaluate.metrics import score
from tailtune.rules import Doubles, softmax

Ids = NDArray[np.int64]


def drawn(
    rows: int, *, classes: int = 2, sharpness: float = 1.0, shift: float = 0.0, seed: int = 0, signal: float = 2.0
) -> tuple[Doubles, Ids]:
    """Return probabilities that are ``sharpness`` times too sure and shifted for the first class, and true classes."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(rows, classes))
    scores[np.arange(rows), random.integers(0, classes, rows)] += signal
    true = softmax(scores)
    truth = (true.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    stated = scores * sharpness
    stated[:, 0] += shift
    return softmax(stated), truth


def log_loss(probabilities: Doubles, truth: Ids) -> float:
    return score(truth, probabilities, [str(number) for number in range(probabilities.shape[1])]).log_loss


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 7])
def test_a_known_temperature_comes_back(temperature: float, classes: int) -> None:
    """5,000 rows whose scores were multiplied: the fit divides by the same number, to 10 %."""
    probabilities, truth = drawn(5000, classes=classes, sharpness=temperature)
    fitted = fit_temperature(probabilities, truth)
    assert len(set(fitted.scale)) == 1
    assert set(fitted.shift) == {0.0}
    assert 1 / fitted.scale[0] == pytest.approx(temperature, rel=0.1)


def test_vector_scaling_recovers_a_shift() -> None:
    """A class that is favoured by one nat is found out, up to a common constant."""
    probabilities, truth = drawn(8000, classes=3, shift=1.0)
    fitted = fit_vector(probabilities, truth)
    calibrated = fitted(probabilities)
    honest, _ = drawn(8000, classes=3)
    assert np.abs(calibrated - honest).mean() < 0.02
    assert np.abs(probabilities - honest).mean() > 0.08


def test_isotonic_curves_are_scikit_learns() -> None:
    """Up to Platt's targets and the slope of a thousandth the curve is scikit-learn's; the order of rows is kept."""
    from sklearn.isotonic import IsotonicRegression

    probabilities, truth = drawn(400, sharpness=2.0)
    yes, no = int((truth == 1).sum()), int((truth == 0).sum())
    wanted = np.where(truth == 1, (yes + 1) / (yes + 2), 1 / (no + 2))
    reference = IsotonicRegression(out_of_bounds="clip").fit(probabilities[:, 1], wanted)
    points, _ = drawn(1000, sharpness=2.0, seed=1)
    fitted = fit_isotonic(probabilities, truth)(points)[:, 1]
    np.testing.assert_allclose(fitted, 0.999 * reference.predict(points[:, 1]) + 0.001 * points[:, 1], atol=1e-6)
    order = np.argsort(points[:, 1])
    assert (np.diff(fitted[order]) >= 0).all()
    assert len(np.unique(fitted)) > 0.99 * len(np.unique(points[:, 1]))


def test_held_out_losses_are_scikit_learns_log_loss() -> None:
    """The losses that candidates are compared by are those of scikit-learn; "none" is judged on all rows."""
    from sklearn.metrics import log_loss as reference

    probabilities, truth = drawn(600, classes=4, sharpness=1.5)
    done = calibrate(probabilities, truth, np.arange(600))
    (none,) = (one for one in done.candidates if one.method == "none")
    assert none.loss == pytest.approx(reference(truth, probabilities, labels=range(4)), abs=1e-12)
    assert (none.gain, none.standard_error) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"rows": 1000}, {"none"}),
        ({"rows": 1000, "sharpness": 2.5}, {"temperature"}),
        ({"rows": 2000, "shift": 2.0}, {"vector", "isotonic"}),
    ],
)
def test_the_simplest_that_helps_is_taken(settings: dict[str, float], expected: set[str]) -> None:
    """None on calibrated rows, a temperature on sharpened ones, more where a class is favoured; in 8 of 10 draws."""
    chosen = []
    for seed in range(10):
        probabilities, truth = drawn(seed=seed, **settings)  # type: ignore[arg-type]
        chosen.append(calibrate(probabilities, truth, np.arange(len(truth))).method)
    assert sum(method in expected for method in chosen) >= 8, chosen


@pytest.mark.parametrize("rows", [60, 150])
@pytest.mark.parametrize("classes", [2, 5])
def test_few_rows_make_nothing_worse(rows: int, classes: int) -> None:
    """Calibrated probabilities, 30 fits on few rows: the log loss on 3,000 others rises by at most 1 % on average."""
    before, after = [], []
    for seed in range(30):
        probabilities, truth = drawn(rows, classes=classes, seed=seed)
        others, true_others = drawn(3000, classes=classes, seed=1000 + seed)
        step = calibrate(probabilities, truth, np.arange(rows)).step
        before.append(log_loss(others, true_others))
        after.append(log_loss(step(others) if step else others, true_others))
    assert np.mean(after) <= 1.01 * np.mean(before)


def test_no_wrong_row_does_not_mean_no_doubt() -> None:
    """100 rows, all right: no method says 0 or 1, and the temperature does not run away."""
    probabilities = np.tile([0.9, 0.1], (100, 1))
    truth = np.zeros(100, dtype=np.int64)
    for fit in (fit_temperature, fit_vector, fit_isotonic):
        calibrated = fit(probabilities, truth)(probabilities)
        assert 0.9 <= calibrated[0, 0] < 0.998


def test_below_fifty_rows_nothing_is_fitted() -> None:
    """None, and it says so; one by name is fitted all the same; without rows there is nothing to fit."""
    probabilities, truth = drawn(FEWEST_ROWS["temperature"] - 1, sharpness=4.0)
    groups = np.arange(len(truth))
    few = calibrate(probabilities, truth, groups)
    assert (few.method, few.step, few.reason) == ("none", None, "fewer than 50 validation rows")
    assert calibrate(probabilities, truth, groups, method="temperature").method == "temperature"
    empty = calibrate(probabilities[:0], truth[:0], groups[:0], method="temperature")
    assert (empty.method, empty.reason) == ("none", "no validation rows")


@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_a_method_can_be_had_by_name(method: Method) -> None:
    """As asked for, without a comparison."""
    probabilities, truth = drawn(300, classes=3)
    done = calibrate(probabilities, truth, np.arange(300), method=method)
    assert (done.method, done.reason, done.candidates) == (method, "as asked for", ())
    assert (done.step is None) == (method == "none")


def test_near_duplicates_share_a_fold() -> None:
    """Each row twice: with groups the copies cannot vouch for each other, and the standard error counts pairs."""
    probabilities, truth = drawn(300, sharpness=1.4)
    twice, both = np.repeat(probabilities, 2, axis=0), np.repeat(truth, 2)
    single = calibrate(probabilities, truth, np.arange(300))
    paired = calibrate(twice, both, np.repeat(np.arange(300), 2))
    for one, two in zip(single.candidates, paired.candidates, strict=False):
        assert two.standard_error == pytest.approx(one.standard_error, rel=0.25)


def test_classes_without_rows_do_no_harm() -> None:
    """A class that validation has no row of keeps a finite, positive probability under every method."""
    probabilities, truth = drawn(400, classes=4)
    truth = np.minimum(truth, 2)
    for fit in (fit_temperature, fit_vector, fit_isotonic):
        calibrated = fit(probabilities, truth)(probabilities)
        assert np.isfinite(calibrated).all()
        assert calibrated.min() > 0
