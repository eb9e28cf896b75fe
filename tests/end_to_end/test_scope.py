"""`train --out-of-scope` and `predict --reject-out-of-scope`: what is measured, told and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from support.texts import messages, write_csv

STRANGE = ["The quarterly revenue rose by four per cent", "Mitochondria are the powerhouse of the cell", "lorem ipsum"]
PROBE = ["--method", "probe", "--depth", "2", "--no-baselines"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished run that can tell strange texts; read it only."""
    from tailtune.resolving import resolve
    from tailtune.train import train

    folder = tmp_path_factory.mktemp("scope")
    data = write_csv(folder / "messages.csv", *messages(240))
    (folder / "outside.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in STRANGE * 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(folder / "home"))
        flags = {"data": str(data), "model": str(tiny_llama), "out": str(folder / "run"), "method": "probe", "depth": 2}
        outside = {"out_of_scope": True, "out_of_scope_texts": str(folder / "outside.jsonl")}
        train(resolve({**flags, **outside, "baselines": False}).config)
    return folder / "run"


def test_the_run_measures_it(run: Path) -> None:
    """Share of marked test rows and AUROC with interval stand in the metrics and both reports; no text does."""
    found = read_metrics(run)["out_of_scope"]
    assert (found["reference_rows"], found["test"]["rows"], found["outside"]["rows"]) == (24, 48, 15)
    assert 0 <= found["outside"]["auroc"] <= 1
    for name in ("report.md", "report.html"):
        assert "AUROC" in (run / name).read_text()
    held = "".join(path.read_text() for path in run.rglob("*.json*"))
    assert not [text for text in STRANGE if text in held]


def test_answers_tell_it_and_a_share_rejects(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON holds the place, and what is rejected at the share asked for; people are told."""
    texts = [*messages(4)[0], *STRANGE]
    plain = json_lines(call(capsys, "predict", run, *texts, "--json").out)
    assert all(0 <= answer["out_of_scope"] < 1 and "rejected" not in answer for answer in plain)
    asked = json_lines(call(capsys, "predict", run, *texts, "--json", "--reject-out-of-scope", "0.3").out)
    assert [answer["rejected"] for answer in asked] == [answer["out_of_scope"] >= 0.7 for answer in plain]
    everything = call(capsys, "predict", run, *texts, "--reject-out-of-scope", "0.999").out
    assert "rejected: unlike the training texts" in everything


def test_refusals(run: Path, tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A share out of range, a bundle that cannot tell, texts without a scope, few validation rows: one line each."""
    assert "above 0" in require_refusal(call(capsys, "predict", run, "a b", "--reject-out-of-scope", "1"), 2)
    data = write_csv(tmp_path / "messages.csv", *messages(60))
    train = ["train", data, "--model", tiny_llama, *PROBE]
    assert call(capsys, *train, "--out", tmp_path / "plain").code == 0
    outcome = call(capsys, "predict", tmp_path / "plain", "a b", "--reject-out-of-scope", "0.1")
    assert "cannot tell" in require_refusal(outcome, 4)
    outcome = call(capsys, *train, "--out", tmp_path / "a", "--out-of-scope-texts", data)
    assert "needs --out-of-scope" in require_refusal(outcome, 2)
    outcome = call(capsys, *train, "--out", tmp_path / "b", "--out-of-scope", "--quiet")
    assert "needs at least 20, got 6" in require_refusal(outcome, 3)


def test_folds_save_it_and_do_not_measure_it(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The saved classifier can tell; without a test part of its own nothing is claimed."""
    data = write_csv(tmp_path / "messages.csv", *messages(200))
    out = tmp_path / "run"
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", out, *PROBE, "--folds", "2", "--out-of-scope")
    assert outcome.code == 0, outcome.err
    assert set(read_metrics(out)["out_of_scope"]) == {"depth", "reference_rows"}
    assert "out_of_scope" in json_lines(call(capsys, "predict", out, "a text", "--json").out)[0]
