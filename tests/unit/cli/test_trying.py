"""What is said of one answer, and what is made of what was typed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.classifiers import probe_bundle, reading, ruled_bundle, scoped_bundle, several_bundle
from tailtune.bundle import Bundle
from tailtune.cli.screen import Screen
from tailtune.cli.trying import Prompt, Trial, try_out
from tailtune.predict import Predictor
from tailtune.rules import Abstain, Rules
from tailtune.template import Template
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import LongRule


class Lines(Prompt):
    """Lines that were typed beforehand."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def read(self, prompt: str = "> ") -> str | None:
        return self._lines.pop(0) if self._lines else None


def sitting(bundle: Bundle, *lines: str, highlights: bool = False) -> Trial:
    trial = Trial(predictor=Predictor(bundle), screen=Screen(stream=io.StringIO()), highlights=highlights)
    try_out(trial, Lines(*lines))
    return trial


def short(model: Path) -> Bundle:
    return reading(probe_bundle(model), LongRule(kind="truncate-tail"), max_tokens=8)


def unsure(model: Path) -> Bundle:
    return replace(ruled_bundle(model), rules=Rules(abstain=Abstain(error=0.05, above=0.999, labels_from=0.1)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unsure, "only above 99.9 % are at most 5 % of all texts answered wrongly"),
        (short, "it reads 8 tokens at once"),
        (short, "only its first part was read, 8 of "),
        (ruled_bundle, "(spam at 0.3 or more)"),
        (several_bundle, "labels: "),
        (scoped_bundle, " tokens read"),
    ],
)
def test_reasons(
    make: Callable[[Path], Bundle], said: str, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Why there is no answer, or what it rests on, in plain words; the same with words highlighted."""
    for highlights in (False, True):
        sitting(make(tiny_llama), "are you coming to lunch, or shall we take the train?", highlights=highlights)
        assert said in " ".join(capsys.readouterr().out.split())


def test_a_threshold(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three labels one must be named; a text below it is told not to be of it; without counts that is said."""
    trial = sitting(probe_bundle(tiny_llama), ":threshold 0.5", ":threshold 1 spam", "lunch")
    shown = capsys.readouterr()
    assert "expected one of the labels: ham, other, spam" in shown.err
    assert "its run kept no counts for thresholds" in shown.out
    assert "with spam from 100 %: not spam" in shown.out
    assert trial.threshold == ("spam", 1.0)
    sitting(probe_bundle(tiny_llama), ":threshold 0 spam", "lunch")
    assert "with spam from 0 %: spam" in capsys.readouterr().out


def test_what_cannot_be_shown_or_read_is_said(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle of its own has neither report nor card; NUL and half characters are no text; the sitting goes on."""
    sitting(probe_bundle(tiny_llama), ":report", ":card", "a\0b", "a\udc80b", ":p lunch", ":quit", "never read")
    shown = capsys.readouterr()
    assert [line for line in shown.err.splitlines() if line.startswith("error: ")] == [
        "error: the bundle holds no metrics of its run",
        "error: the bundle holds no model card",
        "error: what was typed: NUL character in a text",
        "error: what was typed: not valid UTF-8",
    ]
    assert shown.out.count("token read") + shown.out.count("tokens read") == 1


def test_texts_of_several_columns(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are typed as JSON; a plain text is refused."""
    made = probe_bundle(tiny_llama)
    template = Template.parse("{subject} | {content}")
    tokenizer = Tokenizer(made.tokenizer.json_bytes, max_tokens=64, template=template)
    cells = json.dumps({"subject": "prize", "content": "claim now"})
    sitting(replace(made, tokenizer=tokenizer), cells, "plain")
    shown = capsys.readouterr()
    assert "prize | claim now" in shown.out
    assert "the template reads several columns: 'subject', 'content'" in shown.err


def test_a_file_of_several_labels(tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each label is counted by itself, and so is a threshold."""
    file = tmp_path / "texts.txt"
    file.write_text("lunch\nclaim your prize\n", encoding="utf-8")
    out = tmp_path / "answers.jsonl"
    sitting(several_bundle(tiny_llama), ":threshold 0 ham", f":file {file} {out}")
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    shown = capsys.readouterr().out
    for name in ("ham", "spam"):
        count = sum(name in answer["labels"] for answer in answers)
        assert (f"{name} " in shown and f"{count} " in shown) or count == 0
    assert "(ham from 0 %)" in shown
    assert "2 answers in" in shown
