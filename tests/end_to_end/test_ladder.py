"""``--method auto`` from the command line: what it climbs, what it says of it, and runs that take its choice over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import call, read_metrics, require_refusal
from support.texts import tagged, write_csv, write_tagged
from tailtune.predict import Predictor

QUIET = ["--no-doubts", "--no-highlights", "--precision", "fp32", "--quiet"]
WORDS = {"garden": ("meadow", "river", "seed", "hedge"), "office": ("invoice", "ledger", "memo", "desk")}


def write_words(path: Path, count: int = 400) -> Path:
    """Write texts whose class one word tells, which a tiny random model does not see, one label in ten wrong."""
    random = np.random.default_rng(0)
    names = [("garden", "office")[random.integers(2)] for _ in range(count)]
    said = [name if random.random() > 0.1 else {"garden": "office", "office": "garden"}[name] for name in names]
    fill = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    texts = [
        f"{' '.join(random.choice(fill, 6))} {random.choice(WORDS[name])} {random.integers(10_000)}" for name in said
    ]
    return write_csv(path, texts, names)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_words(tmp_path / "words.csv")


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *QUIET, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


def test_where_n_grams_win_they_are_shipped_and_it_says_so(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Lines, metrics, both reports and the bundle agree; what stood on the ladder is the baseline of the report."""
    flags = [flag for flag in QUIET if flag != "--quiet"]
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", *flags)
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(tmp_path / "run")
    rungs = metrics["ladder"]["rungs"]
    assert [rung["rung"] for rung in rungs][:4] == ["probe", "word", "char", "blend"]
    assert metrics["ladder"]["seconds_allowed"] is None
    keys = {"rung", "title", "taken", "why", "judged_on", "rows", "loss", "accuracy", "gain", "gain_error", "seconds"}
    assert all(set(rung) == {*keys, "foreseen"} for rung in rungs)
    taken = [rung["rung"] for rung in rungs if rung["taken"]]
    assert set(taken) & {"word", "char"}
    assert metrics["test"]["accuracy"] > 0.8
    for name in ("report.md", "report.html"):
        page = (tmp_path / "run" / name).read_text()
        assert "The ladder" in page
        assert "better with significance" in page
    assert sum(line.startswith("ladder: ") for line in outcome.err.splitlines()) == len(rungs)
    predictor = Predictor.load(tmp_path / "run")
    assert predictor.predict(["one two meadow 7"])[0].label == "garden"
    assert json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())["classifier"]["members"]


