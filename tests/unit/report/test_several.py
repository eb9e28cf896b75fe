"""The sections on several labels per text: what they show, what is missing leaves out, and nothing breaks the page."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from support.run_metrics import HOSTILE, run_metrics
from tailtune.evaluate.label_intervals import Draws, scored_labels
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.report.several import headline, rule_line, sections

NAMES = ("joy", "<script>", "a|b")


def several() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return metrics of a run on several labels per text, with hostile label names, and its worst rows."""
    metrics, _ = run_metrics()
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (200, 3))
    shares = 1 / (1 + np.exp(-(3 * (truth - 0.5) + random.standard_normal((200, 3)))))
    scores = scored_labels(truth, shares, shares > 0.5, NAMES, Draws.of(np.arange(200), seed=0))
    kept = {key: value for key, value in scores.items() if key.startswith(("micro_f1", "macro_f1", "mean_", "log_"))}
    rules = {"threshold": 0.25, "rows": 9, "calibration": "none", "parameters": None}
    metrics |= {
        "labels": list(NAMES),
        "problem_type": "multi_label_classification",
        "test": {**scores, "read_at": "2026-01-02T03:04:05+00:00", "raw": {"log_loss": 0.5}},
        "baselines": {"word": {"title": "word TF-IDF", "seconds": 1.0, "converged": True, **kept}},
        "label_rules": {
            "rule": "for each label the best",
            "rows": 50,
            "calibrated": {"none": 2, "temperature": 1},
            "labels": {name: {**rules, "threshold": 2.0 if name == "a|b" else 0.25} for name in NAMES},
        },
        "detail": {
            "all_labels": {"average_precision": 0.8, "share": 0.5, "precision_recall": {"x": [0, 1], "y": [1, 0.5]}},
            "stated": [{"cells": 10, "stated": 0.1, "share": 0.2}],
            "together": [{"first": "joy", "second": "a|b", "rows": 7}],
            "instead": [{"first": "joy", "second": "<script>", "rows": 3}],
            "sets": [{"labels": 0, "rows": 20, "given": 30}],
            "milliseconds_per_text": 5.0,
        },
    }
    metrics.pop("calibration", None)
    worst = [
        {"row": at, "text": text, "labels": ["joy"], "predicted": [], "loss": 3.0} for at, text in enumerate(HOSTILE)
    ]
    read: dict[str, Any] = json.loads(json.dumps(metrics))
    return read, worst


def test_every_section_has_its_numbers() -> None:
    """Baselines, labels, pairs, worst errors, ranking and calibration, in this order, with thresholds and intervals."""
    metrics, worst = several()
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
    metrics, worst = several()
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
    bare, _ = several()
    for key in ("detail", "baselines", "label_rules"):
        bare.pop(key)
    assert [section.name for section in sections(bare)] == ["labels", "pairs"]
