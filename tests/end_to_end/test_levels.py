"""Labels that are paths, from a file to answers: scores at every level, and the finest label that is sure enough."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from tailtune.predict import Predictor

FAST = ("--method", "probe", "--depth", "2", "--no-baselines", "--no-doubts")
WORDS = {"bank/card": "card pin", "bank/loan": "loan rate", "trip/visa": "visa border", "trip/hotel": "hotel room"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty texts of each of four labels in two branches."""
    file = tmp_path_factory.mktemp("levels") / "paths.csv"
    random = np.random.default_rng(0)

    def noise() -> str:
        return " ".join("".join(chr(97 + letter) for letter in word) for word in random.integers(0, 26, (6, 5)))

    rows = [f"{noise()} {words},{label}" for _ in range(40) for label, words in WORDS.items()]
    file.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return file


def test_from_train_to_predict(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Metrics, report, evaluation and answers know the levels; a share asked for backs off to the branch."""
    run = tmp_path / "run"
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", run, "--label-levels", "/", *FAST)
    assert outcome.code == 0, outcome.err
    first, second = read_metrics(run)["detail"]["levels"]
    assert (first["classes"], second["classes"]) == (2, 4)
    assert first["accuracy"] >= second["accuracy"] == read_metrics(run)["test"]["accuracy"]
    for report in ("report.md", "report.html"):
        assert "Levels of the labels" in (run / report).read_text(encoding="utf-8")
    judged = call(capsys, "evaluate", run, data, "--json")
    assert [each["classes"] for each in json.loads(judged.out)["test"]["levels"]] == [2, 4]
    (answer,) = json_lines(call(capsys, "predict", run, "the visa", "--json", "--sure", "0.99").out)
    ((branch, share), (_, finest)) = ((each["label"], each["confidence"]) for each in answer["levels"])
    below = sum(value for name, value in answer["probabilities"].items() if name.startswith(f"{branch}/"))
    assert share == pytest.approx(below)
    assert answer["sure"] == next((e for e in reversed(answer["levels"]) if e["confidence"] >= 0.99), None)
    told = call(capsys, "predict", run, "the visa", "--sure", str(finest))
    assert "level 1: " in told.out
    assert " sure of " in told.out


def test_sure_is_the_finest_label_that_is_probable_enough(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the shares of the two levels the branch is the answer; above both there is none."""
    run = tmp_path / "run"
    call(capsys, "train", data, "--model", tiny_llama, "--out", run, "--label-levels", "/", *FAST)
    (answer,) = Predictor.load(run).predict(["number 3 asks"])
    (_, coarse), (_, fine) = answer.levels
    assert fine < coarse
    assert answer.sure(fine) == answer.levels[1]
    assert answer.sure((fine + coarse) / 2) == answer.levels[0]
    assert answer.sure(1.0) is None


def test_refusals(capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    """One line each: a separator that no label has, a share that is none, a classifier without paths."""
    out = tmp_path / "run"
    trained = ("train", data, "--model", tiny_llama, "--out", out)
    refused = call(capsys, *trained, "--label-levels", "|", *FAST)
    assert "no label has that in its name" in require_refusal(refused, 2)
    assert call(capsys, *trained, *FAST).code == 0
    assert "--sure: expected a share" in require_refusal(call(capsys, "predict", out, "hi", "--sure", "2"), 2)
    assert "are no paths" in require_refusal(call(capsys, "predict", out, "hi", "--sure", "0.5"), 4)
