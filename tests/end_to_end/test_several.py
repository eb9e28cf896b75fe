"""Texts with any number of labels, from a file to answers: one command each, three ways to write the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import Outcome, call, json_lines, read_metrics, require_refusal
from support.texts import messages, tagged, write_csv, write_tagged
from tailtune import TextClassifier
from tailtune.predict import Predictor

COUNT = 160
NAMES = ["anger", "joy", "love"]
FAST = ["--method", "probe", "--depth", "2"]


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    """Train and return the metrics of the run in ``out``."""
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same texts as lists, with a separator and with a column per label."""
    folder = tmp_path_factory.mktemp("files")
    texts, labels = tagged(COUNT)
    separated = [f"{text},{'|'.join(own)}" for text, own in zip(texts, labels, strict=True)]
    flags = [
        ",".join([text, *(str(int(name in own)) for name in NAMES)]) for text, own in zip(texts, labels, strict=True)
    ]
    (folder / "separated.csv").write_text("\n".join(["text,label", *separated]) + "\n")
    (folder / "flags.csv").write_text("\n".join([",".join(["text", *NAMES]), *flags]) + "\n")
    return {
        "lists": write_tagged(folder / "lists.jsonl", texts, labels),
        "separated": folder / "separated.csv",
        "flags": folder / "flags.csv",
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path], tiny_llama: Path) -> Path:
    """A finished run of the defaults on lists; read it only."""
    from tailtune.resolving import resolve
    from tailtune.train import train

    out = tmp_path_factory.mktemp("several") / "run"
    train(resolve({"data": str(files["lists"]), "model": str(tiny_llama), "out": str(out), "cache": False}).config)
    return out


def test_three_ways_to_write_labels_are_one(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], tiny_llama: Path, tmp_path: Path
) -> None:
    """The same split, the same probabilities, the same scores, whichever way the file has them."""
    found = {}
    for name, more in (
        ("lists", ()),
        ("separated", ("--label-separator", "|")),
        ("flags", ("--label-columns", ",".join(NAMES))),
    ):
        found[name] = trained(capsys, files[name], tiny_llama, tmp_path / name, *FAST, "--no-baselines", *more)
    tests = [metrics["test"] for metrics in found.values()]
    readings = [test.pop("reading") for test in tests if test.pop("read_at")]
    assert tests[0] == tests[1] == tests[2]
    assert [reading["nth"] for reading in readings] == [1, 2, 3]  # the same rows, however they are spelled
    assert tests[0]["micro_f1"] > 0.9
    assert tests[0]["rows"] == found["lists"]["data"]["parts"]["test"]


def test_a_run_holds_everything(run: Path) -> None:
    """Scores with intervals beside the baselines, a verdict, thresholds; the bundle says which problem it is for."""
    metrics = read_metrics(run)
    assert metrics["problem_type"] == "multi_label_classification"
    assert metrics["labels"] == NAMES
    test = metrics["test"]
    for key in ("micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy", "hamming_loss", "log_loss"):
        low, high = test[f"{key}_interval"] or (0, 1)  # of means over labels without an error there is none
        assert low <= test[key] <= high, key
        assert all(f"{key}_interval" in baseline for baseline in metrics["baselines"].values()), key
    assert set(test["per_label"]) == set(metrics["label_rules"]["labels"]) == set(NAMES)
    assert metrics["verdict"]["kind"] in {"better", "not distinguishable", "worse"}
    manifest = json.loads((run / "bundle" / "bundle.json").read_text())
    assert manifest["problem_type"] == "multi_label_classification"
    assert manifest["format_version"] == (6 if metrics.get("blend") else 4)
    assert manifest["rules"]["thresholds"] == [metrics["label_rules"]["labels"][name]["threshold"] for name in NAMES]
    lines = json_lines((run / "predictions.jsonl").read_text())
    assert len(lines) == test["rows"]
    for place, curve in enumerate(metrics["detail"]["thresholds"]["test"]["classes"]):
        assert NAMES[curve["class"]] == NAMES[place]
        assert curve["positives"] == curve["true"][-1] == sum(NAMES[place] in line["labels"] for line in lines)
    assert metrics["detail"]["thresholds"]["validation"]["rows"] == metrics["data"]["parts"]["validation"]
    right = sum(line["labels"] == line["predicted"] for line in lines)
    assert right / len(lines) == pytest.approx(test["subset_accuracy"])


