"""A classifier without training, and heads that start from the LM head, from the command line on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from support.texts import messages, tagged, write_csv, write_tagged
from tailtune.predict import Predictor

WORDS = ["--label-words", "spam=prize,reward;ham=home,milk"]
AROUND = ["--template", r"Message: {text}\nThis message is"]
QUICK = ["--no-baselines", "--quiet", "--no-doubts"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred messages in two classes; read it only."""
    return write_csv(tmp_path_factory.mktemp("data") / "messages.csv", *messages(100))


def test_probabilities_without_a_label(capsys: pytest.CaptureFixture[str], tiny_llama: Path, tmp_path: Path) -> None:
    """Answers at once, and the saved bundle gives the same; labels are their own words where nothing else is said."""
    command = ["zero-shot", "hello you", "claim your prize", "--model", tiny_llama, *AROUND, *WORDS, "--json"]
    saved = call(capsys, *command, "--save", tmp_path / "bundle", "--calibrate-prior")
    assert saved.code == 0, saved.err
    answers = json_lines(saved.out)
    assert [list(answer["probabilities"]) for answer in answers] == [["ham", "spam"]] * 2
    again = json_lines(call(capsys, "predict", tmp_path / "bundle", "hello you", "claim your prize", "--json").out)
    for one, other in zip(answers, again, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    plain = json_lines(call(capsys, *command).out)
    assert plain[0]["probabilities"] != pytest.approx(answers[0]["probabilities"], abs=1e-3)
    own = call(capsys, "zero-shot", "hello", "--model", tiny_llama, "--labels", "home,prize", "--json")
    assert own.code == 0, own.err
    assert sum(json.loads(own.out)["probabilities"].values()) == pytest.approx(1.0)
    int8 = json_lines(call(capsys, *command, "--precision", "int8").out)
    assert int8[0]["probabilities"] == pytest.approx(plain[0]["probabilities"], abs=0.2)


def test_columns_without_training(capsys: pytest.CaptureFixture[str], tiny_gpt2: Path, tmp_path: Path) -> None:
    """A pair of texts is a template of two columns."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"question": "Who?", "answer": "Me.", "id": 7}\n', encoding="utf-8")
    template = ["--template", r"Q: {question}\nA: {answer}\nThe answer is"]
    outcome = call(capsys, "zero-shot", "--file", pairs, "--model", tiny_gpt2, *template, *WORDS, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["id"] == 7


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["hello"], 2, "expected at least two --labels, or --label-words"),
        (["--labels", "a,b"], 2, "expected texts, --file or --save"),
        (["hello", "--file", "x.csv", "--labels", "a,b"], 2, "expected texts or --file, one of the two"),
        (["hello", "--labels", "home,homely"], 2, "begin with the same token"),
        (["hello", "--labels", "spam,ham", "--label-words", "spam=a"], 2, "no words for 'ham'"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], tiny_llama: Path, flags: list[str], code: int, said: str) -> None:
    """One line each."""
    assert said in require_refusal(call(capsys, "zero-shot", "--model", tiny_llama, *flags), code)


def test_encoders_are_refused_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], tiny_bert: Path, data: Path, tmp_path: Path
) -> None:
    """They say no next word: without training, and as a start."""
    outcome = call(capsys, "zero-shot", "hello", "--model", tiny_bert, "--labels", "a,b")
    assert "is an encoder: it has no LM head" in require_refusal(outcome, 2)
    for flags in (["--method", "zero-shot"], ["--method", "probe", "--head-init", "lm"]):
        outcome = call(capsys, "train", data, "--model", tiny_bert, "--out", tmp_path / "run", *QUICK, *flags)
        assert "is an encoder: it has no LM head" in require_refusal(outcome, 2)


def test_a_run_without_training_is_measured_like_any_other(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Labels serve the test alone; report, bundle and evaluation are there."""
    run = tmp_path / "run"
    outcome = call(
        capsys, "train", data, "--model", tiny_llama, "--out", run, "--method", "zero-shot", *AROUND, *WORDS, *QUICK
    )
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(run)
    assert (metrics["method"], metrics["depth"], metrics["cut"]) == ("zero-shot", 4, 4)
    assert metrics["reason"] == "nothing is trained: the LM head's scores of 4 words at depth 4"
    assert [choice["candidate"] for choice in metrics["choices"]] == ["zero-shot"]
    report = (run / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert "method zero-shot" in report
    assert "texts made as Message: {text}nThis message is" in report
    alone = json_lines(call(capsys, "zero-shot", "hello you", "--model", tiny_llama, *AROUND, *WORDS, "--json").out)
    predicted = Predictor.load(run).with_scorer(Predictor.load(run).bundle.scorer).predict(["hello you"])
    assert alone[0]["probabilities"] == pytest.approx(dict(predicted[0].probabilities), abs=1e-5)
    again = call(capsys, "train", data, "--like", run, "--out", tmp_path / "again", *QUICK)
    assert again.code == 0, again.err
    assert read_metrics(tmp_path / "again")["config"]["label_words"] == WORDS[1]


@pytest.mark.parametrize("method", ["tail", "probe", "lora", "full"])
def test_heads_start_from_the_lm_head(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path, method: str
) -> None:
    """At full depth, without being told; a fresh process answers as the training did."""
    run, settings = tmp_path / "run", ["--method", method, "--head-init", "lm", "--learning-rate", "3e-3"]
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", run, *settings, *AROUND, *WORDS, *QUICK)
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(run)
    assert (metrics["method"], metrics["depth"]) == (method, 4)
    assert "the LM head's words" in metrics["reason"]
    assert metrics["test"]["accuracy"] > 0.8
    measured = call(capsys, "evaluate", run, data, "--json", "--quiet")
    assert json.loads(measured.out)["test"]["accuracy"] > 0.8


def test_lists_of_labels_have_no_next_word(
    capsys: pytest.CaptureFixture[str], tiny_llama: Path, tmp_path: Path
) -> None:
    """A text with several labels would need several words."""
    path = write_tagged(tmp_path / "tagged.jsonl", *tagged(60))
    flags = ["--model", tiny_llama, "--out", tmp_path / "run", "--method", "zero-shot", *QUICK]
    outcome = call(capsys, "train", path, *flags)
    assert "the LM head's next word is one word: these texts have lists of labels" in require_refusal(outcome, 2)
