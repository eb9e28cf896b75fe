"""Readings in words: once, again, partly, unknown; and what an evaluation shares with the run's own rows."""

from __future__ import annotations

from typing import Any

from support.run_metrics import run_metrics
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.report.reading import again_line, overlap_lines, reading_line

EARLIER = [
    {"date": "2026-01-01T00:00:00+00:00", "run": "a-run", "purpose": "train", "share": 1.0},
    {"date": "2026-01-02T00:00:00+00:00", "run": "b-run", "purpose": "train", "share": 0.92},
]
BEST = {"choices": 3, "optimism": 0.0123, "interval": [0.9, 0.96]}


def _metrics(**reading: Any) -> dict[str, Any]:
    known = {"nth": 1, "choices": 1, "recorded": True, "earlier": [], "partial": {"readings": 0, "largest_share": 0}}
    return {"test": {"rows": 300, "read_at": "2026-01-03T00:00:00+00:00", "reading": {**known, **reading}}}


def test_a_first_reading_is_said_as_far_as_it_is_known() -> None:
    """Once, and what the machine knows; nothing of earlier ones where the ledger could not be had."""
    assert reading_line(_metrics()).endswith("no earlier reading of them is known on this machine.")
    assert "machine" not in reading_line(_metrics(recorded=False))
    old = {"test": {"read_at": "then"}}
    assert reading_line(old) == "The test rows were read once, at then, after every choice was made."
    assert (reading_line({"test": {}}), again_line(_metrics())) == ("", "")


def test_a_third_reading_names_the_last_one_the_shares_and_the_worth() -> None:
    """How often, when, by whom, how much of it, and by how much the best of three is overrated."""
    line = again_line(_metrics(nth=3, choices=3, earlier=EARLIER, best_of=BEST))
    assert "read 2 times before on this machine (last 2026-01-02T00:00:00+00:00 by b-run; 92 to 100 % of them" in line
    assert "the best of 3 settings" in line
    assert "up to about 1.23 points" in line
    assert "90.0 to 96.0 %" in line


def test_partial_readings_are_told_by_their_share() -> None:
    """Two earlier readings of less than half of the rows."""
    assert again_line(_metrics(partial={"readings": 2, "largest_share": 0.3})).endswith(
        "a part of them: 2, up to 30 %."
    )


def test_every_report_says_it() -> None:
    """report.md, report.html and the model card tell of the second reading, a hostile run name escaped."""
    metrics, _ = run_metrics()
    hostile = [{**EARLIER[0], "run": "<script>|`x"}]
    metrics["test"] |= _metrics(nth=2, choices=2, earlier=hostile, best_of=BEST)["test"]
    for page in (render_report(metrics), model_card(metrics), render_page(metrics)):
        assert "They had been read 1 time before" in page
        assert "<script>|" not in page


def test_an_overlap_is_a_leak_or_no_new_evidence() -> None:
    """Training rows flatter, test rows are nothing new, and parts without a common row are not named."""
    lines = overlap_lines({"test": {"rows": 100}, "overlap": {"train": 3, "validation": 0, "test": 97}})
    assert [line.split(" rows ")[0] for line in lines] == ["3 of 100", "97 of 100"]
    assert "a leak" in lines[0]
    assert "no new evidence" in lines[1]
    assert overlap_lines({"test": {"rows": 1}}) == []
