"""One flag tells trackers of a finished run, through their own libraries; what they then hold is read from their files.

Each run is a process of its own, as a person starts it: the libraries read their variables, and leave nothing here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Outcome, call, process, read_metrics, require_refusal
from support.texts import messages, write_csv
from support.trackers import Told, mlflow_told, tensorboard_told, wandb_told

TAIL = ["--method", "tail", "--depth", "2", "--epochs", "2", "--max-tokens", "64", "--threads", "1"]
# What wandb puts beside a run by itself: installed packages, the machine.
OF_WANDB = {"requirements.txt", "wandb-metadata.json"}
MARK = "quetzalcoatlus"


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and variables by which the libraries write there alone and speak to nobody."""
    for name in ("HOME", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_ERROR_REPORTING", "false")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_data(folder: Path) -> Path:
    """Write 60 messages, each with a word that stands nowhere else on this machine."""
    texts, labels = messages(60)
    return write_csv(folder / "messages.csv", [f"{text} {MARK}" for text in texts], labels)


def train(data: Path, model: Path, out: Path, *more: object) -> Outcome:
    return process(
        [sys.executable, "-m", "tailtune.cli", "train", *map(str, (data, "--model", model, "--out", out, *more))],
        cwd=data.parent,
    )


def expected_curves(run: Path, metrics: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """Return what events.jsonl and metrics.json of the run say, under the names of trackers."""
    curves: dict[str, list[tuple[int, float]]] = {}
    step = 0
    for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "step":
            step = event["step"]
            curves.setdefault("train/loss", []).append((step, event["loss"]))
        else:
            curves.setdefault("eval/loss", []).append((step, event["validation_loss"]))
            curves.setdefault("eval/accuracy", []).append((step, event["validation_accuracy"]))
    for name, part in (("eval", "validation"), ("test", "test")):
        for score, key in (("loss", "log_loss"), ("accuracy", "accuracy")):
            curves.setdefault(f"{name}/{score}", []).append((step + 1, metrics[part][key]))
    return curves


READERS: dict[str, Callable[[Path], Told]] = {
    "mlflow": lambda home: mlflow_told(home / "mlflow.db"),
    "wandb": lambda home: wandb_told(home / "wandb"),
    "tensorboard": lambda home: tensorboard_told(home / "run" / "tensorboard"),
}


def test_every_tracker_holds_the_run(at_home: Path, tiny_llama: Path) -> None:
    """Curves, test scores and settings are those of the run's own files; no text leaves; stdout is still one JSON."""
    done = train(write_data(at_home), tiny_llama, at_home / "run", *TAIL, "--track", ",".join(READERS), "--json")
    assert done.code == 0, done.err
    metrics = read_metrics(at_home / "run")
    assert json.loads(done.out)["run"] == str(at_home / "run")
    for name, read in READERS.items():
        assert f"tracked with {name}: " in done.err
        told = read(at_home)
        for curve, points in expected_curves(at_home / "run", metrics).items():
            assert [step for step, _ in told.curves[curve]] == [step for step, _ in points], (name, curve)
            assert [value for _, value in told.curves[curve]] == pytest.approx([value for _, value in points], rel=1e-6)
        assert (told.parameters["epochs"], told.parameters["chosen_method"]) == ("2", "tail")
        sent = {"metrics.json", "report.md", "config.json"} if name != "tensorboard" else set()
        assert told.files - OF_WANDB == sent
    with_texts = [file for file in at_home.rglob("*") if file.is_file() and MARK.encode() in file.read_bytes()]
    assert {file.name for file in with_texts} <= {"messages.csv", "report.html", "doubts.csv", "tokenizer.json"}


def test_a_server_that_is_away_costs_no_run(at_home: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command succeeds, the run folder is complete and can answer, and stderr says what was not tracked."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    probe = ["--method", "probe", "--depth", "1", "--no-baselines"]
    done = train(write_data(at_home), tiny_llama, at_home / "run", *probe, "--track", "mlflow,tensorboard")
    assert done.code == 0, done.err
    (warning,) = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert "--track mlflow failed, the run is complete without it in" in warning
    assert "Traceback" not in done.err
    assert tensorboard_told(at_home / "run" / "tensorboard").curves["test/accuracy"][0][0] == 1
    assert {"bundle", "metrics.json", "report.md"} <= {file.name for file in (at_home / "run").iterdir()}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_package_is_said_before_any_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, exit code 5, the extra by name; the data are not even read, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, name, None)
    outcome = call(capsys, "train", tmp_path / "absent.csv", "--out", tmp_path / "run", "--track", name)
    assert f"--track {name}: its package is not installed" in require_refusal(outcome, 5)
    assert f"pip install 'tailtune[{name}]'" in outcome.err
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names it, and those that there are."""
    outcome = call(capsys, "train", tmp_path / "absent.csv", "--track", "tensorboard,aim")
    assert "--track tensorboard,aim: 'aim' is no tracker" in require_refusal(outcome, 2)
    assert "mlflow, wandb, tensorboard" in outcome.err
