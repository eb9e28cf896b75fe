"""Calibration error and Brier score: their 95 % intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.metrics import brier_rows, confidence_bins
from tailtune.evaluate.reliability import calibration_intervals, ece_interval, reliability
from tailtune.rules import Doubles, softmax

Ids = NDArray[np.int64]


def drawn(rows: int, *, sharpness: float, random: np.random.Generator) -> tuple[Doubles, Ids, Doubles]:
    """Return stated probabilities, true classes and true probabilities of two classes."""
    score = random.normal(scale=1.5, size=rows)
    true = softmax(np.stack([np.zeros(rows), score], axis=1))
    truth = (random.random(rows) < true[:, 1]).astype(np.int64)
    return softmax(np.stack([np.zeros(rows), sharpness * score], axis=1)), truth, true


def true_error(sharpness: float) -> tuple[float, float]:
    """Return calibration error and Brier score of a million rows, with expectations in place of outcomes."""
    stated, _, true = drawn(1_000_000, sharpness=sharpness, random=np.random.default_rng(99))
    best = stated.argmax(axis=1)
    gaps = true[np.arange(len(best)), best] - stated.max(axis=1)
    ece = np.abs(np.bincount(confidence_bins(stated.max(axis=1)), weights=gaps)).sum() / len(best)
    brier = (true[:, 1] * stated[:, 0] ** 2 + true[:, 0] * stated[:, 1] ** 2).mean()
    return float(ece), float(brier)


@pytest.mark.parametrize("sharpness", [1.0, 1.3, 2.0])
def test_intervals_cover_as_often_as_they_say(sharpness: float) -> None:
    """300 rows, 1,000 sets: 95 % intervals of Brier score and calibration error hold the truth in 93 to 97 %."""
    random = np.random.default_rng(4)
    ece, brier = true_error(sharpness)
    if sharpness == 1.0:
        ece = 0.0
    held = np.zeros(2)
    for trial in range(1000):
        stated, truth, _ = drawn(300, sharpness=sharpness, random=random)
        found = calibration_intervals(truth, stated, seed=trial)
        pairs = ((ece, found["ece_interval"]), (brier, found["brier_interval"]))
        held += [low <= value <= high for value, (low, high) in pairs]
    covered = held / 1000
    assert 0.93 <= covered[1] <= 0.97, covered
    assert 0.93 <= covered[0] <= 0.975, covered  # at a true error of 0 only one end can miss it


def test_the_interval_holds_the_measured_error_of_clear_gaps() -> None:
    """Where the gaps are far from chance, the measured error lies inside and 0 outside."""
    random = np.random.default_rng(1)
    stated, truth, _ = drawn(2000, sharpness=3.0, random=random)
    confidence, correct = stated.max(axis=1), stated.argmax(axis=1) == truth
    gaps = np.bincount(confidence_bins(confidence), weights=correct - confidence)
    measured = np.abs(gaps).sum() / len(truth)
    low, high = ece_interval(confidence, correct, random=random)
    assert 0 < low < measured < high < 1


@pytest.mark.parametrize("rows", [1, 7, 205])
def test_bins_hold_each_row_once(rows: int) -> None:
    """Ten bins or as many as rows, of sizes that differ by one at most, by rising confidence, with Wilson intervals."""
    stated, truth, _ = drawn(rows, sharpness=1.0, random=np.random.default_rng(rows))
    bins = reliability(truth, stated)
    sizes = [one["rows"] for one in bins]
    assert len(bins) == min(10, rows)
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1
    confidences = [one["confidence"] for one in bins]
    assert confidences == sorted(confidences)
    assert all(one["interval"][0] <= one["accuracy"] <= one["interval"][1] for one in bins)
    right = sum(one["accuracy"] * one["rows"] for one in bins)
    assert right == pytest.approx((stated.argmax(axis=1) == truth).sum())


def test_brier_rows_of_certain_answers() -> None:
    """0 when right, 1 when wrong."""
    assert brier_rows(np.array([0, 1]), np.eye(3)[[0, 2]]).tolist() == [0.0, 1.0]


def test_the_same_seed_gives_the_same_interval() -> None:
    """A run can be done again to the last digit."""
    stated, truth, _ = drawn(100, sharpness=1.0, random=np.random.default_rng(0))
    assert calibration_intervals(truth, stated, seed=3) == calibration_intervals(truth, stated, seed=3)
