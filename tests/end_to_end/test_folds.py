"""`train --folds`: every row answered once, by what had not seen it; the saved classifier learns from all rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from support.texts import messages, write_csv

FOLDS = ["--folds", "3", "--method", "probe", "--depth", "2"]


def _noisy(path: Path, count: int = 160) -> Path:
    """Messages with every ninth label wrong, so that folds err, and each fifth text once more in capitals."""
    texts, labels = messages(count)
    labels = [{"ham": "spam", "spam": "ham"}[label] if at % 9 == 0 else label for at, label in enumerate(labels)]
    return write_csv(path, [*texts, *(text.upper() for text in texts[::5])], [*labels, *labels[::5]])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished run in three folds; read it only."""
    from tailtune.resolving import resolve
    from tailtune.train import train

    folder = tmp_path_factory.mktemp("folds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(folder / "home"))
        flags = {"data": str(_noisy(folder / "messages.csv")), "model": str(tiny_llama), "out": str(folder / "run")}
        train(resolve({**flags, "folds": 3, "method": "probe", "depth": 2, "abstain": 0.2}).config)
    return folder / "run"


def test_every_row_is_answered_once(run: Path) -> None:
    """predictions.jsonl has each row once and in order; split.json names the rows of each fold, and no test part."""
    answers = json_lines((run / "predictions.jsonl").read_text())
    assert [answer["row"] for answer in answers] == list(range(1, 193))
    split = json.loads((run / "split.json").read_text())
    assert sorted(row for rows in split["folds"] for row in rows) == list(range(1, 193))
    assert [answer["fold"] for answer in answers] == [
        next(number for number, rows in enumerate(split["folds"], start=1) if row in rows) for row in range(1, 193)
    ]
    assert (len(split["train"]) + len(split["validation"]), split["test"]) == (192, [])
    # Copies in capitals are tested together.
    fold_of = {answer["row"]: answer["fold"] for answer in answers}
    assert all(fold_of[161 + place] == fold_of[1 + 5 * place] for place in range(32))


def test_the_numbers_agree(run: Path) -> None:
    """Scores are those of all answers; fold by fold they add up; baselines and verdict are of the same rows."""
    metrics = read_metrics(run)
    answers = json_lines((run / "predictions.jsonl").read_text())
    right = [answer["label"] == answer["predicted"] for answer in answers]
    assert metrics["test"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert 0 < sum(right) < len(right)
    each = metrics["folds"]["each"]
    assert sum(fold["rows"] for fold in each) == metrics["test"]["rows"] == 192
    assert sum(fold["accuracy"] * fold["rows"] for fold in each) == pytest.approx(sum(right))
    accuracy = metrics["folds"]["measures"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(sum(fold["accuracy"] for fold in each) / 3)
    assert accuracy["interval"][0] < accuracy["mean"] < accuracy["interval"][1]
    assert set(metrics["baselines"]) == {"majority", "word_tfidf_lr", "char_tfidf_lr"}
    assert len(metrics["verdict"]["fold_interval"]) == 2
    assert metrics["abstain"]["test"]["answered"]["of"] == 192
    assert metrics["data"]["parts"]["test"] == 0
    assert (metrics["test"]["reading"]["nth"], metrics["test"]["raw"]["accuracy"]) == (1, metrics["test"]["accuracy"])


def test_the_reports_say_what_was_tested(run: Path) -> None:
    """The numbers are the procedure's; means, corrected intervals and every fold are shown; the model card says it."""
    for page in (run / "report.md", run / "report.html", run / "bundle" / "README.md"):
        text = page.read_text()
        assert "Each of 192 rows was tested once" in text
        assert "has no test of its own" in text
    for page in (run / "report.md", run / "report.html"):
        text = page.read_text()
        assert "corrected 95 % interval" in text
        assert "Nadeau and Bengio" in text


def test_the_saved_classifier_answers(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It predicts as any other, knows all rows as its own, and can be set beside another run on the same rows."""
    answer = json.loads(call(capsys, "predict", run, "Are we still on for lunch tonight?", "--json").out)
    assert answer["label"] in ("ham", "spam")
    own = write_csv(tmp_path / "own.csv", *messages(10))
    overlap = json.loads(call(capsys, "evaluate", run, own, "--json").out)["overlap"]
    assert overlap["train"] + overlap["validation"] == 10


def test_another_seed_deals_other_folds_and_is_another_choice(
    run: Path, tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs in folds test the same rows: they are paired, and counted as readings of one test part."""
    data = _noisy(tmp_path / "messages.csv")
    outs = [tmp_path / "a", tmp_path / "b"]
    found: list[dict[str, Any]] = []
    for seed, out in enumerate(outs, start=1):
        outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", out, "--seed", seed, *FOLDS)
        assert outcome.code == 0, outcome.err
        assert "folds: on average accuracy" in outcome.out
        assert outcome.err.count("fold ") == 3
        found.append(read_metrics(out)["test"]["reading"])
    assert [(each["nth"], each["choices"]) for each in found] == [(1, 1), (2, 2)]
    compared = json.loads(call(capsys, "compare", *outs, "--json").out)
    assert compared["pairs"][0]["paired"]
    assert compared["readings"][0]["times"] == 2


@pytest.mark.parametrize(
    "more",
    [("--split-by", "hash"), ("--time-column", "text"), ("--test", "messages.csv"), ("--recipe", "chapter")],
)
def test_folds_refuse_other_splits(
    more: tuple[str, str], tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line before anything is read."""
    data = write_csv(tmp_path / "messages.csv", *messages(40))
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", *FOLDS, *more)
    assert "--folds 3 makes its own parts" in require_refusal(outcome, 2)
    assert not (tmp_path / "run").exists()


def test_folds_that_cannot_be_dealt_are_refused_before_the_pass(
    tmp_path: Path, tiny_llama: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More folds than rows: one line, nothing computed, no reading written."""
    data = write_csv(tmp_path / "messages.csv", *messages(12))
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", "--folds", "20")
    assert "fill 12 of 20 folds" in require_refusal(outcome, 3)
    assert list(own_home.iterdir()) == []
