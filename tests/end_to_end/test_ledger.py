"""Runs on the same split remember each other; evaluating a run on its own rows says so; other machines know the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import call, read_metrics
from support.texts import messages, write_csv
from tailtune.bundle import read_bundle

PROBE = ["--method", "probe", "--depth", "2", "--no-baselines"]


def test_runs_on_one_test_part_count_each_other(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three trainings with two settings: screen, metrics, reports and bundle say so, `ledger` and `compare` too."""
    data = write_csv(tmp_path / "messages.csv", *messages(100))
    outs = []
    for name, depth in (("a", 2), ("b", 3), ("c", 3)):
        outcome = call(
            capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / name, *PROBE[:3], depth, *PROBE[4:]
        )
        assert outcome.code == 0, outcome.err
        outs.append(outcome.out)
    readings = [read_metrics(tmp_path / name)["test"]["reading"] for name in "abc"]
    assert [(reading["nth"], reading["choices"]) for reading in readings] == [(1, 1), (2, 2), (3, 2)]
    assert ["read 2 times before" in out for out in outs] == [False, False, True]
    assert "read 2 times before" in (tmp_path / "c" / "report.md").read_text()
    assert "read 2 times before" in (tmp_path / "c" / "report.html").read_text()
    assert "read 2 times before" in (tmp_path / "c" / "bundle" / "README.md").read_text()
    kept = read_bundle(tmp_path / "c").about["reading"]
    assert (kept["nth"], kept["rows"]) == (3, 20)
    assert "have been read 3 times" in call(capsys, "compare", tmp_path / "b", tmp_path / "c").out
    listed = json.loads(call(capsys, "ledger", "--json").out)["readings"]
    assert [(each["run"], each["purpose"]) for each in listed] == [(name, "train") for name in "abc"]
    assert call(capsys, "ledger").out.count("train") == 3
    # Elsewhere nothing is known, and the run still tells its own.
    monkeypatch.setenv("TAILTUNE_HOME", str(tmp_path / "elsewhere"))
    assert "no test part has been read" in call(capsys, "ledger").out
    assert read_bundle(tmp_path / "c").about["reading"] == kept
    test_rows = json.loads((tmp_path / "c" / "split.json").read_text())["test"]
    _check_evaluations(tmp_path, test_rows, capsys)


def _check_evaluations(folder: Path, test_rows: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    """The run's own test rows are no new evidence and no new choice, training rows a leak, other rows neither."""
    texts, labels = messages(130)
    own = write_csv(folder / "own.csv", [texts[row - 1] for row in test_rows], [labels[row - 1] for row in test_rows])
    first = call(capsys, "evaluate", folder / "c", own)
    assert "20 of 20 rows are test rows of this run" in first.out
    second = json.loads(call(capsys, "evaluate", folder / "c", own, "--json").out)
    assert (second["test"]["reading"]["nth"], second["test"]["reading"]["choices"]) == (2, 1)
    assert second["overlap"] == {"train": 0, "validation": 0, "test": 20}
    assert json.loads(call(capsys, "evaluate", folder / "c" / "bundle", own, "--json").out)["overlap"]["test"] == 20
    assert {each["run"] for each in json.loads(call(capsys, "ledger", "--json").out)["readings"]} == {"c"}
    everything = write_csv(folder / "all.csv", texts[:100], labels[:100])
    told = call(capsys, "evaluate", folder / "c", everything).out
    assert "70 of 100 rows repeat training texts" in told
    new = write_csv(folder / "new.csv", texts[100:], labels[100:])
    assert "test rows of this run" not in call(capsys, "evaluate", folder / "c", new).out


def test_a_home_that_cannot_be_written_stops_nothing(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger's place taken by a folder: one note, exit code 0, a whole run."""
    (tmp_path / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(tmp_path / "home"))
        (tmp_path / "home" / "ledger.jsonl").mkdir()
        data = write_csv(tmp_path / "messages.csv", *messages(100))
        outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", *PROBE)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("could not be recorded") == 1
    assert read_metrics(tmp_path / "run")["test"]["reading"]["recorded"] is False
