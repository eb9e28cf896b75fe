"""The metrics of a run on texts with several labels, as report tests need them, hostile names and texts among them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from support.run_metrics import HOSTILE, run_metrics
from tailtune.evaluate.label_intervals import Draws, scored_labels

NAMES = ("joy", "<script>", "a|b")


def several_metrics() -> tuple[dict[str, Any], list[dict[str, Any]]]:
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
