"""Asking a saved classifier: by pipe while it is still open, by file, by argument and from Python, always the same."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from support.command_line import Outcome, call, call_limited, json_lines, process, require_refusal
from support.texts import messages, write_csv
from tailtune import TextClassifier
from tailtune.predict import Predictor
from tailtune.resolving import resolve
from tailtune.train import train

Piped = Callable[..., Outcome]

SECONDS = 60
TEXTS = ("WINNER!! claim your prize", "see you at lunch", "", "été 日本語 😀", "<|endoftext|>", "[bold]x[/bold]")


@pytest.fixture(scope="module", params=["probe", "tail"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished run of each method; read it only."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "data.csv", *messages(60))
    settings = {"method": request.param, "depth": 2, "epochs": 1, "baselines": False, "cache": False}
    return train(
        resolve({"data": str(data), "model": str(tiny_llama), "out": str(folder / "run"), **settings}).config
    ).folder


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished run of a probe; read it only."""
    folder = tmp_path_factory.mktemp("probe")
    data = write_csv(folder / "data.csv", *messages(60))
    settings = {"method": "probe", "depth": 2, "baselines": False, "cache": False}
    return train(
        resolve({"data": str(data), "model": str(tiny_llama), "out": str(folder / "run"), **settings}).config
    ).folder


