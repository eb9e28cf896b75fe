"""Metrics of a run as train writes them, from made-up probabilities, and the worst rows with hostile texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tailtune.evaluate.classes import ranking
from tailtune.evaluate.curves import macro_f1_interval, mean_interval, row_losses
from tailtune.evaluate.decisions import counted
from tailtune.evaluate.metrics import confusion_matrix, score
from tailtune.evaluate.reliability import reliability
from tailtune.evaluate.slices import slices, worst_rows
from tailtune.explain import units

HOSTILE = (
    "<script>alert(1)</script>",
    "\"quotes\" & 'more' </style><img src=x onerror=alert(1)>",
    "مرحبا، هل ستأتي اليوم؟ \u202eevil\u202c",
    "{{ 7 * 7 }} {% raw %} \ud800 \x07 \u2028 \U0001d518\U0001d52b e\u0301\u0323 👩‍👩‍👧",
    "a" * 5000,
)
_BASELINES = (("word TF-IDF", 0.985), ("character TF-IDF", 0.984), ("most frequent class", 0.5))


def run_metrics(names: Sequence[str] = ("ham", "spam"), rows: int = 300) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return (metrics, worst rows) of a classifier that errs now and then, as read back from JSON."""
    random, classes = np.random.default_rng(1), len(names)
    truth = random.integers(0, classes, rows)
    scores = random.normal(size=(rows, classes))
    scores[np.arange(rows), truth] += 3.5
    answers = np.exp(scores)
    answers /= answers.sum(axis=1, keepdims=True)
    predicted = answers.argmax(axis=1)
    detail = {
        "test_sha256": "ab" * 32,
        "intervals": {
            "macro_f1": macro_f1_interval(confusion_matrix(truth, predicted, classes)),
            "log_loss": mean_interval(row_losses(truth, answers)),
            "brier": [0.001, 0.004],
        },
        "ranking": ranking(truth, answers),
        "slices": slices(truth, answers, random.integers(3, 90, rows), names),
        "learning_curve": _learning(),
        "milliseconds_per_text": 54.3,
    }
    told = {**score(truth, answers, names).as_json(), "reliability": reliability(truth, answers)}
    test = {**told, "raw": {**told, "ece_interval": [0.01, 0.03]}, "read_at": "2026-01-02T03:04:05+00:00"}
    metrics = {**_about(names), **_decided(names[-1]), "detail": detail, "test": test}
    metrics["decision"]["test"]["accuracy"] = counted(int((predicted == truth).sum()), rows)
    worst = [
        {
            "row": at + 1,
            "text": HOSTILE[place % len(HOSTILE)],
            "label": names[truth[at]],
            "predicted": names[predicted[at]],
            "probability_of_label": float(answers[at, truth[at]]),
            "probability": float(answers[at].max()),
            "highlights": highlighted(HOSTILE[place % len(HOSTILE)]) if place % 2 else [],
        }
        for place, at in enumerate(worst_rows(truth, answers))
    ]
    read: dict[str, Any] = json.loads(json.dumps(metrics))
    return read, worst


def _decided(positive: str) -> dict[str, Any]:
    few = counted(2, 150)
    part = dict.fromkeys(("recall", "precision", "accuracy"), few) | {"rows": 300, "mean_cost": 0.25}
    part["false_positives"] = {**few, "upper_bound": 0.04}
    answered = {"rows": 300, "answered": few, "wrong_of_all": few, "wrong_of_answered": few}
    answered["sets"] = {"coverage": few, "mean_size": 1.25, "single": few}
    candidates = [
        {"method": name, "loss": 0.04, "gain": 0.001, "standard_error": 0.002} for name in ("none", "temperature")
    ]
    return {
        "calibration": {"method": "temperature", "rows": 557, "reason": "asked for", "candidates": candidates},
        "decision": {
            "rule": f"{positive} at 0.9 or more",
            "aims": {"max_false_positives": 0.002},
            "validation": part,
            "test": {**part, "holds": {"max_false_positives": False}},
        },
        "abstain": {"error": 0.01, "promise": "at most 1 % wrong", "validation": answered, "test": answered},
        "unused": {"wrong": few},
        "doubts": {"rows": 1200, "issues": 17, "unjudged": 0, "issues_by_label": {positive: 17}, "how": "probes"},
    }


