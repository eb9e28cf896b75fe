"""``tailtune inspect depth`` draws the curve of a run, and says so where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailtune.cli import main


def test_the_curve_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Drawn for people, whole as JSON."""
    point = {"depth": 3, "rows": 9, "accuracy": 1.0, "interval": [0.7, 1.0], "loss": 0.1}
    point |= {"milliseconds": 2.0, "megabytes": 30.0, "within_limits": True}
    scan = {"chosen_depth": 3, "why_precision": "fp32 products", "sampled_rows": 9, "points": [point]}
    (tmp_path / "metrics.json").write_text(json.dumps({"depth_scan": scan}))
    assert main(["inspect", "depth", str(tmp_path)]) == 0
    assert "100.00 %" in capsys.readouterr().out
    assert main(["inspect", "depth", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == scan


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("{}", "no depth scan"), ("[", "cannot be read")]
)
def test_without_a_curve(tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is no run, a run at a given depth, a broken file: one line, exit code 4."""
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert main(["inspect", "depth", str(tmp_path)]) == 4
    assert said in capsys.readouterr().err
