"""``tailtune import`` as a caller sees it: a bundle that predict takes, and refusals of one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from support.book import HEADS, TOKENIZER, book_model, classify, save_book
from support.command_line import call, json_lines, require_refusal

_LABELS = "not spam, spam"
_TEXTS = ("WINNER!! claim your 900 pound prize", "ok, see you at lunch", "a <|endoftext|> b")


def _arguments(source: Path, out: Path, *more: object) -> tuple[object, ...]:
    return "import", source, "--labels", _LABELS, "--tokenizer", TOKENIZER, "--heads", HEADS, "--out", out, *more


@pytest.mark.parametrize("pad_to", [None, 40])
def test_predict_answers_as_the_book_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pad_to: int | None
) -> None:
    """From the .pth to an answer; a bundle that pads says so beside its answers and in them."""
    model = book_model(classes=2)
    source, out = save_book(model, tmp_path / "review_classifier.pth"), tmp_path / "spam"
    made = call(capsys, *_arguments(source, out, "--json", *(("--pad-to", pad_to) if pad_to else ())))
    assert made.code == 0, made.err
    assert json.loads(made.out) == {"bundle": str(out), "labels": ["not spam", "spam"], "padded_to": pad_to}
    assert "the bias of out_head went into the final norm" in made.err
    answered = call(capsys, "predict", out, *_TEXTS, "--json")
    expected = classify(model, _TEXTS, pad_to=pad_to).softmax(1)
    for answer, row in zip(json_lines(answered.out), expected.tolist(), strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx(row, abs=1e-5)
        assert answer.get("padded_to") == pad_to
    assert ("each text is padded to 40 tokens" in answered.err) is (pad_to is not None)


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds something stays as it is."""
    source, out = save_book(book_model(classes=2), tmp_path / "model.safetensors"), tmp_path / "spam"
    out.mkdir()
    (out / "mine").write_text("kept", encoding="utf-8")
    assert "is not an empty folder" in require_refusal(call(capsys, *_arguments(source, out)), 2)
    assert [path.name for path in out.iterdir()] == ["mine"]


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_a_hostile_file_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 4, no folder, and what the file wanted has not happened."""
    source, marker = tmp_path / "model.pth", tmp_path / "ran"
    torch.save({**book_model(classes=2).state_dict(), "more": _Runs(marker)}, source)
    said = require_refusal(call(capsys, *_arguments(source, tmp_path / "spam", "--quiet")), 4)
    assert "asks to run" in said
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (("--labels", "spam,,ham"), 2, "expected names with a comma"),
        (("--labels", "a,b,c"), 2, "--labels names 3 classes"),
        (("--tokenizer", "absent"), 4, "no tokenizer there"),
        (("--pad-to", "4000"), 2, "--pad-to 4000"),
    ],
)
def test_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: tuple[str, str], code: int, said: str
) -> None:
    """Wrong arguments are 2, what cannot be read is 4."""
    source = save_book(book_model(classes=2), tmp_path / "model.safetensors")
    refused = call(capsys, *_arguments(source, tmp_path / "spam", "--quiet", *changes))
    assert said in require_refusal(refused, code)
    absent = call(capsys, *_arguments(tmp_path / "absent.pth", tmp_path / "spam"))
    assert "no such file" in require_refusal(absent, 4)
