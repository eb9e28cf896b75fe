"""Texts of several columns and words around them, from the command line to every way of answering."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from support.texts import messages, write_csv

TEMPLATE = r"About {subject}: {body}\nThis is"
QUICK = ["--no-baselines", "--quiet", "--precision", "fp32", "--no-doubts"]
PROBE = ["--method", "probe", "--depth", "2"]


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred messages, their first word in a column of its own; read it only."""
    path = tmp_path_factory.mktemp("data") / "mail.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "kind", "subject", "body"])
        for number, (text, label) in enumerate(zip(*messages(100), strict=True)):
            writer.writerow([number, label, *text.split(" ", 1)])
    return path


@pytest.fixture(scope="module")
def run(mail: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe on both columns; read it only."""
    from tailtune.cli import main

    out = tmp_path_factory.mktemp("runs") / "mail"
    columns = ["--label-column", "kind", "--template", TEMPLATE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(tmp_path_factory.mktemp("home")))
        assert main(["train", str(mail), "--model", str(tiny_llama), "--out", str(out), *columns, *QUICK, *PROBE]) == 0
    return out


def test_a_run_reads_columns_and_says_what_it_spared(run: Path) -> None:
    """The template stands in the bundle and the settings; its words were computed once."""
    metrics = read_metrics(run)
    assert metrics["config"]["template"] == metrics["template"] == TEMPLATE
    tokens = metrics["tokens"]
    assert 0 < tokens["spared"] < tokens["computed"]
    assert metrics["test"]["accuracy"] > 0.8
    manifest = json.loads((run / "bundle" / "bundle.json").read_text())
    assert (manifest["template"], manifest["format_version"]) == (TEMPLATE, 6)


def test_files_with_the_columns_are_answered_alike(
    capsys: pytest.CaptureFixture[str], run: Path, mail: Path, tmp_path: Path
) -> None:
    """CSV, JSON lines in any order of keys, and the run's own answers to its test rows."""
    from_csv = call(capsys, "predict", run, "--file", mail, "--json")
    rows = list(csv.DictReader(io.StringIO(mail.read_text(encoding="utf-8"))))
    lines = tmp_path / "mail.jsonl"
    lines.write_text("".join(json.dumps(dict(reversed(row.items()))) + "\n" for row in rows), encoding="utf-8")
    from_json = call(capsys, "predict", run, "--file", lines, "--json")
    assert from_csv.code == from_json.code == 0
    ours, theirs = json_lines(from_csv.out), json_lines(from_json.out)
    assert len(ours) == len(theirs) == 100
    for one, other in zip(ours, theirs, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    for answer in json_lines((run / "predictions.jsonl").read_text()):
        again = list(ours[answer["row"] - 1]["probabilities"].values())
        assert answer["probabilities"] == pytest.approx(again, abs=1e-5)
    measured = call(capsys, "evaluate", run, mail, "--label-column", "kind", "--json", "--quiet")
    assert measured.code == 0, measured.err
    assert json.loads(measured.out)["test"]["accuracy"] > 0.8


def test_what_lacks_the_columns_is_refused(
    capsys: pytest.CaptureFixture[str], run: Path, mail: Path, tmp_path: Path
) -> None:
    """A plain text, a line of plain text, a file without a column: one line each."""
    plain = call(capsys, "predict", run, "hello")
    assert "text 1: a plain text, but the template reads several columns: 'subject', 'body'" in require_refusal(
        plain, 3
    )
    lines = tmp_path / "lines.txt"
    lines.write_text("hello\n", encoding="utf-8")
    outcome = call(capsys, "predict", run, "--file", lines)
    assert f"{lines}:1: a plain text, but the template reads" in require_refusal(outcome, 3)
    short = tmp_path / "short.jsonl"
    short.write_text('{"subject": "x"}\n', encoding="utf-8")
    outcome = call(capsys, "predict", run, "--file", short)
    assert f"{short}:1: no 'body', which the template reads; there are subject" in require_refusal(outcome, 3)
    named = call(capsys, "predict", run, "--file", mail, "--text-column", "body")
    assert "both say where the texts are" in require_refusal(named, 2)


def test_words_around_one_text(capsys: pytest.CaptureFixture[str], tiny_gpt2: Path, tmp_path: Path) -> None:
    """A template with {text} wraps whatever the text column is called, and plain texts."""
    data = write_csv(tmp_path / "a.csv", *messages(80))
    around = ["--template", r"Message: {text}\nThis message is"]
    trained = call(capsys, "train", data, "--model", tiny_gpt2, "--out", tmp_path / "run", *around, *QUICK, *PROBE)
    assert trained.code == 0, trained.err
    answer = call(capsys, "predict", tmp_path / "run", "WINNER!! Claim prize", "--json")
    assert json.loads(answer.out)["label"] == "spam"
    explained = call(capsys, "predict", tmp_path / "run", "WINNER!! Claim prize", "--json", "--explain")
    assert [each["text"] for each in json.loads(explained.out)["highlights"]] == ["WINNER!!", "Claim", "prize"]


@pytest.mark.parametrize(
    "case",
    [
        (["--template", "{body"], "a '{' without its partner"),
        (["--template", "{body}", "--text-column", "subject"], "both say where the texts are"),
        (["--template", "{body} {title}"], "no column 'title'"),
        (["--template", "{body} {kind}"], "the template reads 'kind', which is the label column"),
        (["--label-words", "a=b"], "--label-words is of the LM head"),
        (["--calibrate-prior"], "--calibrate-prior is of the LM head"),
        (["--head-init", "lm"], "--head-init lm: --method auto starts no head at the top"),
        (["--method", "zero-shot", "--weights", "random"], "--weights random draws the model"),
        (["--method", "tail", "--head-init", "lm", "--pooling", "mean"], "the LM head reads the last token"),
        (["--method", "zero-shot", "--loss", "focal"], "--loss focal is of a tail; zero-shot fits nothing"),
        (["--method", "zero-shot", "--ema", "0.9"], "--ema 0.9 is of trained blocks; --method zero-shot has none"),
        (["--method", "zero-shot", "--label-words", "ham=a"], "no words for 'spam'"),
        (["--method", "zero-shot", "--label-words", "ham=home;spam=homely"], "begin with the same token"),
        (["--method", "tail", "--head-init", "lm", "--calibrate-prior"], "a head without a bias has no room for it"),
        (["--template", "{body} {subject}", "--recipe", "chapter"], "--recipe chapter reads texts and labels alone"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    capsys: pytest.CaptureFixture[str], mail: Path, tiny_llama: Path, tmp_path: Path, case: tuple[list[str], str]
) -> None:
    """One line, and nothing is left behind."""
    flags, said = case
    out = tmp_path / "run"
    outcome = call(capsys, "train", mail, "--label-column", "kind", "--model", tiny_llama, "--out", out, *QUICK, *flags)
    assert said in require_refusal(outcome, outcome.code)
    assert outcome.code in (2, 3)
    assert not out.exists()


def test_members_of_a_blend_read_the_texts_that_the_template_makes(
    capsys: pytest.CaptureFixture[str], mail: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """n-grams count the joined columns, in training as in prediction; words around them are the language model's."""
    out, blended = tmp_path / "run", ["--ship", "language-model=0.5,char=0.5", "--template", TEMPLATE]
    outcome = call(
        *(capsys, "train", mail, "--label-column", "kind", "--model", tiny_llama, "--out", out),
        *(*QUICK, *PROBE, *blended),
    )
    assert outcome.code == 0, outcome.err
    assert json.loads((out / "bundle" / "bundle.json").read_text())["classifier"]["method"] == "blend"
    names = json.loads((out / "bundle" / "member-1.json").read_text(encoding="utf-8"))["vocabulary"]
    assert any(": " in name for name in names)  # what stands between the columns
    assert not any("bout" in name for name in names)  # what stands before them
    answers = json_lines(call(capsys, "predict", out, "--file", mail, "--json").out)
    for answer in json_lines((out / "predictions.jsonl").read_text()):
        again = list(answers[answer["row"] - 1]["probabilities"].values())
        assert answer["probabilities"] == pytest.approx(again, abs=1e-5)


def test_a_teacher_reads_what_its_student_reads(
    capsys: pytest.CaptureFixture[str], run: Path, mail: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Unlabelled rows are joined like the others; a student whose texts are joined otherwise is refused."""
    train = ["train", mail, "--label-column", "kind", "--model", tiny_llama, "--teacher", run, *QUICK, *PROBE]
    more = tmp_path / "more.csv"
    more.write_text("subject,body\nprize,claim your reward now\nhome,see you for dinner\n", encoding="utf-8")
    plain = ["--template", "{subject}: {body}", "--unlabelled", more]
    outcome = call(capsys, *train, "--out", tmp_path / "student", *plain)
    assert outcome.code == 0, outcome.err
    assert read_metrics(tmp_path / "student")["teacher"]["unlabelled"] == 2
    other = call(capsys, *train, "--out", tmp_path / "other", "--template", "{body} {subject}")
    assert "reads texts of other columns, or joined in another way" in require_refusal(other, 2)


def test_texts_to_label_are_one_column(
    capsys: pytest.CaptureFixture[str], run: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Words around a text are fine; a classifier of columns is refused by both commands."""
    texts, labels = messages(110)
    pool = write_csv(tmp_path / "pool.csv", texts[80:], labels[80:])
    for command in (["suggest", run, pool], ["label", pool, "--with", run]):
        outcome = call(capsys, *command)
        assert "its template reads subject, body, and texts to label are one column" in require_refusal(outcome, 2)
    data = write_csv(tmp_path / "a.csv", texts[:80], labels[:80])
    around = ["--template", r"Message: {text}\nThis message is"]
    trained = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "around", *around, *QUICK, *PROBE)
    assert trained.code == 0, trained.err
    found = call(capsys, "suggest", tmp_path / "around", pool, "--count", "3", "--format", "jsonl", "--quiet")
    assert found.code == 0, found.err
    assert len(json_lines(found.out)) == 3
