"""The section on the ladder: a row per rung, from whatever numbers are there; no texts get through as markup."""

from __future__ import annotations

from typing import Any

from support.run_metrics import run_metrics
from tailtune.report.blocks import Table
from tailtune.report.ladder import ladder
from tailtune.report.markdown import render_report
from tailtune.report.page import render_page

METRICS, _ = run_metrics()
RUNG: dict[str, Any] = {
    "rung": "probe",
    "title": "probe at depth 18",
    "taken": True,
    "why": "the lowest rung",
    "judged_on": "folds",
    "rows": 1194,
    "loss": 0.04583,
    "accuracy": 0.979,
    "gain": None,
    "gain_error": None,
    "seconds": 14.2,
    "foreseen": None,
}
BLEND = {**RUNG, "title": "a blend", "gain": 0.0032, "gain_error": 0.003, "taken": False, "why": "not better"}
SKIPPED: dict[str, Any] = {
    **dict.fromkeys(RUNG),
    "rung": "full",
    "title": "all weights trained",
    "taken": False,
    "why": "about 9 min foreseen, 5 s left",
    "rows": 0,
    "foreseen": 540.0,
}


def metrics(*rungs: dict[str, Any], seconds: float | None = None) -> dict[str, Any]:
    return {**METRICS, "ladder": {"rule": "in doubt the simpler stays", "seconds_allowed": seconds, "rungs": [*rungs]}}


def test_each_rung_is_a_row() -> None:
    """Scores, gain with its error, seconds and foreseen ones, outcome and reason; what stands is set off."""
    section = ladder(metrics(RUNG, BLEND, SKIPPED))
    assert section is not None
    assert "in doubt the simpler stays" in section.lead
    assert "Without --time no more than one block is trained." in section.lead
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert table.strong == 0
    assert list(table.rows[1]) == [
        *("a blend", "0.0458", "97.90 %", "+0.0032 ± 0.0030", "1,194 held out in folds", "14.2", "-"),
        "not taken: not better",
    ]
    assert list(table.rows[2]) == [
        *("all weights trained", "-", "-", "-", "-", "-", "540.0"),
        "not tried: about 9 min foreseen, 5 s left",
    ]
    timed = ladder(metrics(RUNG, seconds=1800.0))
    assert timed is not None
    assert "1,800 seconds were allowed" in timed.lead


def test_no_rungs_no_section() -> None:
    """A run of one method has none, nor has a damaged record."""
    assert ladder({}) is None
    assert ladder(metrics()) is None
    assert ladder({"ladder": {"rungs": [{"title": "no reason"}, "no mapping"]}}) is None
    assert "The ladder" not in render_report(METRICS)


def test_both_reports_show_it_escaped() -> None:
    """The name of a model is somebody else's text."""
    hostile = {**RUNG, "title": "<script>alert(1)</script> | *probe*"}
    for page in (render_report(metrics(hostile)), render_page(metrics(hostile))):
        assert "The ladder" in page
        assert "<script>alert" not in page
        assert "97.90 %" in page
