"""Soft labels and a teacher's answers, from files to runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from support.command_line import call, read_metrics, require_refusal
from tailtune.predict import Predictor

FAST = ("--method", "probe", "--depth", "2", "--no-baselines", "--no-doubts", "--quiet")


def _noise(random: np.random.Generator) -> str:
    return " ".join("".join(chr(97 + letter) for letter in word) for word in random.integers(0, 26, (6, 5)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Labelled texts, the same with votes, and texts without labels."""
    folder, random = tmp_path_factory.mktemp("teacher"), np.random.default_rng(0)
    words = {"ham": "lunch friend", "spam": "prize claim"}
    rows = [(f"{_noise(random)} {words[label]}", label) for _ in range(60) for label in words]
    labelled, votes, unlabelled = (folder / name for name in ("labelled.csv", "votes.jsonl", "more.csv"))
    labelled.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    other = {"ham": "spam", "spam": "ham"}
    votes.write_text(
        "".join(json.dumps({"text": t, "label": {label: 4, other[label]: 1}}) + "\n" for t, label in rows),
        encoding="utf-8",
    )
    more = [f"{_noise(random)} {words[label]}" for _ in range(30) for label in words]
    unlabelled.write_text("text\n" + "\n".join([*more, rows[0][0], rows[1][0]]) + "\n", encoding="utf-8")
    return {"labelled": labelled, "votes": votes, "unlabelled": unlabelled}


def _train(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, object]:
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


@pytest.mark.parametrize("method", [FAST, ("--method", "tail", "--depth", "2", "--epochs", "8", *FAST[4:])])
def test_votes_are_learnt_as_probabilities(
    capsys: pytest.CaptureFixture[str],
    files: dict[str, Path],
    tiny_llama: Path,
    tmp_path: Path,
    method: tuple[str, ...],
) -> None:
    """Votes of 4 to 1 keep the classifier from certainty that whole labels would give."""
    found = {}
    for name in ("labelled", "votes"):
        rate = ("--learning-rate", "0.01") if "tail" in method else ()
        _train(capsys, files[name], tiny_llama, tmp_path / name, *method, *rate, "--calibration", "none")
        texts = [json.loads(line)["text"] for line in files["votes"].read_text(encoding="utf-8").splitlines()]
        found[name] = Predictor.load(tmp_path / name).predict_proba(texts).max(axis=1)
    assert found["votes"].mean() < found["labelled"].mean() - 0.05
    assert found["votes"].mean() < 0.9


def test_a_student_learns_from_its_teacher(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], tiny_llama: Path, tmp_path: Path
) -> None:
    """Texts without labels count, those like held-out rows do not; metrics and reports name the teacher."""
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    _train(capsys, files["labelled"], tiny_llama, teacher, "--method", "probe", "--depth", "3", *FAST[4:])
    more = ("--teacher", teacher, "--teacher-share", "1", "--unlabelled", files["unlabelled"])
    metrics = _train(capsys, files["labelled"], tiny_llama, student, *FAST, *more)
    about = metrics["teacher"]
    assert isinstance(about, dict)
    assert about["unlabelled"] + about["left_out"] == 62
    assert 60 <= about["unlabelled"] <= 62
    assert about["test"]["accuracy"] == read_metrics(teacher)["test"]["accuracy"]
    for report in ("report.md", "report.html"):
        assert "Beside its teacher" in (student / report).read_text(encoding="utf-8")
    shutil.copytree(teacher / "bundle", tmp_path / "alone")
    told = ("--teacher", tmp_path / "alone", *(flag for flag in FAST if flag != "--quiet"))
    outcome = call(capsys, "train", files["labelled"], "--model", tiny_llama, "--out", tmp_path / "other", *told)
    assert "whether it learnt from test rows cannot be told" in outcome.err
    texts = ["claim the prize now", "lunch with a friend", "nothing of this"]
    plain = tmp_path / "plain"
    _train(capsys, files["labelled"], tiny_llama, plain, *FAST)
    answers = {path: Predictor.load(path).predict_proba(texts) for path in (teacher, student, plain)}
    assert not np.allclose(answers[student], answers[plain])


def test_refusals(capsys: pytest.CaptureFixture[str], files: dict[str, Path], tiny_llama: Path, tmp_path: Path) -> None:
    """A teacher of another split would give test labels away; its settings need one; labels must be the same."""
    teacher, out = tmp_path / "teacher", tmp_path / "out"
    _train(capsys, files["labelled"], tiny_llama, teacher, *FAST)
    asked = ("train", files["labelled"], "--model", tiny_llama, "--out", out, *FAST)
    said = require_refusal(call(capsys, *asked, "--teacher", teacher, "--seed", "5"), 3)
    assert "test rows, so its answers would give their labels away" in said
    assert "--unlabelled is of a --teacher" in require_refusal(call(capsys, *asked, "--unlabelled", "x.csv"), 2)
    folds = call(capsys, *asked, "--teacher", teacher, "--folds", "3")
    assert "--teacher and --folds contradict each other" in require_refusal(folds, 2)
    other = tmp_path / "other.csv"
    other.write_text(files["labelled"].read_text(encoding="utf-8").replace(",ham", ",fine"), encoding="utf-8")
    refused = call(capsys, "train", other, "--model", tiny_llama, "--out", out, *FAST, "--teacher", teacher)
    assert "knows 'ham', 'spam'; the data have 'fine', 'spam'" in require_refusal(refused, 2)
    weights = call(
        capsys, "train", files["votes"], "--model", tiny_llama, "--out", out, *FAST, "--class-weights", "auto"
    )
    assert "--class-weights: these labels are shares" in require_refusal(weights, 2)
