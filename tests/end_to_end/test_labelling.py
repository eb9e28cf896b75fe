"""From no labels to a classifier on the command line: suggest, label, train, suggest again, labelling tools."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.command_line import Outcome, call, require_refusal
from support.texts import messages, tagged, write_csv, write_tagged

QUICK = ["--method", "probe", "--depth", "2", "--no-baselines", "--no-highlights", "--no-doubts", "--quiet"]


def write_pool(path: Path, texts: list[str]) -> Path:
    """Write a table with texts alone."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> tuple[Path, Path, list[str]]:
    """A run on 60 messages, their file, and 60 other messages."""
    folder = tmp_path_factory.mktemp("trained")
    texts, labels = messages(120)
    data = write_csv(folder / "data.csv", texts[:60], labels[:60])
    command = [sys.executable, "-m", "tailtune.cli", "train", data, "--model", tiny_llama, *QUICK]
    done = subprocess.run([*map(str, command), "--out", str(folder / "run")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "run", data, texts[60:]


def piped(typed: str, *arguments: object, **variables: str) -> Outcome:
    """Return the outcome of one command with ``typed`` on its stdin."""
    command = [sys.executable, "-m", "tailtune.cli", *map(str, arguments)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, input=typed, capture_output=True, text=True, check=False, env=environment)
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def answer_all(truth: Mapping[str, str], *arguments: object) -> None:
    """Run one command and answer 40 of its questions rightly, each after it was shown."""
    command = [sys.executable, "-m", "tailtune.cli", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(40):
            shown = b""
            while not shown.endswith(b"q quit: "):
                shown += process.stdout.read(1)
            text = next(line for line in shown.decode("utf-8").splitlines() if line in truth)
            process.stdin.write(f"{truth[text]}\n".encode())
            process.stdin.flush()


def test_suggestions_leave_out_what_is_known(
    tmp_path: Path, trained: tuple[Path, Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts of the run, near duplicates of those and of each other are not asked, by marks alone neither."""
    run, data, fresh = trained
    known, _ = messages(60)
    near = known[10].replace("reward", "present").replace("tonight", "today")
    assert near != known[10]
    pool = write_pool(tmp_path / "pool.csv", [*known[:20], near, *fresh, fresh[0].upper(), ""])
    out = tmp_path / "next.jsonl"
    outcome = call(capsys, "suggest", run, pool, "--count", "500", "--out", out)
    assert outcome.code == 0, outcome.err
    assert "left out: 1 blank; 21 labelled already, or near duplicates of those; 1 near duplicates of others" in (
        outcome.err
    )
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {row["text"] for row in rows} == set(fresh)
    assert outcome.out == f"60 texts in {out}\n"
    pool = write_pool(tmp_path / "other.csv", [*known[:10], near, *fresh])
    moved = data.rename(data.with_name("moved.csv"))
    try:
        outcome = call(
            capsys, "suggest", run / "bundle", pool, "--count", "500", "--format", "csv", "--by", "diversity"
        )
    finally:
        moved.rename(data)
    asked = {row["text"] for row in csv.DictReader(outcome.out.splitlines())}
    assert asked == {*fresh, near}  # the near duplicate shows only where the data can be read


def test_suggestions_are_the_uncertain_ones(
    tmp_path: Path, trained: tuple[Path, Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """By uncertainty: those of the lowest confidence that predict gives; the same again; a listing for people."""
    run, _, fresh = trained
    pool = write_pool(tmp_path / "pool.csv", fresh)
    outcome = call(capsys, "suggest", run, pool, "--count", "5", "--by", "uncertainty", "--format", "jsonl")
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    predicted = call(capsys, "predict", run, "--file", pool, "--json")
    sure = {json.loads(line)["line"]: json.loads(line)["confidence"] for line in predicted.out.splitlines()}
    assert [row["line"] for row in rows] == sorted(sure, key=lambda line: sure[line])[:5]
    assert [row["uncertainty"] for row in rows] == pytest.approx([1 - sure[row["line"]] for row in rows], abs=1e-5)
    again = call(capsys, "suggest", run, pool, "--count", "5", "--by", "uncertainty", "--format", "jsonl")
    assert again.out == outcome.out
    shown = call(capsys, "suggest", run, pool, "--count", "3").out
    assert "3 texts to label, chosen by both with run" in shown


def test_cold_start(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a run a model compares texts; doubt needs somebody who doubts. Plain lines are texts too."""
    texts, _ = messages(40)
    lines = tmp_path / "pool.txt"
    lines.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    outcome = call(capsys, "suggest", lines, "--model", tiny_llama, "--count", "6", "--format", "label-studio")
    tasks = json.loads(outcome.out)
    assert len({task["data"]["text"] for task in tasks} & set(texts)) == 6
    assert all("predictions" not in task for task in tasks)
    said = require_refusal(call(capsys, "suggest", lines, "--model", tiny_llama, "--by", "margin"), 2)
    assert "--by margin: nothing knows any label yet" in said


def test_suggestions_for_several_labels(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Uncertain by the mean over labels; guesses are lists."""
    texts, labels = tagged(120)
    data = write_tagged(tmp_path / "data.jsonl", texts[:80], labels[:80])
    pool = write_pool(tmp_path / "pool.csv", texts[80:])
    run = tmp_path / "run"
    assert call(capsys, "train", data, "--model", tiny_llama, *QUICK, "--out", run).code == 0
    outcome = call(capsys, "suggest", run, pool, "--count", "4", "--format", "argilla", "--labelled", data)
    values = [record["suggestions"]["label"] for record in json.loads(outcome.out)]
    assert len(values) == 4
    assert all(isinstance(value["value"], list) and len(value["value"]) == len(value["score"]) for value in values)
    said = require_refusal(call(capsys, "label", pool, "--with", run), 2)
    assert "texts with any number of labels are not labelled here" in said


def test_suggest_refusals(
    tmp_path: Path, trained: tuple[Path, Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is overwritten, guessed at or left unsaid."""
    run, data, fresh = trained
    pool = write_pool(tmp_path / "pool.csv", fresh)
    for arguments, code, part in (
        ([run, pool, "--out", pool], 2, "exists already"),
        ([run, pool, "--out", tmp_path / "tasks.json"], 2, "the form is not clear from the name"),
        ([run, pool, "--model", "tiny"], 2, "the run brings its own model"),
        ([run, pool, pool], 2, "expected a run and a file, got 3 names"),
        ([run, pool, "--count", "0"], 2, "--count 0: expected 1 or more"),
        ([run, data], 3, "no text is left to label"),
        ([pool, pool], 4, "neither a bundle"),
    ):
        assert part in require_refusal(call(capsys, "suggest", *arguments), code)
    assert [path.name for path in tmp_path.iterdir()] == ["pool.csv"]


def test_label_and_train(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers through a pipe, in two sittings, become a file that train reads; the run then guesses."""
    texts, labels = messages(60)
    truth = dict(zip(texts, labels, strict=True))
    pool, answers = write_pool(tmp_path / "pool.csv", texts), tmp_path / "pool-labelled.csv"
    label = ["label", pool, "--labels", "ham,spam", "--model", tiny_llama, "--every", "4"]
    first = piped("1\ns\nspam\nu\n2\nq\n", *label)
    assert first.code == 0, first.err
    assert first.out.endswith(f"\n2 answers in {answers}\n")
    with answers.open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["ham", "spam"]
    answers.unlink()
    answer_all(truth, *label)
    run = tmp_path / "run"
    outcome = call(capsys, "train", answers, "--model", tiny_llama, *QUICK, "--out", run)
    assert outcome.code == 0, outcome.err
    guessed = piped("q\n", "label", pool, "--with", run, "--out", tmp_path / "more.csv")
    assert guessed.code == 0, guessed.err
    assert " %  " in guessed.out
    assert "0 labelled (ham 0, spam 0), 20 left" in guessed.out


def test_label_on_a_terminal(tmp_path: Path, tiny_llama: Path) -> None:
    """Single keys, no colours where nobody wants them, and Ctrl-C loses nothing."""
    texts, _ = messages(20)
    pool = write_pool(tmp_path / "pool.csv", ["漢字 🎉 " + text for text in texts])
    command = [sys.executable, "-m", "tailtune.cli", "label", pool, "--labels", "ham,eggs", "--model", tiny_llama]
    master, slave = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [*map(str, command), "--quiet"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""

    def until(times: int) -> None:
        nonlocal shown
        while shown.count(b"q quit: ") < times:
            shown += os.read(master, 1 << 16)

    for number, key in enumerate((b"1", b"2", b"u", b"eg\n", b"s"), start=1):
        until(number)
        os.write(master, key)
    until(6)
    process.send_signal(2)
    try:
        while block := os.read(master, 1 << 16):
            shown += block
    except OSError:  # Linux reports the closing of the other side as an input/output error
        pass
    assert process.wait(timeout=60) == 130
    os.close(master)
    screen = shown.decode("utf-8")
    assert "漢字 🎉" in screen
    assert "\x1b[3" not in screen
    assert "2 answers in" in screen
    assert "interrupted" in screen
    with (tmp_path / "pool-labelled.csv").open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["ham", "eggs"]


def test_an_export_is_trained_on_directly(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``tailtune train export.json``: what annotators did not settle is said and left out; data check says it too."""
    texts, labels = messages(60)
    tasks = []
    for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
        choices = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}
        made = [] if number in (3, 4) else [{"was_cancelled": False, "result": [choices]}]
        tasks.append({"id": number, "data": {"text": text}, "annotations": made})
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks), encoding="utf-8")
    asked = [flag for flag in QUICK if flag != "--quiet"]
    outcome = call(capsys, "train", export, "--model", tiny_llama, *asked, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "texts without an answer, left out: 2, rows 4, 5" in outcome.err
    assert json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["data"]["rows"] == 58
    checked = call(capsys, "data", "check", export)
    assert "left out: 2, rows 4, 5" in checked.out
    assert call(capsys, "evaluate", tmp_path / "run", export, "--json").code == 0
