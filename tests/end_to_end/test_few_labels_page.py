"""docs/how-to/few-labels.md is a walk that works: its commands, run in order, go from no labels to a classifier."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from support.texts import messages
from tailtune.cli import main
from tailtune.evaluate.intervals import wilson

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "few-labels.md"
TEXT = PAGE.read_text(encoding="utf-8")


def export(tasks: Path) -> None:
    """Write what Label Studio would export after somebody agreed with every prediction of ``tasks``."""
    values = json.loads(tasks.read_text(encoding="utf-8"))
    for number, task in enumerate(values):
        task |= {"id": number, "annotations": [{"was_cancelled": False, "result": task["predictions"][0]["result"]}]}
        if number % 2:  # of both labels, whatever a random model guesses
            task["annotations"][0]["result"][0]["value"]["choices"] = ["ham" if number % 4 == 1 else "spam"]
    tasks.with_name("export.json").write_text(json.dumps(values), encoding="utf-8")


def test_the_walk_works(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of the page ends well, with a tiny random model as the default one and made-up answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAILTUNE_MODEL", str(tiny_llama))
    rows = "".join(f'"{text}"\n' for text in messages(90)[0])
    Path("messages.csv").write_text(f"text\n{rows}", encoding="utf-8")
    lines = re.findall(r"^\$ tailtune (.*)$", TEXT, re.MULTILINE)
    assert len(lines) == 10
    for line in lines:
        if "export.json" in line and not Path("export.json").exists():
            export(tmp_path / "tasks.json")
        monkeypatch.setattr(sys, "stdin", io.StringIO("1\n2\n" * 12 + "q\n"))
        assert main(shlex.split(line)) == 0, (line, capsys.readouterr().err)
    assert len(Path("messages-labelled.csv").read_text(encoding="utf-8").splitlines()) == 49
    metrics = json.loads(Path("runs/third/metrics.json").read_text(encoding="utf-8"))
    assert metrics["data"]["rows"] == 20


def test_what_it_says_is_so() -> None:
    """The interval of the example, and the files it names."""
    low, high = wilson(22, 24)
    assert f"an interval from {100 * low:.0f} to {100 * high:.0f} %" in " ".join(TEXT.split())
    named = set(re.findall(r"`((?:tests|bench)/[\w./]+)`", TEXT))
    assert named
    assert [name for name in named if not (PAGE.parents[2] / name).exists()] == []