@pytest.fixture
def asked(probe: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``predict --json -`` as a process, its stdin open."""
    command = [sys.executable, "-m", "tailtune.cli", "predict", str(probe), "--json", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(os.environ)) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Piped:
    """What ``predict --json -`` makes of bytes on stdin, in this process."""

    def ask(run: Path, content: str | bytes, *flags: str) -> Outcome:
        content = content.encode() if isinstance(content, str) else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return call(capsys, "predict", run, "--json", "-", *flags)

    return ask


def line_from(stream: IO[bytes] | None) -> dict[str, Any]:
    """Return the next answer, or fail when none comes."""
    assert stream is not None
    ready, _, _ = select.select([stream], [], [], SECONDS)
    assert ready, "no answer while stdin is open"
    answer: dict[str, Any] = json.loads(stream.readline())
    return answer


def send(stream: IO[bytes] | None, line: str) -> None:
    assert stream is not None
    stream.write(line.encode() + b"\n")
    stream.flush()


def test_answers_come_while_stdin_is_open(asked: subprocess.Popen[bytes]) -> None:
    """Each line is answered before the next is sent, with its id; closing stdin ends it with exit code 0."""
    for number in range(1, 4):
        send(asked.stdin, json.dumps({"id": number * 10, "text": f"message {number}"}))
        answer = line_from(asked.stdout)
        assert (answer["line"], answer["id"]) == (number, number * 10)
    assert asked.stdin is not None
    asked.stdin.close()
    assert asked.wait(SECONDS) == 0
    assert asked.stdout is not None
    assert asked.stdout.read() == b""


def test_a_reader_that_goes_away_ends_it_quietly(asked: subprocess.Popen[bytes]) -> None:
    """``… | head -1``: exit code 141 as the shell's own tools have it, and no traceback."""
    send(asked.stdin, "first message")
    line_from(asked.stdout)
    assert asked.stdout is not None
    asked.stdout.close()
    send(asked.stdin, "second message")
    assert asked.wait(SECONDS) == 141
    assert asked.stderr is not None
    assert asked.stderr.read() == b""


def test_ctrl_c_ends_it_in_one_line(asked: subprocess.Popen[bytes]) -> None:
    """An interrupt is exit code 130 and one line."""
    send(asked.stdin, "first message")
    line_from(asked.stdout)
    asked.send_signal(signal.SIGINT)
    assert asked.wait(SECONDS) == 130
    assert asked.stderr is not None
    assert asked.stderr.read() == b"error: interrupted\n"


def test_every_line_is_answered_in_order(run: Path, piped: Piped) -> None:
    """Objects with ids of any kind and bare strings, empty texts among them: one answer each, numbered by line."""
    lines = [
        json.dumps({"text": "one", "id": "a", "label": "ignored"}),
        json.dumps("two"),
        json.dumps({"id": None, "text": ""}),
        json.dumps({"id": {"shard": 1}, "text": "line one\nline two"}),
        json.dumps({"text": None, "id": 5}),
    ]
    outcome = piped(run, "\r\n".join(lines))
    assert (outcome.code, outcome.err) == (0, "")
    answers = json_lines(outcome.out)
    assert [answer["line"] for answer in answers] == [1, 2, 3, 4, 5]
    assert [answer.get("id", "none given") for answer in answers] == ["a", "none given", None, {"shard": 1}, 5]
    assert answers[2]["probabilities"] == pytest.approx(answers[4]["probabilities"], abs=1e-6)


def test_plain_lines_are_texts_as_they_are(probe: Path, piped: Piped) -> None:
    """Plain lines: blank ones are answered too, and braces or quotes further down stay text."""
    content = 'hello there\n\n   \n{"text": "not json here"}\n"quoted"\n42\n'
    outcome = piped(probe, content)
    assert (outcome.code, outcome.err) == (0, "")
    assert [answer["line"] for answer in json_lines(outcome.out)] == [1, 2, 3, 4, 5, 6]


def test_nothing_in_gives_nothing_out(probe: Path, piped: Piped) -> None:
    """An empty stdin is no error."""
    assert piped(probe, "") == Outcome(code=0, out="", err="")


@pytest.mark.parametrize(
    ("content", "answered", "expected"),
    [
        (b'{"text": "a"}\n{"text": "b"\n', 1, "stdin:2: not JSON"),
        (b'{"text": \n', 0, "stdin:1: not JSON"),
        (b'{"text": "a"}\n{"body": "b", "x": 1, "y": 2, "text2": 1}\n[1]\n', 2, "stdin:3: expected a JSON object"),
        (b'{"note": "a"}\n', 0, "stdin:1: no text column; columns present: 'note'"),
        (b'{"text": 5}\n', 0, "stdin:1: the text is a number"),
        (b"plain\ncaf\xe9\n", 1, "stdin:2: broken UTF-8"),
        (b"plain\na\0b\n", 1, "stdin:2: NUL"),
        (b'{"text": "a"}\n{"text": "\\u0000"}\n', 1, "stdin:2: NUL"),
        (b'{"text": "a"}\n{"text": "\\ud83d"}\n', 1, "stdin:2: half a character"),
        (b"fine\n" * 300 + b"caf\xe9\n", 300, "stdin:301: broken UTF-8"),
    ],
)
def test_a_broken_line_is_one_clear_error(
    probe: Path, piped: Piped, content: bytes, answered: int, expected: str
) -> None:
    """Exit code 3, the line number; the lines before it were answered."""
    outcome = piped(probe, content)
    assert len(outcome.out.splitlines()) == answered
    line = require_refusal(Outcome(code=outcome.code, out="", err=outcome.err), 3)
    assert expected in line


def test_another_key_for_the_text(probe: Path, piped: Piped) -> None:
    """--text-column names the key; without it the usual names are found."""
    lines = "".join(json.dumps({"note": text, "id": number}) + "\n" for number, text in enumerate(TEXTS))
    usual = "".join(json.dumps({"message": text, "id": number}) + "\n" for number, text in enumerate(TEXTS))
    named = piped(probe, lines, "--text-column", "note")
    assert (named.code, named.err) == (0, "")
    assert named.out == piped(probe, usual).out
    require_refusal(piped(probe, usual, "--text-column", "note"), 3)


def test_command_line_python_and_load_agree(run: Path, piped: Piped, capsys: pytest.CaptureFixture[str]) -> None:
    """The same texts get the same probabilities by argument, by pipe, by Predictor and by TextClassifier.load."""
    loaded = TextClassifier.load(run)
    expected = loaded.predict_proba(TEXTS)
    names = list(loaded.classes_)
    by_argument = call(capsys, "predict", run, "--json", "--", *TEXTS)
    assert (by_argument.code, by_argument.err) == (0, "")
    by_pipe = piped(run, "".join(json.dumps(text) + "\n" for text in TEXTS))
    for outcome in (by_argument, by_pipe):
        answers = json_lines(outcome.out)
        rows = [[answer["probabilities"][name] for name in names] for answer in answers]
        np.testing.assert_allclose(rows, expected, atol=1e-6)
        assert [answer["label"] for answer in answers] == loaded.predict(TEXTS).tolist()
    predictions = Predictor.load(run / "bundle").predict(TEXTS)
    np.testing.assert_allclose([list(one.probabilities.values()) for one in predictions], expected, atol=1e-6)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)