def doubtful_rows(names: Sequence[str] = ("ham", "spam")) -> list[dict[str, Any]]:
    """Return rows of doubtful labels with hostile texts, every word of them shaded."""
    return [
        {
            "row": place + 1,
            "text": text,
            "label": names[0],
            "predicted": names[-1],
            "probability": 0.97,
            "quality": 0.03,
            "issue": place % 2 == 0,
            "highlights": highlighted(text),
        }
        for place, text in enumerate(HOSTILE)
    ]


def highlighted(text: str) -> list[tuple[int, int, float]]:
    """Return a change for every word of ``text``, of all sizes and both signs."""
    changes = (0.4, -0.3, 0.1, -0.06, 0.01, -0.02, 0.0)
    return [(*span, changes[place % len(changes)]) for place, span in enumerate(units(text))]


def _learning() -> dict[str, Any]:
    scores = ((244, 0.962, 0.11), (488, 0.975, 0.08), (1951, 0.981, 0.06), (3902, 0.991, 0.034))
    points = [
        {
            "rows": rows,
            "accuracy": accuracy,
            "interval": [accuracy - 0.02, min(1.0, accuracy + 0.01)],
            "log_loss": loss,
            "log_loss_interval": [0.7 * loss, 1.3 * loss],
        }
        for rows, accuracy, loss in scores
    ]
    return {"points": points, "last_step": {"gain": 0.011, "interval": [0.002, 0.02]}}


def _depth_scan() -> dict[str, Any]:
    points = [
        {
            "depth": depth,
            "rows": 511,
            "accuracy": 0.98,
            "interval": [0.96, 0.99],
            "loss": 0.09 - 0.004 * depth,
            "milliseconds": 2.5 * depth,
            "megabytes": 30.0 + 4 * depth,
            "within_limits": True,
        }
        for depth in (3, 6, 9, 12)
    ]
    why = "fp32 products"
    return {"chosen_depth": 9, "why_precision": why, "precision": "fp32", "sampled_rows": 511, "points": points}


def _about(names: Sequence[str]) -> dict[str, Any]:
    finding = {"kind": "blank_texts", "message": "2 blank texts dropped (rows 3, 9)", "rows": [3, 9]}
    baselines = {
        title: {
            "title": title,
            "accuracy": share,
            "accuracy_interval": [share - 0.02, share + 0.01],
            "macro_f1": share,
            "log_loss": 0.1,
            "seconds": 1.5,
            "converged": True,
        }
        for title, share in _BASELINES
    }
    return {
        "data": {
            "source": "messages.csv",
            "sha256": "cd" * 32,
            "rows": 5572,
            "classes": dict.fromkeys(names, 40),
            "parts": {"train": 3902, "validation": 557, "test": 300, "unused": 0},
            "duplicates": 403,
            "leaked_test_rows": 0,
            "split": "grouped",
            "findings": [finding],
        },
        "model": {"name": "smollm2-135m-instruct", "source": "pip wheel", "sha256": "ef" * 32},
        "method": "probe",
        "depth": 9,
        "blocks_total": 30,
        "precision": "fp32",
        "labels": list(names),
        "reason": "a probe at depth 9",
        "baselines": baselines,
        "verdict": {"text": "Not distinguishable from it.", "kind": "not distinguishable", "against": "x"},
        "choices": [
            {"candidate": "probe", "depth": 9, "penalty": 0.1, "loss": 0.05, "chosen": True},
            {"candidate": "tail", "depth": 12, "loss": 0.06, "chosen": False},
        ],
        "curves": {
            "steps": {"step": [1, 2, 3, 4], "loss": [2.4, 0.9, 0.5, 0.4]},
            "epochs": {"epoch": [1, 2], "train_loss": [1.6, 0.5], "validation_loss": [0.9, 0.6]},
        },
        "depth_scan": _depth_scan(),
        "seconds": {"backbone": 73.25, "report": 1.5, "total": 80.5},
        "tokens": {"texts": 1494, "total": 45210, "computed": 45210, "longest": 120},
        "peak_rss_mib": 812.4,
        "bundle_bytes": 107055104,
        "seed": 12345,
        "versions": {"tailtune": "0.1.0", "torch": "2.13.0"},
        "config": {"seed": 12345, "learning_rate": 5e-05},
        "origins": {"seed": "flag", "learning_rate": "default"},
        "command": "tailtune train messages.csv --seed 12345",
    }
