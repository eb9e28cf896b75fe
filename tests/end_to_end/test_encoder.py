"""An encoder as the model: from a folder to a bundle that answers alike, by every method and in every mode."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, json_lines, process, read_metrics, require_refusal
from support.texts import messages, tagged, write_csv, write_tagged
from tailtune.predict import Predictor

PROBE = ["--method", "probe", "--depth", "2"]
TAIL = ["--method", "tail", "--depth", "3", "--epochs", "4", "--learning-rate", "3e-3"]
QUICK = ["--no-baselines", "--precision", "fp32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred messages in two classes; read it only."""
    return write_csv(tmp_path_factory.mktemp("data") / "messages.csv", *messages(100))


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    """Train and return the metrics of the run in ``out``."""
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


@pytest.mark.parametrize(
    "case",
    [
        (PROBE, "first+mean"),
        ([*PROBE, "--pooling", "mean"], "mean"),
        (TAIL, "first"),
        ([*PROBE, "--precision", "int8"], "first+mean"),
        ([*TAIL, "--precision", "int8"], "first"),
    ],
)
def test_a_fresh_process_answers_as_the_training_did(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_bert: Path, tmp_path: Path, case: tuple[list[str], str]
) -> None:
    """The run's own answers to its test rows come back from the bundle; metrics and report say what was read."""
    flags, pooling = case
    metrics = trained(capsys, data, tiny_bert, tmp_path / "run", *QUICK, *flags)
    assert metrics["pooling"] == pooling
    assert f"pooling {pooling}" in (tmp_path / "run" / "report.md").read_text().replace("\\", "")
    assert metrics["test"]["accuracy"] > 0.8
    manifest = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert manifest["format_version"] == 5
    assert manifest["classifier"].get("pooling", pooling) == pooling
    answers = json_lines((tmp_path / "run" / "predictions.jsonl").read_text())
    texts = [data.read_text().splitlines()[answer["row"]].rsplit(",", 1)[0].strip('"') for answer in answers]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    command = [sys.executable, "-m", "tailtune.cli", "predict", str(tmp_path / "run"), "--json", "--file"]
    outcome = process([*command, str(tmp_path / "texts.jsonl")])
    assert outcome.code == 0, outcome.err
    for answer, given in zip(answers, json_lines(outcome.out), strict=True):
        assert list(given["probabilities"].values()) == pytest.approx(answer["probabilities"], abs=1e-5)


def test_left_open_the_scan_goes_to_the_top(
    capsys: pytest.CaptureFixture[str], tiny_bert: Path, tmp_path: Path
) -> None:
    """Every depth is on the curve; auto, doubts, highlights, scope and learning curve work as for a decoder."""
    data = write_csv(tmp_path / "messages.csv", *messages(220))
    metrics = trained(capsys, data, tiny_bert, tmp_path / "run", "--no-baselines", "--out-of-scope")
    assert [point["depth"] for point in metrics["depth_scan"]["points"]] == [1, 2, 3, 4]
    assert metrics["doubts"]["rows"] > 0
    assert metrics["out_of_scope"]["test"]["rows"] == metrics["test"]["rows"]
    assert "mark" in (tmp_path / "run" / "report.html").read_text()
    outcome = call(capsys, "predict", tmp_path / "run", "--explain", "--json", "WINNER!! claim your prize now")
    assert outcome.code == 0, outcome.err
    (answer,) = json_lines(outcome.out)
    assert [part["text"] for part in answer["highlights"]] == ["WINNER!!", "claim", "your", "prize", "now"]


@pytest.mark.parametrize("flags", [PROBE, TAIL])
def test_windows_are_whole_texts_to_an_encoder(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_bert: Path, tmp_path: Path, flags: list[str]
) -> None:
    """Each part of a long text stands between [CLS] and [SEP]."""
    windows = ["--max-tokens", "12", "--long", "windows"]
    metrics = trained(capsys, data, tiny_bert, tmp_path / "run", *QUICK, *flags, *windows)
    assert metrics["tokens"]["windowed_texts"] > 20
    tokenizer = Predictor.load(tmp_path / "run").bundle.tokenizer
    tokens, read = tokenizer.read(["see you at the station at home at work and after school at the park"])
    assert read.counts.tolist() == [len(tokens)]
    assert len(tokens) > 1
    first, last = tokens.ids[tokens.offsets[:-1]], tokens.ids[tokens.offsets[1:] - 1]
    assert set(first.tolist()) == {2}
    assert set(last.tolist()) == {3}


def test_folds_and_several_labels(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """Both run through; every row is answered."""
    folded = trained(capsys, data, tiny_bert, tmp_path / "folds", *QUICK, *PROBE, "--folds", "2", "--no-highlights")
    assert folded["test"]["rows"] == 100
    lists = write_tagged(tmp_path / "lists.jsonl", *tagged(160))
    for name, flags in (("probe", PROBE), ("tail", TAIL)):
        several = trained(capsys, lists, tiny_bert, tmp_path / name, *QUICK, *flags)
        assert several["test"]["micro_f1"] > 0.6, name


def test_the_other_end_of_a_text_is_refused(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_bert: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """``last`` never silently means [CLS]; a decoder's first token has seen nothing."""
    for model, asked in ((tiny_bert, "last+mean"), (tiny_llama, "first")):
        flags = ["--model", model, "--out", tmp_path / "run", "--pooling", asked, "--quiet"]
        assert f"--pooling {asked}" in require_refusal(call(capsys, "train", data, *flags), 2)
        assert not (tmp_path / "run").exists()
