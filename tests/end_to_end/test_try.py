"""``tailtune try``: a sitting on a real terminal, and texts through a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command_line import call, process, require_refusal
from support.texts import messages, write_csv
from tailtune.predict import Predictor

_PATIENCE_SECONDS = 60.0
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
QUICK = [
    "--method",
    "probe",
    "--depth",
    "2",
    "--no-highlights",
    "--no-doubts",
    "--abstain",
    "0.05",
    "--baselines",
    "tfidf",
    "--quiet",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A run on 400 messages."""
    folder = tmp_path_factory.mktemp("run")
    data = write_csv(folder / "data.csv", *messages(400))
    command = [sys.executable, "-m", "tailtune.cli", "train", data, "--model", tiny_llama, *QUICK]
    done = subprocess.run([*map(str, command), "--out", str(folder / "run")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "run"


class Sitting:
    """``tailtune try`` on a pseudo-terminal.

    Args:
        arguments: After ``try``.
        env: Further environment variables.

    Attributes:
        shown: All that came so far, without colours and cursor moves.
        raw: All that came.
    """

    def __init__(self, *arguments: object, **env: str) -> None:
        command = [sys.executable, "-m", "tailtune.cli", "try", *map(str, arguments)]
        self._master, slave = pty.openpty()
        variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **env}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True
        )
        os.close(slave)
        self.raw = b""
        self._told = 0

    @property
    def shown(self) -> str:
        return _ESCAPES.sub(b"", self.raw).decode("utf-8").replace("\r", "")

    def until_prompt(self) -> str:
        """Return what came up to the next prompt."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.shown[self._told :].endswith("\n> ") and self.shown[self._told :] != "> ":
            assert time.monotonic() < deadline, self.shown
            if select.select([self._master], [], [], 1.0)[0]:
                self.raw += os.read(self._master, 1 << 16)
        answer, self._told = self.shown[self._told :], len(self.shown)
        return answer

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def ask(self, line: str) -> str:
        """Return what came after a line was typed."""
        self.type(f"{line}\r")
        return self.until_prompt()

    def end(self) -> int:
        """Return the exit code, once all that came has been read."""
        try:
            while block := os.read(self._master, 1 << 16):
                self.raw += block
        except OSError:  # Linux reports the closing of the other side as an input/output error
            pass
        os.close(self._master)
        return self.process.wait(timeout=_PATIENCE_SECONDS)


def test_a_sitting(run: Path, tmp_path: Path) -> None:
    """Texts, a pasted one of two lines, a threshold, a file, the report, the card, mistakes: none of them ends it."""
    texts, labels = messages(60)
    file = write_csv(tmp_path / "new messages.csv", texts, labels)
    sitting = Sitting(run, NO_COLOR="1")
    assert "ham, spam; type or paste a text" in sitting.until_prompt()
    (expected,) = Predictor.load(run).predict([texts[0]])
    answer = sitting.ask(texts[0])
    assert f"{100 * expected.confidence:.1f} %" in answer
    assert re.search(rf"(for|against) {expected.label}: .+ [+\u2212]\d|no word alone", answer)
    pasted = sitting.ask("\x1b[200~WINNER!! claim\nyour prize\x1b[201~")
    assert pasted.count(" tokens read") == 1
    assert sitting.ask("").endswith("> ")
    assert ":report   " in sitting.ask(":help")
    threshold = sitting.ask(":threshold 0.9")
    assert re.search(
        r"on \d+ test rows: precision .*, recall .*, \d+ of 10,000 such texts called spam wrongly", threshold
    )
    spam = Predictor.load(run).predict([texts[1]])[0].probabilities["spam"]
    assert f"with spam from 90 %: {'spam' if spam >= 0.9 else 'ham'}" in sitting.ask(texts[1])
    assert "as the classifier does" in sitting.ask(":threshold off")
    assert "with spam from" not in sitting.ask(texts[1])
    for line, said in (
        (":threshold 2", "expected a probability from 0 to 1"),
        (":threshold 0.9 eggs", "expected one of the labels: ham, spam"),
        (":nonsense", ":nonsense is not known"),
        (":file", "expected a file"),
        (f":file {tmp_path / 'absent.csv'}", "absent.csv"),
        (':file "', "no closing quotation"),
    ):
        shown = sitting.ask(line)
        assert said in shown
        assert "error: " in shown
    summary = sitting.ask(f":file '{file}'")
    answers = [json.loads(line) for line in (tmp_path / "new messages-predicted.jsonl").read_text().splitlines()]
    assert len(answers) == 60
    given = sum(answer["label"] == "spam" for answer in answers)
    assert re.search(rf"spam +{given} ", summary)
    assert "60 answers in" in summary
    assert "there already" in sitting.ask(f":file '{file}'")
    report = sitting.ask(":report")
    assert "95 % interval" in report
    assert "TF-IDF" in report
    assert "calibration" in report
    assert "How to do it again" in sitting.ask(":card")
    sitting.type(":quit\r")
    assert sitting.end() == 0
    assert b"\x1b[3" not in sitting.raw


def test_colours_and_the_ends_of_a_sitting(run: Path) -> None:
    """Words have colours where nobody said no; Ctrl-D leaves with 0, Ctrl-C with 130; history goes back."""
    sitting = Sitting(run, "--quiet")
    sitting.until_prompt()
    sitting.ask("Are you coming to lunch tomorrow, or is it the prize again?")
    assert re.search(rb"\x1b\[[0-9;]*3[12]m", sitting.raw)
    again = sitting.ask("\x1b[A")
    assert "lunch tomorrow" in again
    sitting.type("\x04")
    assert sitting.end() == 0
    sitting = Sitting(run, "--no-highlights")
    sitting.until_prompt()
    sitting.process.send_signal(signal.SIGINT)  # the terminal is nobody's own, so that its Ctrl-C would reach nobody
    assert sitting.end() == 130
    assert "interrupted" in sitting.shown
    assert "Traceback" not in sitting.shown


def test_paste_by_hand(run: Path) -> None:
    """Lines after :paste are one text, whatever they begin with."""
    sitting = Sitting(run, "--no-highlights", NO_COLOR="1")
    sitting.until_prompt()
    answer = sitting.ask(":paste\r:quit is a word here\rand this is the second line\r.")
    assert answer.count(" tokens read") == 1
    assert ":) is a text" in sitting.ask(":) is a text")
    sitting.type(":q\r")
    assert sitting.end() == 0


def test_through_a_pipe(run: Path) -> None:
    """Each line is a text and none a command; no colours, no prompt; the end of the input is the end."""
    command = [sys.executable, "-m", "tailtune.cli", "try", str(run), "--no-highlights"]
    outcome = process(command, input=":quit\nlunch at \x1b[31mnoon\nprize")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count(" tokens read") == 3
    assert outcome.out.startswith(":quit\n")
    assert "\x1b" not in outcome.out
    assert "> " not in outcome.out


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no classifier is refused in a line."""
    assert "neither a bundle" in require_refusal(call(capsys, "try", tmp_path), 4)
