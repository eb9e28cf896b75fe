"""Scores: worked examples, zero divisions, refusals, JSON. Parity on random rows is in tests/properties."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from tailtune.evaluate.metrics import ClassScores, correct_rows, macro_f1, score

# Ten rows, three classes; the third is never predicted.
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.6, 0.9, 0.5, 0.6, 0.5, 0.7, 0.8])


def _probabilities() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rest = (1 - CONFIDENCE) / 2
    probabilities = np.repeat(rest[:, None], 3, axis=1)
    probabilities[np.arange(10), PREDICTED] = CONFIDENCE
    return probabilities


def test_worked_example() -> None:
    """Counted by hand: 5 of 10 right, a never-predicted class scores 0 without an error or a warning."""
    scores = score(TRUE, _probabilities(), ["ham", "spam", "other"])
    assert scores.rows == 10
    assert scores.accuracy == 0.5
    assert scores.confusion == ((3, 1, 0), (1, 2, 0), (1, 2, 0))
    assert scores.per_class["ham"] == ClassScores(precision=0.6, recall=0.75, f1=6 / 9, support=4)
    assert scores.per_class["spam"] == ClassScores(precision=0.4, recall=2 / 3, f1=0.5, support=3)
    assert scores.per_class["other"] == ClassScores(precision=0, recall=0, f1=0, support=3)
    assert scores.macro_f1 == pytest.approx((6 / 9 + 0.5) / 3)
    assert scores.macro_f1 == macro_f1(TRUE, PREDICTED, 3)
    assert correct_rows(TRUE, _probabilities()).tolist() == (TRUE == PREDICTED).tolist()


def test_calibration_error_is_counted_bin_by_bin() -> None:
    """Confidences 0.5 0.6 0.7 0.8 0.9 fall in five bins of width 1/15; the error is the mean gap, by hand 0.24."""
    gaps = {0.5: (1, 2), 0.6: (0, 2), 0.7: (1, 2), 0.8: (1, 2), 0.9: (2, 2)}
    expected = sum(abs(right - rows * confidence) for confidence, (right, rows) in gaps.items()) / 10
    assert score(TRUE, _probabilities(), ["a", "b", "c"]).ece == pytest.approx(expected)
    assert expected == pytest.approx(0.24)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    """0.6 = 9/15 shares the bin of 0.55, and a certain row the last one."""
    probabilities = np.array([[0.6, 0.4], [0.55, 0.45], [1.0, 0.0]])
    assert score(np.array([1, 0, 0]), probabilities, ["a", "b"]).ece == pytest.approx(abs(1 - 1.15) / 3)


def test_a_certain_mistake_costs_a_finite_log_loss() -> None:
    """Probability 0 for the truth is taken as 2.2e-16: a loss of 36.04, not infinity; Brier score at its worst is 1."""
    scores = score(np.array([1]), np.array([[1.0, 0.0]]), ["a", "b"])
    assert scores.log_loss == pytest.approx(-math.log(np.finfo(np.float64).eps))
    assert scores.brier == 1


def test_of_equal_probabilities_the_first_class_is_taken() -> None:
    """A tie is decided by label order, so it is decided the same everywhere."""
    assert score(np.array([0, 1]), np.full((2, 2), 0.5), ["a", "b"]).confusion == ((1, 0), (1, 0))


def test_json_holds_plain_values_only() -> None:
    """The mapping survives JSON unchanged, with the keys that metrics.json promises."""
    written = score(TRUE, _probabilities(), ["ham", "spam", "other"]).as_json()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert list(written) == [
        "rows", "accuracy", "accuracy_interval", "macro_f1", "per_class", "confusion", "log_loss", "ece", "brier",
    ]  # fmt: skip
    assert written["per_class"]["spam"] == {"precision": 0.4, "recall": 2 / 3, "f1": 0.5, "support": 3}


@pytest.mark.parametrize(
    ("true_ids", "probabilities", "names", "complaint"),
    [
        ([], np.zeros((0, 2)), ["a", "b"], "n >= 1"),
        ([0.0], [[1.0, 0.0]], ["a", "b"], "want true ids int"),
        ([0, 1], [[1.0, 0.0]], ["a", "b"], r"want probabilities \[2, 2\]"),
        ([0], [[0.5, 0.3, 0.2]], ["a", "b"], r"want probabilities \[1, 2\]"),
        ([0], [[0.5, 0.5]], ["a", "a"], "distinct"),
        ([2], [[0.5, 0.5]], ["a", "b"], r"0\.\.1, got 2\.\.2"),
        ([-1], [[0.5, 0.5]], ["a", "b"], r"got -1\.\.-1"),
        ([0], [[math.nan, 0.5]], ["a", "b"], "finite"),
        ([0], [[1.5, -0.5]], ["a", "b"], ">= 0"),
        ([0], [[0.5, 0.49]], ["a", "b"], "sum to 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    true_ids: list[float], probabilities: object, names: list[str], complaint: str
) -> None:
    """Wrong shapes, ids, names and probabilities are a ValueError that says what was wanted."""
    with pytest.raises(ValueError, match=complaint):
        score(np.array(true_ids), np.array(probabilities), names)


def test_importing_the_metrics_loads_nothing_heavy() -> None:
    """Predicting and reporting must start fast: no scikit-learn, scipy or torch on import of evaluation and report."""
    modules = "metrics, intervals, baselines, verdict"
    code = f"import sys; from tailtune.evaluate import {modules}; import tailtune.report.markdown; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"sklearn", "scipy", "torch"} & set(loaded) == set()
    assert "tailtune.evaluate.baselines" in loaded
