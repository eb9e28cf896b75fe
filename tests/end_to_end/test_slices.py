"""Scores by the values of columns, by script and by language, from the file to the report."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from support.command_line import call, read_metrics, require_refusal
from support.texts import messages

QUICK = ["--method", "probe", "--depth", "2", "--no-baselines", "--no-highlights", "--no-doubts"]


def write(path: Path, start: int, count: int) -> Path:
    """Write messages with a sender, mostly one, and a country that some lack; every third is Cyrillic."""
    texts, labels = (column[start:] for column in messages(start + count))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "sender", "country"])
        for at, (text, label) in enumerate(zip(texts, labels, strict=True)):
            shown = text + " привет это очень длинное сообщение на русском языке" if at % 3 == 0 else text
            writer.writerow([shown, label, "big" if at % 4 else "small", ("", "de", "fr")[at % 3]])
    return path


def test_slices_by_columns(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every test row is in one part of each; blank values and the guesses at script and language have their rows."""
    data, run = write(tmp_path / "data.csv", 0, 150), tmp_path / "run"
    asked = ["train", data, "--model", tiny_llama, *QUICK, "--slice-by", "sender, country,detected-language"]
    outcome = call(capsys, *asked, "--out", run)
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(run)
    found = metrics["detail"]["slices_by"]
    assert set(found) == {"sender", "country", "detected script", "detected language"}
    assert all(sum(each["rows"] for each in parts) == metrics["test"]["rows"] for parts in found.values())
    assert [each["name"] for each in found["sender"]] == ["big", "small"]
    assert {each["name"] for each in found["country"]} == {"(blank)", "de", "fr"}
    assert {each["name"] for each in found["detected script"]} == {"Latin", "Cyrillic"}
    assert all(each["interval"][0] <= each["accuracy"] <= each["interval"][1] for each in found["sender"])
    page = (run / "report.html").read_text(encoding="utf-8")
    assert all(f"By {name}" in page for name in found)


def test_slices_of_a_test_part_of_its_own(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The columns of the test file are used; a column that is not there is refused before anything is computed."""
    data, test = write(tmp_path / "data.csv", 0, 100), write(tmp_path / "test.csv", 100, 40)
    common = ["train", data, "--model", tiny_llama, *QUICK, "--test", test]
    assert call(capsys, *common, "--slice-by", "sender", "--out", tmp_path / "run").code == 0
    [big, small] = read_metrics(tmp_path / "run")["detail"]["slices_by"]["sender"]
    assert (big["rows"], small["rows"]) == (30, 10)
    said = require_refusal(call(capsys, *common, "--slice-by", "colour", "--out", tmp_path / "no"), 3)
    assert "no column 'colour'" in said
