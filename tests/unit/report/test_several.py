"""The sections on several labels per text: what they show, what is missing leaves out, and nothing breaks the page."""

from __future__ import annotations

from support.run_metrics import HOSTILE, run_metrics
from support.several_metrics import several_metrics
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.report.several import headline, rule_line, sections


def test_every_section_has_its_numbers() -> None:
    """Baselines, labels, pairs, worst errors, ranking and calibration, in this order, with thresholds and intervals."""
    metrics, worst = several_metrics()
    found = sections(metrics, worst)
    assert [section.name for section in found] == ["baselines", "labels", "pairs", "worst", "ranking", "calibration"]
    text = str(found)
    for wanted in ("0.250", "never", "missed", "given instead", "20", "no label", "Log loss 0.5000 before calibration"):
        assert wanted in text, wanted
    names = [figure["name"] for figure in headline(metrics)]
    assert names[:3] == ["micro F1", "macro F1", "mean average precision"]
    assert all(figure["note"] for figure in headline(metrics))
    assert rule_line(metrics) == (
        "labels: for each label the best; calibration by label: none 2, temperature 1, on 50 rows"
    )


def test_pages_hold_them_and_nothing_breaks_out() -> None:
    """Hostile label names and texts are text; the sections of one label per text are left out."""
    metrics, worst = several_metrics()
    page, report, card = render_page(metrics, worst), render_report(metrics), model_card(metrics)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Wrong: called <b><bdi>no label</bdi></b>, is <b><bdi>joy</bdi></b> <span" in page
    assert "Confusions" not in page + report
    assert "## Each label" in report
    assert "a&#124;b" in report
    assert "<script>" not in report + card
    assert HOSTILE[0] not in report
    assert "name: Micro F1" in card
    assert "- accuracy" not in card


def test_one_label_per_text_has_none_of_it() -> None:
    """And what is missing leaves out its section."""
    metrics, _ = run_metrics()
    assert not sections(metrics)
    assert not headline(metrics)
    assert rule_line(metrics) == ""
    bare, _ = several_metrics()
    for key in ("detail", "baselines", "label_rules"):
        bare.pop(key)
    assert [section.name for section in sections(bare)] == ["labels", "pairs"]
