"""``tailtune experiments`` as people run it: all rows on a tiny model, the table, the plots, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import call, require_refusal
from support.experiments import write_collection
from tailtune.experiments.rows import ROWS


@pytest.fixture
def given(tiny_gpt2: Path, tmp_path: Path) -> list[object]:
    sizes = ",".join(f"{size}={tiny_gpt2}" for size in ("medium", "large", "xl"))
    data = write_collection(tmp_path / "sms")
    return ["--model", tiny_gpt2, "--sizes", sizes, "--data", data, "--out", tmp_path / "out"]


def test_all_rows_run(given: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nineteen and those beside them; then nothing is left to run, and the table is the same."""
    out = tmp_path / "out"
    first = call(capsys, "experiments", "--all", "--split", "bonus", *given, "--quiet")
    assert (first.code, first.err) == (0, "")
    assert len(list(out.glob("*.json"))) == len(ROWS) - 1  # row 18 is row 1
    for row in ROWS:
        assert f"| {row.number} | " in first.out
    assert "Not run" not in first.out
    assert len(list(out.glob("*.svg"))) == 1
    assert f"]({next(out.glob('*.svg')).name})" in first.out
    written = {file: file.stat().st_mtime_ns for file in out.glob("*.json")}
    again = call(capsys, "experiments", "--all", "--split", "bonus", *given)
    assert "running" not in again.err
    assert again.out == first.out
    assert {file: file.stat().st_mtime_ns for file in out.glob("*.json")} == written
    table = call(capsys, "experiments", "--table", "--out", out, "--plots", tmp_path / "docs")
    assert table.out == first.out
    assert len(list((tmp_path / "docs").iterdir())) == 1


def test_json(given: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    """Summaries by split, row and seed."""
    done = call(capsys, "experiments", "--rows", "16", "--seeds", "0,1", *given, "--quiet", "--json")
    found = json.loads(done.out)
    assert [section["split"] for section in found["sections"]] == ["bonus", "leak-free"]
    (row,) = found["sections"][0]["rows"]
    assert (row["number"], row["seeds"], len(row["test_each"])) == ("16", [0, 1], 2)


def test_dry_run(given: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what it would cost and writes nothing."""
    done = call(capsys, "experiments", "--rows", "1,13", "--split", "bonus", "--dry-run", *given)
    assert done.code == 0
    assert "13 context-1024" in done.out
    assert "in all, if nothing is stored yet" in done.out
    assert not (tmp_path / "out").exists()
    told = json.loads(call(capsys, "experiments", "--rows", "1,13", "--dry-run", "--json", *given).out)
    assert [job["status"] for job in told["jobs"]] == ["to run"] * 4
    assert told["jobs"][-1]["pass_seconds"] == 0  # padded alike under both splits


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Every row with the book's figure; as JSON with flaws and settings."""
    assert "ignore-index" in call(capsys, "experiments", "list").out
    rows = json.loads(call(capsys, "experiments", "list", "--json").out)["rows"]
    assert len([row for row in rows if row["number"].isdigit()]) == 19
    assert next(row for row in rows if row["name"] == "xl")["book"]["bonus"]["validation"] == 0.9981


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "which experiments?"),
        (["--rows", "99"], 2, "--rows 99: no such experiment"),
        (["--rows", "1", "--seeds", "one"], 2, "--seeds one: expected whole numbers"),
        (["--rows", "1", "--sizes", "huge=x"], 2, "--sizes huge=x: expected SIZE=MODEL"),
        (["--rows", "imdb"], 3, "film reviews"),
        (["--table", "--out", "nowhere"], 2, "no results of experiments"),
    ],
)
def test_refusals(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, before anything is computed."""
    assert said in require_refusal(call(capsys, "experiments", *arguments), code)


def test_results_hold_no_text(given: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures and hashes alone, and no folder of this machine."""
    call(capsys, "experiments", "--rows", "16", "--split", "bonus", *given, "--quiet")
    (file,) = (tmp_path / "out").glob("*.json")
    held = file.read_text()
    assert "WINNER" not in held
    assert str(tmp_path) not in held
