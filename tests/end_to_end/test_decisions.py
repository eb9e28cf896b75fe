"""Calibration, thresholds and promises from the flags of train to the answers of predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from support.default_model import default_model
from support.texts import messages, write_csv

PROBE = ["--method", "probe", "--depth", "2", "--no-baselines"]
TEXTS = ("WINNER!! Claim prize home now", "See you at lunch", "Free entry", "ok")


def noisy(folder: Path, count: int = 600) -> Path:
    """Write messages of which every eighth has the other label: no classifier can be sure."""
    texts, labels = messages(count)
    turned = {"ham": "spam", "spam": "ham"}
    given = [turned[label] if row % 8 in (0, 3) else label for row, label in enumerate(labels)]
    return write_csv(folder / "noisy.csv", texts, given)


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *PROBE, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


def test_calibration_helps_and_is_saved(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On labels with noise: what metrics say was fitted is what the bundle applies, and screen and report tell it."""
    data = noisy(tmp_path)
    metrics = trained(capsys, data, tiny_llama, tmp_path / "run", "--calibration", "temperature")
    manifest = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert metrics["calibration"]["method"] == "temperature"
    assert manifest["rules"]["steps"] == [metrics["calibration"]["parameters"]]
    assert manifest["format_version"] == 3
    assert metrics["test"]["raw"]["accuracy"] == metrics["test"]["accuracy"]
    assert metrics["test"]["raw"]["log_loss"] != metrics["test"]["log_loss"]
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "calibration: temperature, fitted on 60 validation rows; calibration error" in report
    none = trained(capsys, data, tiny_llama, tmp_path / "none", "--calibration", "none")
    assert none["test"]["log_loss"] == none["test"]["raw"]["log_loss"] == metrics["test"]["raw"]["log_loss"]
    assert "rules" not in json.loads((tmp_path / "none" / "bundle" / "bundle.json").read_text(encoding="utf-8"))


def test_a_threshold_and_a_promise_reach_the_answers(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON answers name the rule, whether to trust them and the labels that may be meant; so do screen and report."""
    flags = ["--max-false-positives", "0.1", "--positive", "spam", "--abstain", "0.1"]
    metrics = trained(capsys, noisy(tmp_path), tiny_llama, tmp_path / "run", *flags)
    decision, abstain = metrics["decision"], metrics["abstain"]
    assert decision["validation"]["false_positives"]["share"] <= 0.1
    assert decision["test"]["rows"] == abstain["test"]["rows"] == metrics["test"]["rows"]
    for answer in json_lines(call(capsys, "predict", tmp_path / "run", *TEXTS, "--json").out):
        assert answer["rule"] == decision["rule"]
        assert (answer["label"] == "spam") == (answer["probabilities"]["spam"] >= decision["threshold"])
        assert answer["abstained"] == (answer["confidence"] <= abstain["above"])
        assert set(answer["labels"]) >= {
            name for name, p in answer["probabilities"].items() if p >= abstain["labels_from"]
        }
    assert "decided: " in call(capsys, "predict", tmp_path / "run", *TEXTS).out
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "## Decisions" in report
    assert "| false positives |" in report
    assert "| answered |" in report
    judged = json.loads(call(capsys, "evaluate", tmp_path / "run", tmp_path / "noisy.csv", "--json").out)
    assert judged["decision"]["test"]["rows"] == judged["abstain"]["test"]["rows"] == 600
    assert "decision: spam at" in call(capsys, "evaluate", tmp_path / "run", tmp_path / "noisy.csv").out


def test_costs_and_python_agree(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A false alarm a hundred times as dear as a miss: hardly a spam is called; TextClassifier decides the same."""
    from tailtune import TextClassifier

    costs = tmp_path / "costs.csv"
    costs.write_text("true,predicted,cost\nham,spam,100\nspam,ham,1\n", encoding="utf-8")
    metrics = trained(capsys, noisy(tmp_path), tiny_llama, tmp_path / "run", "--costs", costs)
    called = [row[1] for row in metrics["test"]["confusion"]]
    assert sum(called) > 10
    assert metrics["decision"]["rule"] == "least expected cost"
    answers = json_lines(call(capsys, "predict", tmp_path / "run", *TEXTS, "--json").out)
    loaded = TextClassifier.load(tmp_path / "run")
    assert loaded.predict(TEXTS).tolist() == [answer["label"] for answer in answers]
    assert [answer["label"] == "spam" for answer in answers] == [
        answer["probabilities"]["spam"] > 100 / 101 for answer in answers
    ]


def test_balanced_training_is_brought_back_to_the_world(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One spam in nine, trained on as many of each: --prevalence gives it back; the rows left out are measured."""
    texts, labels = messages(900)
    kept = [row for row, label in enumerate(labels) if label == "ham" or row % 9 == 1]
    data = write_csv(tmp_path / "rare.csv", [texts[row] for row in kept], [labels[row] for row in kept])
    flags = ["--balance", "undersample", "--calibration", "none"]
    plain = trained(capsys, data, tiny_llama, tmp_path / "plain", *flags)
    flags += ["--prevalence", "spam=0.01", "--measure-unused"]
    metrics = trained(capsys, data, tiny_llama, tmp_path / "run", *flags)
    assert metrics["prevalence"]["shares"] == {"ham": 0.99, "spam": 0.01}
    assert metrics["unused"]["rows"] == metrics["data"]["parts"]["unused"] > 100
    assert metrics["unused"]["wrong"]["interval"][0] <= metrics["unused"]["wrong"]["share"]
    assert "unused" not in plain
    rows = [
        [
            answer["probabilities"]["spam"]
            for answer in json_lines(call(capsys, "predict", tmp_path / run, *TEXTS, "--json").out)
        ]
        for run in ("plain", "run")
    ]
    odds = [np.log(np.array(spam) / (1 - np.array(spam))) for spam in rows]
    np.testing.assert_allclose(odds[1] - odds[0], np.log(0.01 / 0.99), atol=0.02)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--max-false-positives", "1.5"], 2, "--max-false-positives"),
        (["--positive", "eggs", "--min-precision", "0.9"], 2, "--positive: 'eggs' is no class"),
        (["--costs", "absent.toml"], 2, "--costs absent.toml: cannot be read as costs"),
        (["--prevalence", "spam=2"], 2, "--prevalence spam=2"),
        (["--abstain", "0.001"], 3, "needs at least 999 validation rows"),
    ],
)
def test_what_cannot_be_met_is_refused_before_work(
    tmp_path: Path,
    tiny_llama: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    code: int,
    *,
    said: str,
) -> None:
    """One line; no run folder, nothing computed."""
    data = write_csv(tmp_path / "rows.csv", *messages(60))
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", "--quiet", *PROBE, *flags)
    assert said in require_refusal(outcome, code)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


@pytest.mark.network
def test_a_false_positive_budget_holds_on_real_messages(
    sms_spam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All messages at their real prevalence, six blocks deep: at most 0.2 % of ham called spam."""
    flags = [
        "--max-false-positives",
        "0.002",
        "--depth",
        "6",
        "--method",
        "probe",
        "--no-baselines",
        "--precision",
        "fp32",
    ]
    outcome = call(capsys, "train", sms_spam, "--model", default_model(), "--out", tmp_path / "run", *flags)
    assert outcome.code == 0, outcome.err
    test = read_metrics(tmp_path / "run")["decision"]["test"]
    assert test["holds"] == {"max_false_positives": True}
    assert test["false_positives"]["interval"][0] <= 0.002
    assert test["recall"]["share"] > 0.7
