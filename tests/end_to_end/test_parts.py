"""LoRA, full training, pooling of trained blocks and random weights on the command line: from texts to answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import call, json_lines, process, read_metrics, require_refusal
from support.texts import messages, write_csv
from support.tiny_models import write_tiny_bert, write_tiny_gpt2, write_tiny_llama
from tailtune.predict import Predictor
from tailtune.resolving import resolve

WRITERS: dict[str, Callable[..., Path]] = {"llama": write_tiny_llama, "gpt2": write_tiny_gpt2, "bert": write_tiny_bert}
QUICK = ["--no-baselines", "--epochs", "4", "--learning-rate", "3e-3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred messages in two classes; read it only."""
    return write_csv(tmp_path_factory.mktemp("data") / "messages.csv", *messages(100))


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    """Train and return the metrics of the run in ``out``."""
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *QUICK, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


CASES = [
    ("llama", "lora", 0, ["--keep-adapter"]),
    ("llama", "lora", 2, ["--precision", "int8", "--lora-kind", "dora", "--lora-targets", "query,value"]),
    ("llama", "full", 0, ["--pooling", "last+mean"]),
    ("gpt2", "full", 0, ["--learning-rate", "1e-3"]),
    ("gpt2", "lora", 1, ["--pooling", "mean", "--depth", "3", "--lora-dropout", "0.1"]),
    ("bert", "full", 0, []),
    ("bert", "lora", 2, ["--lora-kind", "rslora", "--epochs", "12", "--patience", "none"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:3])))
def test_a_fresh_process_answers_as_the_training_did(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, case: tuple[str, str, int, list[str]]
) -> None:
    """The run's own answers to its test rows come back from the bundle, and metrics and report say what was trained."""
    family, method, first, more = case
    model = WRITERS[family](tmp_path / "model")
    run = tmp_path / "run"
    metrics = trained(capsys, data, model, run, "--method", method, "--from-depth", first, *more)
    depth = 3 if "--depth" in more else 4
    assert (metrics["method"], metrics["cut"], metrics["depth"]) == (method, first, depth)
    assert metrics["trained"]["first"] == first
    assert metrics["test"]["accuracy"] > 0.8
    report = (run / "report.html").read_text()
    assert f"Blocks {first + 1} to {depth} were trained" in report
    assert f"{metrics['trained']['trained_weights']:,} of {metrics['trained']['weights']:,} weights" in report
    assert (run / "adapter" / "adapter_model.safetensors").is_file() == ("--keep-adapter" in more)
    answers = json_lines((run / "predictions.jsonl").read_text())
    lines = data.read_text().splitlines()
    texts = [lines[answer["row"]].rsplit(",", 1)[0].strip('"') for answer in answers]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    command = [sys.executable, "-m", "tailtune.cli", "predict", str(run), "--json", "--file"]
    outcome = process([*command, str(tmp_path / "texts.jsonl")])
    assert outcome.code == 0, outcome.err
    for answer, again in zip(answers, json_lines(outcome.out), strict=True):
        assert list(again["probabilities"].values()) == pytest.approx(answer["probabilities"], abs=1e-5)


def test_an_earlier_runs_choices_are_taken_over(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """With --like a run of LoRA is made again: rank, blocks and losses."""
    flags = ["--method", "lora", "--from-depth", "2", "--lora-rank", "3", "--lora-targets", "value"]
    one = trained(capsys, data, tiny_llama, tmp_path / "one", *flags)
    two = trained(capsys, data, tiny_llama, tmp_path / "two", "--like", tmp_path / "one")
    assert two["trained"] == one["trained"]
    np.testing.assert_allclose(two["curves"]["steps"]["loss"], one["curves"]["steps"]["loss"], rtol=1e-6)
    file = tmp_path / "one" / "metrics.json"
    one["config"]["pooling"] = "last+mean"  # earlier versions recorded it, and read the last token all the same
    file.write_text(json.dumps(one))
    taken = resolve({"data": str(data), "like": str(tmp_path / "one")}).config
    assert (taken.pooling, taken.from_depth, taken.lora_targets) == ("last", 2, "value")


def test_random_weights_have_features_of_their_own(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Never the pretrained model's, nor those of another seed; the record says what they are."""
    flags = ["--method", "probe", "--depth", "2", "--precision", "fp32"]
    pretrained = trained(capsys, data, tiny_llama, tmp_path / "pretrained", *flags)
    runs = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        runs[name] = trained(capsys, data, tiny_llama, tmp_path / name, *flags, "--weights", "random", "--seed", seed)
    assert [run["tokens"]["computed_texts"] for run in runs.values()] == [100, 0, 100]
    assert runs["one"]["model"] == runs["again"]["model"]
    keys = {run["model"]["sha256"] for run in (pretrained, *runs.values())}
    assert len(keys) == 3
    assert "random weights of seed 1" in runs["one"]["model"]["source"]
    for name, drawn in (("pretrained", False), ("one", True)):
        for report in ("report.html", "report.md"):
            assert ("(random weights)" in (tmp_path / name / report).read_text().replace("\\", "")) == drawn
    backbones = [Predictor.load(tmp_path / name).bundle.decoder.state_dict() for name in ("pretrained", "one")]
    assert abs(backbones[1]["embedding.weight"].std().item() - 0.02) < 0.002
    assert abs(backbones[0]["embedding.weight"].std().item() - 1.0) < 0.1


@pytest.mark.parametrize(
    "case",
    [
        (["--method", "lora", "--from-depth", "4"], "--from-depth 4: no block is left to train of 4"),
        (["--method", "full", "--depth", "2", "--from-depth", "2"], "no block is left to train of 2"),
        (["--method", "lora", "--lora-targets", "q_proj"], "has no product 'q_proj'"),
        (["--method", "lora", "--keep-adapter", "--pooling", "mean"], "--keep-adapter"),
        (["--method", "lora", "--pooling", "first"], "--pooling first"),
        (["--method", "tail", "--lora-rank", "4"], "--lora-rank is of --method lora"),
        (["--method", "lora", "--lora-rank", "0"], "--lora-rank: expected an integer, at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path, case: tuple[list[str], str]
) -> None:
    """In one line, before anything is computed."""
    flags, told = case
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", "--quiet", *flags)
    assert told in require_refusal(outcome, 2)
    assert not (tmp_path / "run").exists()
