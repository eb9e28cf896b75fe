"""A run whose settings a sweep chose says so, and no other does."""

from __future__ import annotations

from support.run_metrics import run_metrics
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.report.swept import swept_line

METRICS, _ = run_metrics()
SWEPT = {**METRICS, "sweep": {"settings": 31, "varied": ["learning_rate", "blocks"]}}


def test_the_line_stands_in_every_report() -> None:
    """Among how many, which settings, and which numbers flatter for it."""
    line = swept_line(SWEPT)
    assert "chosen among 31 settings by a sweep on validation (varied: learning-rate, blocks)" in line
    assert "the validation scores flatter" in line
    for render in (render_report, render_page, model_card):
        assert "chosen among 31 settings by a sweep on validation" in render(SWEPT)
        assert "by a sweep" not in render(METRICS)


def test_what_is_missing_or_hostile_says_nothing() -> None:
    """A record of another version, and one with markup."""
    assert swept_line({}) == ""
    assert swept_line({"sweep": {"settings": "many"}}) == ""
    hostile = {**METRICS, "sweep": {"settings": 2, "varied": ["<script>alert(1)</script>"]}}
    assert "<script" not in render_page(hostile)
    assert "<script" not in render_report(hostile)