def test_people_see_every_category(probe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text view names each text and both categories with their percentages, markup signs as they are."""
    outcome = call(capsys, "predict", probe, *TEXTS)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count(" %") == 2 * len(TEXTS)
    shown = [line.split()[0] for line in outcome.out.splitlines() if " %" in line]
    assert shown.count("ham") == shown.count("spam") == len(TEXTS)
    assert "[bold]x[/bold]" in outcome.out
    assert "\x1b" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected texts or --file, one of the two"),
        (["text", "--file", "data.csv"], "expected texts or --file, one of the two"),
        (["text", "--jsn"], "--jsn"),
        (["text", "--out", "answers.jsonl"], "--out needs --file"),
        (["--file", "data.csv", "--resume"], "--resume needs --out"),
    ],
)
def test_wrong_use_is_refused(
    probe: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line."""
    assert expected in require_refusal(call(capsys, "predict", probe, *arguments), 2)


def test_argument_bytes_that_are_not_utf8_are_refused(probe: Path) -> None:
    """Exit code 3, and which text."""
    command = [
        sys.executable,
        "-m",
        "tailtune.cli",
        "predict",
        str(probe),
        "fine",
        b"caf\xe9".decode("utf-8", "surrogateescape"),
    ]
    assert "text 2: not valid UTF-8" in require_refusal(process(command), 3)


def many(folder: Path, count: int) -> Path:
    """Write ``count`` short texts with ids, a blank line among them."""
    texts, _ = messages(count)
    rows = [json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)]
    rows.insert(3, "\n")
    path = folder / "texts.jsonl"
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_answers_in_a_file_are_those_on_stdout(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bytes; stdout stays empty, one note says what was done, and nothing else is left."""
    file, out = many(tmp_path, 50), tmp_path / "answers.jsonl"
    written = call(capsys, "predict", run, "--file", file, "--out", out)
    assert (written.code, written.out) == (0, "")
    assert written.err.startswith(f"50 answers in {out}: 50 texts in ")
    assert "texts/s" in written.err
    printed = call(capsys, "predict", run, "--file", file, "--json")
    assert out.read_text(encoding="utf-8") == printed.out
    assert [answer["line"] for answer in json_lines(printed.out)] == [1, 2, 3, *range(5, 52)]
    assert [answer["id"] for answer in json_lines(printed.out)] == list(range(50))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "texts.jsonl"]


@pytest.mark.parametrize("limit", [100_000, 850_000])
def test_an_interrupted_file_is_gone_on_with_to_the_same_bytes(
    probe: Path, tmp_path: Path, limit: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full in the first or the second chunk of answers: --resume keeps what is whole and adds the rest."""
    file, whole, out = many(tmp_path, 5000), tmp_path / "whole.jsonl", tmp_path / "answers.jsonl"
    assert call(capsys, "predict", probe, "--file", file, "--out", whole, "--quiet").code == 0
    assert whole.stat().st_size > limit
    stopped = call_limited(limit, "predict", str(probe), "--file", str(file), "--out", str(out))
    assert stopped.code == 5, stopped
    part = out.with_name("answers.jsonl.part")
    left = part.read_bytes()
    assert 0 < len(left) <= limit
    refused = call(capsys, "predict", probe, "--file", file, "--out", out)
    assert "answers.jsonl.part of an earlier call is there" in require_refusal(refused, 2)
    assert part.read_bytes() == left
    resumed = call(capsys, "predict", probe, "--file", file, "--out", out, "--resume")
    assert resumed.code == 0, resumed.err
    kept = left.count(b"\n")
    assert resumed.err.startswith(f"{kept:,} answers kept; going on at line ")
    assert out.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_a_part_of_another_classifier_is_not_gone_on_with(
    probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first answers are asked again; where they differ nothing is added."""
    file, out = many(tmp_path, 20), tmp_path / "answers.jsonl"
    assert call(capsys, "predict", probe, "--file", file, "--out", out, "--quiet").code == 0
    answers = json_lines(out.read_text(encoding="utf-8"))
    out.unlink()
    answers[1]["probabilities"] = {"ham": 0.5, "spam": 0.5}
    part = out.with_name("answers.jsonl.part")
    part.write_text("".join(json.dumps(answer) + "\n" for answer in answers[:5]), encoding="utf-8")
    before = part.read_bytes()
    refused = call(capsys, "predict", probe, "--file", file, "--out", out, "--resume")
    assert "the answer to line 2 in the part differs" in require_refusal(refused, 3)
    assert part.read_bytes() == before


def test_a_broken_line_can_be_mended_and_gone_on_with(
    probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was answered before the line stays beside the final name."""
    file, out = many(tmp_path, 30), tmp_path / "answers.jsonl"
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace('{"id": 20,', '{"id" 20,'), encoding="utf-8")
    broken = call(capsys, "predict", probe, "--file", file, "--out", out)
    assert "texts.jsonl:22: not JSON" in require_refusal(broken, 3)
    file.write_text(good, encoding="utf-8")
    mended = call(capsys, "predict", probe, "--file", file, "--out", out, "--resume")
    assert mended.err.startswith("20 answers kept; going on at line 22")
    assert out.read_text(encoding="utf-8") == call(capsys, "predict", probe, "--file", file, "--json").out


def test_a_table_can_be_answered_into_a_file(probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line is that of the row in the file."""
    file = write_csv(tmp_path / "rows.csv", *messages(20))
    assert call(capsys, "predict", probe, "--file", file, "--out", tmp_path / "a.jsonl", "--quiet").code == 0
    answers = json_lines((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    assert [answer["line"] for answer in answers] == list(range(2, 22))


def test_evaluate_reads_other_columns(probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns by any name when told; blank texts are left out; the scores are those of the predictions."""
    texts, labels = messages(20)
    path = tmp_path / "other.csv"
    rows = [f'{label},"{text}"' for text, label in zip(texts, labels, strict=True)]
    path.write_text("answer,words\n" + "\n".join([*rows, "ham,  "]) + "\n", encoding="utf-8")
    require_refusal(call(capsys, "evaluate", probe, path), 3)
    flags = ["--text-column", "words", "--label-column", "answer", "--json"]
    outcome = call(capsys, "evaluate", probe, path, *flags)
    assert (outcome.code, outcome.err) == (0, "")
    metrics = json.loads(outcome.out)
    assert metrics["test"]["rows"] == metrics["data"]["rows"] == 20
    assert metrics["test"]["accuracy"] == TextClassifier.load(probe).score(texts, labels)
    assert "blank_texts" in [found["kind"] for found in metrics["data"]["findings"]]


def test_evaluating_on_one_class_is_fine(probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of one known class can be measured; the other class has no rows."""
    texts, _ = messages(10)
    other = write_csv(tmp_path / "one.csv", texts[::2], ["ham"] * 5)
    outcome = call(capsys, "evaluate", probe, other, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["test"]["per_class"]["spam"]["support"] == 0
