"""The section on long texts: how many, whether they fare worse, and what that does not show."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from support.run_metrics import run_metrics
from tailtune.report.blocks import Table
from tailtune.report.long import limit_line, long_line, long_texts
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page


def with_long(*, kind: str = "truncate-tail", difference: str = "worse", others: bool = True) -> dict[str, Any]:
    metrics: dict[str, Any] = copy.deepcopy(run_metrics()[0])
    scores = {"rows": 40, "accuracy": 0.9, "interval": [0.77, 0.96], "log_loss": 0.3, "log_loss_interval": [0.1, 0.5]}
    gap = {"accuracy": -0.08, "interval": [-0.2, -0.01], "kind": difference}
    metrics["detail"]["long"] = {
        "limit": 1024,
        "kind": kind,
        **({"stride": 512, "merge": "mean"} if kind == "windows" else {}),
        "parts": {
            "train": {"rows": 3902, "longer": 500, "windows": 3902},
            "validation": {"rows": 557, "longer": 0, "windows": 557},
            "test": {"rows": 300, "longer": 40, "windows": 300},
        },
        "test": {
            "longer": scores,
            "others": {**scores, "rows": 260, "accuracy": 0.98} if others else None,
            "difference": gap if others else None,
        },
    }
    return metrics


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncate-tail", "their end was not read"),
        ("truncate-head", "their beginning was not read"),
        ("windows", "they were read in several windows"),
    ],
)
def test_both_reports_say_what_was_not_read(kind: str, said: str) -> None:
    """In words, with both accuracies, the difference and its interval, and a warning about the length itself."""
    metrics = with_long(kind=kind)
    for page in (render_report(metrics), render_page(metrics)):
        assert f"40 of 300 test texts are longer than the 1,024 tokens read at once: {said}." in page
        assert "They fare worse: accuracy 90.00 % against 98.00 %, -8.0 points (-20.0 to -1.0)." in page.replace(
            "\\", ""
        )
        assert "Long texts may differ in other ways too" in page
        assert "12.81 %" in page


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    """No verdict without an interval that leaves out 0, and none without texts to compare with."""
    even = long_line(with_long(difference="not distinguishable"))
    assert "They are not distinguishable from the others: accuracy" in even
    assert "They fare better" in long_line(with_long(difference="better"))
    alone = long_line(with_long(others=False))
    assert alone.endswith("There are no others to compare them with.")
    section = long_texts(with_long(others=False))
    assert section is not None
    assert len([block for block in section.blocks if isinstance(block, Table)]) == 2


def test_without_long_texts_there_is_no_section() -> None:
    """As with the metrics of earlier versions."""
    metrics = with_long()
    for each in metrics["detail"]["long"]["parts"].values():
        each["longer"] = 0
    metrics["detail"]["long"]["test"]["longer"] = None
    assert long_texts(metrics) is None
    assert long_line(metrics) == ""
    del metrics["detail"]["long"]
    assert long_texts(metrics) is None
    assert (long_line(metrics), limit_line(metrics)) == ("", "")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncate-tail", "Of texts longer than 1,024 tokens the end is not read."),
        ("truncate-head", "Of texts longer than 1,024 tokens the beginning is not read."),
        (
            "windows",
            "Of texts longer than 1,024 tokens all is read, in windows that start every 512 tokens; merged: mean.",
        ),
    ],
)
def test_the_model_card_says_what_becomes_of_long_texts(kind: str, said: str) -> None:
    """Whoever is handed the bundle reads it there."""
    assert said in model_card(with_long(kind=kind))
