"""Settings of the optimiser, from the command line to metrics, events and report, and on to a run like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, json_lines, read_metrics
from support.texts import messages, write_csv
from tailtune.cli import main
from tailtune.resolving import resolve

TAIL = ("--method", "tail", "--depth", "3", "--no-baselines", "--no-doubts", "--quiet")
OPTIMISER: dict[str, Any] = {
    "accumulation": 2, "layer_decay": 0.5, "head_rate_factor": 3.0, "weight_decay_of": "matrices", "ema": 0.9,
    "schedule": "cosine", "epochs": 3, "blocks": 2, "learning_rate": "auto",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A run of a tail with every setting of the optimiser changed; read it only."""
    folder = tmp_path_factory.mktemp("run")
    data = write_csv(folder / "messages.csv", *messages(100))
    flags = [part for name, value in OPTIMISER.items() for part in ("--" + name.replace("_", "-"), str(value))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TAILTUNE_HOME", str(folder / "home"))
        words = ["train", data, "--model", tiny_llama, "--out", folder / "run", *TAIL, *flags]
        assert main([str(word) for word in words]) in (0, None)
    return folder / "run"


def test_a_run_records_how_its_rate_was_found(run: Path) -> None:
    """What was tried, which was chosen and why, its cost; and steps used it, the head's factor on top."""
    metrics = read_metrics(run)
    found = metrics["learning_rate"]
    assert {name: metrics["config"][name] for name in OPTIMISER} == OPTIMISER
    assert found["chosen"] > 0
    assert 2 <= len(found["tried"]) <= 5
    assert found["reason"].split()[0] == "the"
    assert found["rows"] < metrics["data"]["parts"]["train"]
    events = json_lines((run / "events.jsonl").read_text(encoding="utf-8"))
    steps = [event for event in events if event["event"] == "step"]
    assert max(step["learning_rate"] for step in steps) == pytest.approx(3.0 * found["chosen"], rel=0.2)
    assert len(steps) == steps[0]["steps"] == 3 * -(-metrics["data"]["parts"]["train"] // 16)


def test_the_report_says_so(run: Path) -> None:
    """One line in the Markdown and on the page, with what was tried; each setting among all settings."""
    found = read_metrics(run)["learning_rate"]
    said = f"learning rate {found['chosen']:.2g}, found: {found['reason']}"
    assert said in (run / "report.md").read_text(encoding="utf-8")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert said.capitalize() in page
    assert "2 x 8 texts a step" in page
    assert "weight decay 0.1 of matrices" in page
    assert "moving average of the weights, 0.9" in page
    assert all(f">{one['rate']:.2g}<" in page for one in found["tried"])
    assert all(name in page for name in OPTIMISER)


def test_a_run_like_it_looks_for_nothing(run: Path, tmp_path: Path) -> None:
    """The rate found is taken over, with the other settings of the optimiser."""
    config = resolve({"data": "new.csv", "like": str(run)}).config
    assert config.learning_rate == read_metrics(run)["learning_rate"]["chosen"]
    told = {name: value for name, value in OPTIMISER.items() if name != "learning_rate"}
    assert {name: getattr(config, name) for name in told} == told


def test_a_given_rate_leaves_no_trace_of_a_search(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is looked for, and nothing said of it."""
    data = write_csv(tmp_path / "messages.csv", *messages(60))
    words = ("train", data, "--model", tiny_llama, "--out", tmp_path / "run", *TAIL, "--epochs", 1)
    assert call(capsys, *words).code == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert "learning_rate" not in metrics
    assert "found:" not in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "learning rate 0.0001" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