def test_the_language_model_alone_on_request(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """--ship language-model compares nothing else; parts by name are shipped whatever the rows say."""
    alone = trained(capsys, data, tiny_llama, tmp_path / "alone", "--ship", "language-model")
    assert (alone["method"], "blend" in alone) == ("probe", False)
    assert not {rung["rung"] for rung in alone["ladder"]["rungs"]} & {"word", "char", "blend"}
    both = trained(capsys, data, tiny_llama, tmp_path / "both", "--ship", "language-model=0.5,char=0.25")
    assert [part["weight"] for part in both["blend"]["parts"]] == [0.5, 0.25]
    assert both["choice"]["ship"] == "language-model=0.5,char=0.25"
    probe = trained(capsys, data, tiny_llama, tmp_path / "probe", "--method", "probe", "--depth", 2, "--ship", "word")
    assert probe["blend"]["language_model"] is False
    for asked, said in (
        ("char=0", "'char=0' is no part"),
        ("char=0.5,word", "some parts have a number, some none"),
        ("char,char", "'char' is no part"),
    ):
        assert said in require_refusal(call(capsys, "train", data, "--ship", asked), 2)
    unknown = call(capsys, "train", data, "--model", tiny_llama, "--ship", "minilm", "--quiet")
    assert unknown.code == 2
    assert "no 'minilm' here; there are language-model, word, char" in unknown.err
    few = call(capsys, "train", data, "--model", tiny_llama, "--ship", "word,char", "--quiet")
    assert few.code == 2
    assert "validation rows find no weights" in few.err


def test_another_run_takes_the_choice_over(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """The same parts with the same weights, no ladder, the same answers."""
    first = trained(capsys, data, tiny_llama, tmp_path / "first")
    assert first["blend"]
    again = trained(capsys, data, tiny_llama, tmp_path / "again", "--like", tmp_path / "first")
    assert "ladder" not in again
    assert again["blend"]["parts"] == first["blend"]["parts"]
    assert again["choice"]["ship"] == first["choice"]["ship"]
    texts = ["one two meadow 7", "ledger five six"]
    rows = [Predictor.load(tmp_path / name).predict_proba(texts) for name in ("first", "again")]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


def test_within_a_time_all_rungs_are_told(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Trained parts too, each with what it would take; folds fit the rung that was reached and climb no more."""
    flags = ["--time", "10m", "--folds", "2", "--epochs", "1"]
    metrics = trained(capsys, data, tiny_llama, tmp_path / "run", *flags)
    rungs = {rung["rung"]: rung for rung in metrics["ladder"]["rungs"]}
    assert {"tail", "tail-more", "lora", "full"} <= set(rungs)
    assert metrics["ladder"]["seconds_allowed"] == 600.0
    assert all(rungs[name]["foreseen"] is not None for name in ("word", "char"))
    assert {fold["method"] for fold in metrics["folds"]["each"]} == {metrics["method"]}
    assert metrics["test"]["rows"] == 400
    assert "600 seconds were allowed" in (tmp_path / "run" / "report.md").read_text()


def test_a_column_is_no_time(capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    """Who means the column is told its flag; a time beside a method that chooses nothing is refused."""
    outcome = call(capsys, "train", data, "--time", "sent", "--quiet")
    assert outcome.code == 2
    assert "--time 'sent' is no time above 0" in outcome.err
    assert "--time-column sent" in outcome.err
    for time in ("0s", "5", "-5m", "5 years"):
        assert "is no time above 0" in require_refusal(call(capsys, "train", data, "--time", time), 2)
    fixed = call(capsys, "train", data, "--time", "5m", "--method", "probe")
    assert "--time 5m is for --method auto" in require_refusal(fixed, 2)
    trained(capsys, data, tiny_llama, tmp_path / "run", "--depth", 2)
    like = call(capsys, "train", data, "--time", "5m", "--like", tmp_path / "run")
    assert "given was --like" in require_refusal(like, 2)


def test_texts_with_several_labels_climb_too(
    capsys: pytest.CaptureFixture[str], tiny_llama: Path, tmp_path: Path
) -> None:
    """Sigmoids are summed as log-probabilities are; a bundle of several parts answers with sets of labels."""
    lists = write_tagged(tmp_path / "lists.jsonl", *tagged(400))
    metrics = trained(capsys, lists, tiny_llama, tmp_path / "run")
    assert [rung["rung"] for rung in metrics["ladder"]["rungs"]][:4] == ["probe", "word", "char", "blend"]
    asked = "language-model=0.5,word=1.5"
    both = trained(capsys, lists, tiny_llama, tmp_path / "both", "--ship", asked)
    assert both["choice"]["ship"] == asked
    assert both["test"]["micro_f1"] > 0.5
    assert Predictor.load(tmp_path / "both").predict(["nothing in particular"])[0].thresholds
    again = trained(capsys, lists, tiny_llama, tmp_path / "again", "--like", tmp_path / "both")
    assert again["test"]["micro_f1"] == pytest.approx(both["test"]["micro_f1"])


def test_long_texts_in_windows_climb_too(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Held-out scores of the model are those of merged windows; n-grams read each text whole."""
    flags = ["--max-tokens", "12", "--long", "windows", "--depth", "2"]
    metrics = trained(capsys, data, tiny_llama, tmp_path / "run", *flags)
    assert metrics["tokens"]["windowed_texts"] > 100
    assert metrics["ladder"]["rungs"][0]["rows"] == metrics["ladder"]["rungs"][1]["rows"]
    assert metrics["test"]["accuracy"] > 0.8
