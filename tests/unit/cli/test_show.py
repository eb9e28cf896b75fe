"""Results read well for people and parse for machines."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tailtune.cli import show
from tailtune.predict import Prediction

METRICS: dict[str, Any] = {
    "method": "probe",
    "requested_method": "auto",
    "depth": 15,
    "blocks_total": 30,
    "reason": "best on validation",
    "test": {
        "accuracy": 0.98,
        "accuracy_interval": [0.9572, 0.9908],
        "macro_f1": 0.97999,
        "log_loss": 0.0712,
        "ece": 0.0123,
        "rows": 1300,
        "per_class": {
            "[red]ham": {"precision": 0.974, "recall": 0.987, "f1": 0.98, "support": 1149},
            "spam": {"precision": 0.987, "recall": 0.974, "f1": 0.98, "support": 151},
        },
    },
    "baselines": {
        "tfidf_characters": {
            "title": "character TF-IDF + LR",
            "accuracy": 0.9767,
            "accuracy_interval": [0.9526, 0.9887],
            "macro_f1": 0.9767,
        }
    },
    "verdict": {"text": "Not distinguishable from character TF-IDF + LR (p = 0.77).", "kind": "equal"},
    "seconds": {"reading": 0.2, "backbone_pass": 50.04, "probe": 10.0},
    "peak_rss_mib": 1412.3,
}


def test_training_shows_what_a_person_asks_first(capsys: pytest.CaptureFixture[str]) -> None:
    """How good, with its interval, against what; what was chosen and why; how long; where it lies; what next."""
    show.training(METRICS, Path("runs/my messages-1"))
    out = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "test, 1,300 texts accuracy 95 % interval macro F1" in rows
    assert "tailtune (probe) 98.00 % 95.7 to 99.1 0.9800" in rows
    assert "character TF-IDF + LR 97.67 % 95.3 to 98.9 0.9767" in rows
    assert "Not distinguishable from character TF-IDF + LR (p = 0.77)." in rows
    assert "method: probe at depth 15 of 30 blocks, fp32" in rows
    assert "why: best on validation" in rows
    assert "time: 60.2 s (backbone pass 50.0, probe 10.0, reading 0.2), memory at most 1,412 MiB" in rows
    assert "run folder: runs/my messages-1" in rows
    assert "next: tailtune predict 'runs/my messages-1' \"your text\"" in rows


def test_without_baselines_nothing_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows, no verdict; a total in the metrics is taken as it is."""
    metrics = copy.deepcopy(METRICS)
    metrics["seconds"]["total"] = 61.04
    metrics["baselines"] = {}
    del metrics["verdict"], metrics["reason"]
    show.training(metrics, Path("r"))
    out = capsys.readouterr().out
    assert "TF-IDF" not in out
    assert "why" not in out
    assert "method: probe at depth 15 of 30 blocks, fp32\n" in out
    assert "time: 61.0 s (backbone pass 50.0" in out


def test_a_long_run_folder_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """It is there to be copied."""
    folder = Path("runs", "x" * 150)
    show.training(METRICS, folder)
    assert f"run folder: {folder}\n" in capsys.readouterr().out


def test_evaluation_shows_every_category(capsys: pytest.CaptureFixture[str]) -> None:
    """Label names appear as they are, markup signs included."""
    show.evaluation(METRICS)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "[red]ham 0.974 0.987 0.980 1,149" in rows
    assert "1,300 texts, log loss 0.0712, calibration error 0.0123" in rows


ANSWER = Prediction(
    label="spam",
    probabilities={"ham": 0.049, "[i]": 0.001, "spam": 0.95},
    confidence=0.95,
    tokens=9,
    tokens_total=1200,
    truncated=True,
    windows=1,
)


def test_a_decided_or_uncertain_label_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The rule, the label it gives though another is likelier, and the labels that may be meant."""
    decided = replace(ANSWER, label="ham", rule="spam at 0.99 or more", abstained=True, labels=("spam", "ham"))
    show.prediction("hey", decided)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "decided: ham (spam at 0.99 or more)" in lines
    assert "too uncertain to answer; one of: spam, ham" in lines


def test_prediction_shows_all_categories_likeliest_first(capsys: pytest.CaptureFixture[str]) -> None:
    """The text is shortened to one line; no category is left out; texts hold no markup."""
    show.prediction("[b]hey\n" + "x" * 200, ANSWER)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[b]hey xxx")
    assert lines[0].endswith("…")
    assert [line.split()[0] for line in lines[1:4]] == ["spam", "ham", "[i]"]
    assert "95.0 %" in lines[1]
    assert "only its first part was read, 9 of 1,200 tokens" in lines[4]


@pytest.mark.parametrize(
    ("long", "told", "said"),
    [
        ("truncate-head", {}, "only its last part was read, 9 of 1,200 tokens"),
        ("windows", {"tokens": 1200, "truncated": False, "windows": 7}, "1,200 tokens read in 7 windows"),
        ("windows", {"tokens": 1, "tokens_total": 1, "truncated": False}, "1 token read"),
    ],
)
def test_every_prediction_says_what_was_read(
    capsys: pytest.CaptureFixture[str], long: str, told: dict[str, Any], said: str
) -> None:
    """Which end is missing, or in how many windows all of it was read."""
    show.prediction("hey", replace(ANSWER, **told), long=long)
    assert said in [line.strip() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("share", "text"), [(0.0, ""), (1.0, "████"), (0.5, "██"), (1 / 32, "▏"), (0.999, "████")])
def test_bar_is_exact_to_an_eighth(share: float, text: str) -> None:
    """Small probabilities keep a visible trace; the whole is full."""
    assert show.bar(share, width=4) == text


def test_json_is_one_object_and_keeps_letters(capsys: pytest.CaptureFixture[str]) -> None:
    """Names are not escaped; a line is one line."""
    show.as_json({"label": "spåm"})
    assert json.loads(capsys.readouterr().out) == {"label": "spåm"}
    show.json_line({"label": "spåm\n"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "spåm" in out


def test_nan_is_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has no NaN; readers would fail far from the cause."""
    with pytest.raises(ValueError, match="JSON"):
        show.json_line({"x": float("nan")})
    assert capsys.readouterr().out == ""


SCAN: dict[str, Any] = {
    "chosen_depth": 6,
    "why_precision": "int8 products: faster on this machine",
    "points": [
        {
            "depth": depth, "rows": 500, "accuracy": accuracy, "interval": [accuracy - 0.02, accuracy + 0.01],
            "loss": 0.1, "milliseconds": depth / 2, "megabytes": 30.0 + depth, "within_limits": depth < 9,
        }
        for depth, accuracy in ((3, 0.90), (6, 0.94), (9, 0.98))
    ],
}  # fmt: skip


def test_the_depth_curve_shows_score_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per depth; the bar grows with the accuracy; what was chosen and what costs too much is said."""
    show.depths(SCAN)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == "3 90.00 % 88.0 to 91.0 0.1000 1.5 ms 33 MB"
    assert lines[2] == "→ 6 94.00 % 92.0 to 95.0 0.1000 3.0 ms 36 MB ████"
    assert lines[3] == "9 98.00 % 96.0 to 99.0 0.1000 4.5 ms 39 MB —"
    said = "500 sampled rows, each judged by a probe that did not see it"
    assert lines[4] == f"{said}; int8 products: faster on this machine"


def test_training_begins_with_the_depth_curve(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the depth was found by a scan."""
    show.training({**METRICS, "depth_scan": SCAN}, Path("r"))
    assert capsys.readouterr().out.split()[:2] == ["depth", "accuracy"]
