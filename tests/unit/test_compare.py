"""Runs side by side: paired on the same test rows, clearly not paired on others, one-line refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, require_refusal
from tailtune.compare import compare


def _run(folder: Path, *, right: list[bool], rows_hash: str = "ab", lines: bool = True) -> Path:
    """A run folder that got the given rows right."""
    folder.mkdir()
    share = sum(right) / len(right)
    metrics: dict[str, Any] = {
        "labels": ["ham", "spam"],
        "test": {
            "rows": len(right),
            "accuracy": share,
            "accuracy_interval": [0, 1],
            "macro_f1": share,
            "log_loss": 0.3,
        },
        "detail": {"test_sha256": rows_hash, "milliseconds_per_text": 12.0},
        "method": "probe",
        "depth": 9,
        "seconds": {"total": 30.0},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    if lines:
        answers = [
            {
                "row": at + 1,
                "label": "ham",
                "predicted": "ham" if hit else "spam",
                "probabilities": [0.8, 0.2] if hit else [0.2, 0.8],
            }
            for at, hit in enumerate(right)
        ]
        (folder / "predictions.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return folder


def test_the_same_rows_are_paired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight rows only the first has right: McNemar 2 x 0.5^8, and a lower log loss."""
    first = _run(tmp_path / "first", right=[True] * 20)
    second = _run(tmp_path / "second", right=[True] * 12 + [False] * 8)
    (pair,) = compare([first, second])["pairs"]
    assert (pair["paired"], pair["only_a_right"], pair["only_b_right"], pair["rows"]) == (True, 8, 0, 20)
    assert pair["p_value"] == pytest.approx(2 / 2**8)
    assert pair["more_accurate"] == "a"
    assert pair["log_loss_difference"] < 0
    outcome = call(capsys, "compare", first, second)
    assert outcome.code == 0
    assert f"{first} is more accurate than {second} on the same 20 rows" in outcome.out
    assert json.loads(call(capsys, "compare", first, second, "--json").out) == compare([first, second])


def test_other_rows_are_not_paired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other test rows, or answers that were not kept: the figures stand side by side, and the reason is said."""
    first = _run(tmp_path / "first", right=[True] * 20)
    other = _run(tmp_path / "other", right=[True] * 20, rows_hash="cd")
    old = _run(tmp_path / "old", right=[True] * 20, lines=False)
    pairs = compare([first, other, old])["pairs"]
    assert [pair["paired"] for pair in pairs] == [False] * 3
    assert "the test rows differ" in pairs[0]["why"]
    assert f"no predictions.jsonl in {old}" in pairs[1]["why"]
    assert "not paired; the test rows differ" in call(capsys, "compare", first, other).out


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run, the same twice, no run, a broken file: one line and a code."""
    first = _run(tmp_path / "first", right=[True] * 4)
    second = _run(tmp_path / "second", right=[True] * 4)
    assert "no comparison" in require_refusal(call(capsys, "compare", first), 2)
    assert "given twice" in require_refusal(call(capsys, "compare", first, f"{first}/../first"), 2)
    assert "cannot be read" in require_refusal(call(capsys, "compare", first, tmp_path / "none"), 4)
    for line, said in (("[", "no answer of this run"), ('{"label": "ham"}', "no answer of this run")):
        (second / "predictions.jsonl").write_text(line + "\n")
        assert said in require_refusal(call(capsys, "compare", first, second), 4)
    (second / "predictions.jsonl").write_text("")
    assert "0 rows" in require_refusal(call(capsys, "compare", first, second), 4)
    (second / "metrics.json").write_text('{"test": {"rows": 3}}')
    assert "no test result" in require_refusal(call(capsys, "compare", first, second), 4)
