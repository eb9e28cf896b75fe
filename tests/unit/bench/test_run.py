"""``tailtune bench`` from the command line to the files: it measures all it says, or refuses at once."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, require_refusal
from tailtune.bench.machine import OPTIONAL


def test_without_what_is_measured_against_it_refuses(
    asked: dict[str, Any], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 5, one line that names the package, the command that installs it, and nothing written."""
    monkeypatch.setitem(sys.modules, "accelerate", None)  # how Python itself is told that a module is not to be had
    arguments = ("--quick", "--only", "training", "--data", asked["data"], "--model", asked["model"])
    outcome = call(capsys, "bench", *arguments, "--out", tmp_path / "out")
    line = require_refusal(outcome, 5)
    assert line.startswith("error: packages missing for the bench: ")
    assert "accelerate" in line
    assert "hint: pip install 'tailtune[bench]'" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_quick_training_is_measured_and_shown(asked: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    """All runs in processes of their own, the loops to their end; the file holds what the page was made from.

    The sampled loops have tests of their own: here they would start two more processes at six seconds each.
    """
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"what is measured against is not installed: {', '.join(missing)}")
    named = ("--data", asked["data"], "--model", asked["model"], "--out", tmp_path)
    outcome = call(capsys, "bench", "--quick", "--whole", "--only", "training", *named)
    assert outcome.code == 0, outcome.err
    assert call(capsys, "bench", "--table", "--out", tmp_path).out == outcome.out
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["(a)", "(b)", "(c)", "(d)", "(e)", "reference"]
    assert [path.name for path in tmp_path.iterdir()] == ["training.json"]
    found = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    runs = found["runs"]
    assert found["quick"] is True
    assert found["data"]["training"] == 64
    assert set(runs) == {"chapter", "trainer", "same", "auto", "char_tfidf_lr", "word_tfidf_lr", "oracle"}
    assert found["agreement"]["steps"] == 5 * 8
    assert found["agreement"]["largest_loss_difference"] < 1e-4
    assert found["agreement"]["test_rows_apart"] == 0
    assert runs["chapter"]["positions"] > runs["trainer"]["positions"] > runs["same"]["positions"] > 0
    assert all(run["seconds"] > 0 and run["score"]["tests"] == found["data"]["test"] for run in runs.values())
    assert found["ratios"]["same"]["trainer"] == pytest.approx(
        runs["trainer"]["seconds"] / runs["same"]["seconds"], abs=0.01
    )