def test_the_reports_show_it(run: Path) -> None:
    """Both reports and the card: scores, each label with its threshold, baselines; nothing of one label per text."""
    texts = {name: (run / name).read_text() for name in ("report.md", "report.html", "bundle/README.md")}
    for name, text in texts.items():
        assert "micro F1" in text, name
        assert "average precision" in text, name
        assert all(label in text for label in NAMES), name
        assert "Confusions" not in text, name
    for wanted in ("threshold", "Labels that go together", "Worst errors", "whole sets right", "stated probability"):
        assert wanted in texts["report.html"], wanted
    assert "## Each label" in texts["report.md"]
    assert "Micro F1" in texts["bundle/README.md"]


def test_prediction_in_words_and_json(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    """Every label with its probability and what it has to reach; JSON has labels, probabilities, thresholds."""
    texts = tagged(COUNT)[0]
    outcome = call(capsys, "predict", run, texts[6], texts[8])
    assert outcome.code == 0
    assert "labels: joy, love" in outcome.out or "labels: love, joy" in outcome.out
    assert "labels: none" in outcome.out
    assert "from " in outcome.out
    outcome = call(capsys, "predict", run, "--json", texts[1])
    (answer,) = json_lines(outcome.out)
    assert answer["labels"] == ["anger"]
    assert list(answer["probabilities"]) == list(answer["thresholds"]) == NAMES
    for name in NAMES:
        assert (name in answer["labels"]) == (answer["probabilities"][name] >= answer["thresholds"][name])
    assert {"label", "confidence", "rule"}.isdisjoint(answer)


def test_answers_stream_to_a_file_and_resume(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    """As those of one label per text do; a part with other thresholds is not gone on with."""
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{text}\n" for text in tagged(20)[0]))
    assert call(capsys, "predict", run, "--file", texts, "--out", tmp_path / "a.jsonl").code == 0
    answers = (tmp_path / "a.jsonl").read_text()
    lines = json_lines(answers)
    assert len(lines) == 20
    (tmp_path / "b.jsonl.part").write_text("".join(answers.splitlines(keepends=True)[:5]))
    assert call(capsys, "predict", run, "--file", texts, "--out", tmp_path / "b.jsonl", "--resume").code == 0
    assert (tmp_path / "b.jsonl").read_text() == answers
    lines[0]["thresholds"]["joy"] = 0.123
    (tmp_path / "c.jsonl.part").write_text(json.dumps(lines[0]) + "\n")
    outcome = call(capsys, "predict", run, "--file", texts, "--out", tmp_path / "c.jsonl", "--resume")
    require_refusal(outcome, 3)


def test_evaluate_on_other_rows(
    capsys: pytest.CaptureFixture[str], run: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    """A labelled file gives the same kind of scores; unknown labels and lists for the wrong bundle are refused."""
    outcome = call(capsys, "evaluate", run, files["flags"], "--label-columns", ",".join(NAMES), "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["test"]["rows"] == COUNT
    assert found["test"]["micro_f1_interval"][0] <= found["test"]["micro_f1"]
    assert set(found["thresholds"]) == set(NAMES)
    shown = call(capsys, "evaluate", run, files["lists"])
    assert shown.code == 0
    assert "micro F1" in shown.out
    assert "love" in shown.out
    other = write_tagged(tmp_path / "other.jsonl", ["a text"], [["grief"]])
    assert "label 'grief' is unknown to the classifier" in require_refusal(call(capsys, "evaluate", run, other), 3)
    said = require_refusal(call(capsys, "evaluate", run, files["separated"]), 3)
    assert "label 'anger|joy' is unknown" in said or "the label is blank" in said


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    outcome: Outcome = call(capsys, *arguments)
    return require_refusal(outcome, code)


def test_what_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], run: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Settings for one label per text, contradictions, comparing: one line each, before anything is computed."""
    base = ("train", files["lists"], "--model", tiny_llama, "--out", tmp_path / "run")
    assert "--abstain 0.1: these texts have lists of labels" in refused(capsys, 2, *base, "--abstain", "0.1")
    assert "--balance undersample" in refused(capsys, 2, *base, "--balance", "undersample")
    both = ("--label-separator", ",", "--label-columns", "a,b")
    assert "contradict each other" in refused(capsys, 2, *base, *both)
    assert "can have several labels" in refused(capsys, 4, "compare", run, tmp_path)
    assert not (tmp_path / "run").exists()


def test_check_reads_them_too(capsys: pytest.CaptureFixture[str], files: dict[str, Path]) -> None:
    """Counts by label, not by set."""
    outcome = call(capsys, "data", "check", files["separated"], "--label-separator", "|", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["classes"] == {"anger": 80, "joy": 80, "love": 80}
    assert "rows have several labels" in call(capsys, "data", "check", files["lists"]).out


def test_lists_in_python(tiny_llama: Path, tmp_path: Path) -> None:
    """fit, predict, predict_proba, score, save and load; a list of lists comes back."""
    texts, labels = tagged(COUNT)
    classifier = TextClassifier(model=str(tiny_llama), method="probe", depth=2, cache=False).fit(texts, labels)
    assert classifier.classes_.tolist() == NAMES
    rows = classifier.predict_proba(texts[:8])
    assert rows.shape == (8, 3)
    assert np.abs(rows.sum(axis=1) - 1).max() > 0.1
    assert classifier.predict(texts[:8]) == [sorted(own) for own in labels[:8]]
    assert classifier.score(texts, labels) > 0.9
    (answer,) = classifier.explain(texts[7:8])
    assert set(answer.given) == set(NAMES)
    classifier.save(tmp_path / "bundle")
    np.testing.assert_allclose(TextClassifier.load(tmp_path / "bundle").predict_proba(texts[:8]), rows, atol=1e-6)
    assert Predictor.load(tmp_path / "bundle").bundle.labels.several


def test_a_tail_learns_several_labels(
    capsys: pytest.CaptureFixture[str], files: dict[str, Path], tiny_llama: Path, tmp_path: Path
) -> None:
    """Binary cross-entropy starts at ln 2 for each label and falls; aims hold per label; the bundle answers alike."""
    tail = ("--method", "tail", "--depth", "2", "--epochs", "3", "--learning-rate", "3e-3", "--no-baselines")
    metrics = trained(capsys, files["lists"], tiny_llama, tmp_path / "run", *tail, "--min-precision", "0.9")
    losses = metrics["curves"]["steps"]["loss"]
    assert losses[0] == pytest.approx(np.log(2), abs=0.35)
    assert losses[-1] < 0.5 * losses[0]
    assert metrics["test"]["mean_average_precision"] > 0.9
    assert "precision at least 90 %" in metrics["label_rules"]["rule"]


def test_one_label_per_text_is_untouched(capsys: pytest.CaptureFixture[str], tiny_llama: Path, tmp_path: Path) -> None:
    """A column of strings trains the same classifier as ever, in the same bundle format."""
    metrics = trained(capsys, write_csv(tmp_path / "m.csv", *messages(60)), tiny_llama, tmp_path / "run", *FAST)
    assert "problem_type" not in metrics
    manifest = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert manifest["format_version"] < 4


@pytest.mark.network
def test_goemotions_with_a_tiny_model(
    capsys: pytest.CaptureFixture[str], public_data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """28 labels, some of them on no row of a part: every step works, and every label is told."""
    folder = public_data / "goemotions"
    if not (folder / "train.tsv").is_file():
        pytest.skip(f"no GoEmotions in {public_data}")
    names = (folder / "labels.txt").read_text().split()
    for part, rows in (("train", 3000), ("test", 200)):
        cells = [line.split("\t") for line in (folder / f"{part}.tsv").read_text().split("\n")[:rows]]
        labels = [[names[int(at)] for at in ids.split(",")] for _, ids, _ in cells]
        write_tagged(tmp_path / f"{part}.jsonl", [text for text, _, _ in cells], labels)
    files = (tmp_path / "train.jsonl", tiny_llama, tmp_path / "run", "--test", tmp_path / "test.jsonl")
    metrics = trained(capsys, *files, *FAST, "--no-baselines")
    assert metrics["data"]["parts"]["test"] == 200
    assert set(metrics["test"]["per_label"]) == set(metrics["labels"])
    assert len(metrics["labels"]) > 20
    low, high = metrics["test"]["micro_f1_interval"]
    assert 0 < low < high < 1
