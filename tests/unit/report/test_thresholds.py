"""What a threshold would have done, from the counts that a run keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tailtune.evaluate.operating import one_of, operating_curves
from tailtune.report.thresholds import threshold_lines, usual_label


def metrics(truth: list[int], spam: list[float]) -> dict[str, Any]:
    rows = np.column_stack([1 - np.array(spam), spam])
    curves = operating_curves(one_of(np.array(truth), 2), rows)
    return {"labels": ["ham", "spam"], "detail": {"thresholds": {"test": curves}, "ranking": {"positive": 1}}}


def test_counts_are_those_of_the_rows() -> None:
    """At, between, below and above the probabilities that there are."""
    truth, spam = [1, 1, 0, 1, 0, 0, 0, 0], [0.9, 0.8, 0.8, 0.4, 0.3, 0.2, 0.1, 0.1]
    found = metrics(truth, spam)
    for least in (0.95, 0.9, 0.85, 0.8, 0.5, 0.4, 0.05):
        called = np.array(spam) >= least
        true, false = int((called & (np.array(truth) == 1)).sum()), int((called & (np.array(truth) == 0)).sum())
        (line,) = threshold_lines(found, "spam", least)
        assert line.startswith("on 8 test rows: precision ")
        assert f"({true} of 3;" in line.partition("recall")[2]
        assert f"{10_000 * false / 8:,.0f} of 10,000 such texts called spam wrongly" in line
        precision = f"({true} of {true + false};" if true + false else "precision -,"
        assert precision in line


@pytest.mark.parametrize("given", [{}, {"labels": ["ham", "spam"]}, {"labels": ["ham"], "detail": {"thresholds": {}}}])
def test_without_counts_nothing_is_said(given: dict[str, Any]) -> None:
    """Runs of earlier versions, and bundles without metrics."""
    assert threshold_lines(given, "spam", 0.5) == []
    assert usual_label(given) is None


def test_the_label_that_a_threshold_is_about() -> None:
    """The one that the run ranks; other labels can be named."""
    found = metrics([1, 0], [0.9, 0.1])
    assert usual_label(found) == "spam"
    assert "called ham wrongly" in threshold_lines(found, "ham", 0.5)[0]
    assert threshold_lines(found, "eggs", 0.5) == []
