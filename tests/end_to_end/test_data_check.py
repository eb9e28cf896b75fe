"""``tailtune data check`` and the ways of splitting, as the shell sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, contents, read_metrics, require_refusal
from support.texts import messages, write_csv

PROBE = ["--method", "probe", "--depth", "2", "--no-baselines", "--quiet"]


def found(out: str) -> dict[str, dict[str, Any]]:
    return {finding["kind"]: finding for finding in json.loads(out)["findings"]}


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """60 messages, and one of each thing that can be wrong with a row."""
    texts, labels = messages(60)
    texts += [texts[0], texts[2].upper(), "", texts[5]]
    labels += [labels[0], labels[2], "ham", "spam"]
    labels[4] = "Spam"
    path = write_csv(tmp_path / "messy.csv", texts, labels)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    return path


def test_the_sms_collection(sms_spam: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The two rows that quoting loses, the copies, the marks of a wrong decoding: all rows in the JSON."""
    outcome = call(capsys, "data", "check", sms_spam, "--json", "--quiet")
    assert outcome.code == 0
    value = json.loads(outcome.out)
    assert (value["rows"], value["classes"]) == (5574, {"ham": 4827, "spam": 747})
    findings = found(outcome.out)
    assert len(findings["quoting"]["rows"]) == 2
    assert "5,572" in findings["quoting"]["message"]
    assert len(findings["exact_duplicates"]["rows"]) == 403
    assert {finding["severity"] for finding in findings.values()} <= {"error", "warning", "note"}
    assert findings["quoting"]["mend"]


def test_everything_is_said_worst_first(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Severity, rows, meaning and what mends it; a class with one row stops training, so the code is 3."""
    outcome = call(capsys, "data", "check", messy, "--quiet")
    assert outcome.code == 3
    assert "one row only for class 'Spam'" in outcome.err
    severities = [line.split(":")[0][2:] for line in outcome.out.splitlines() if line.startswith("- ")]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert "- error: 2 rows are a text that appears with more than one label: rows 6, 64\n    why: " in outcome.out
    assert "    mend: " in outcome.out
    findings = found(call(capsys, "data", "check", messy, "--json").out)
    expected = {"blank_texts": [63], "exact_duplicates": [61, 64], "near_duplicates": [62], "similar_labels": [5]}
    assert {kind: findings[kind]["rows"] for kind in expected} == expected
    assert "byte_order_mark" in findings


def test_fix_writes_a_copy_that_trains(
    messy: Path, tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The copy has what was promised, the data are untouched, and checking the copy finds less."""
    before = messy.read_bytes()
    outcome = call(capsys, "data", "check", messy, "--fix", tmp_path / "clean.csv", "--quiet")
    assert "cleaned copy: " in outcome.out
    assert "- 1 blank rows dropped: row 63\n" in outcome.out
    assert "- 1 exact copies with the same label dropped: row 61\n" in outcome.out
    assert "- 1 labels respelt ('Spam' to 'spam'): row 5\n" in outcome.out
    assert messy.read_bytes() == before
    again = call(capsys, "data", "check", tmp_path / "clean.csv", "--json")
    assert again.code == 0
    assert not {"blank_texts", "similar_labels", "byte_order_mark"} & set(found(again.out))
    run = ["--model", tiny_llama, "--out", tmp_path / "run", *PROBE]
    assert call(capsys, "train", tmp_path / "clean.csv", *run).code == 0


def test_fix_in_json(messy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts and rows of what was done."""
    fixed = json.loads(call(capsys, "data", "check", messy, "--fix", tmp_path / "c.csv", "--json").out)["fixed"]
    assert fixed["rows"] == 62
    assert (fixed["dropped_blank"], fixed["dropped_copies"], fixed["relabelled"]) == ([63], [61], [5])


def test_parts_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Leaks into validation and test, and labels that training lacks, by the rows of each file."""
    texts, labels = messages(40)
    train = write_csv(tmp_path / "train.csv", texts, labels)
    validation = write_csv(tmp_path / "valid.csv", ["a new one", texts[3].lower()], ["ham", "egg"])
    test = write_csv(tmp_path / "test.csv", [texts[7], "A NEW ONE", "another"], ["ham", "ham", "spam"])
    outcome = call(capsys, "data", "check", train, "--validation", validation, "--test", test, "--json")
    assert outcome.code == 0
    parts = {name: part["findings"] for name, part in json.loads(outcome.out)["parts"].items()}
    told = {name: {finding["kind"]: finding["rows"] for finding in found} for name, found in parts.items()}
    assert (told["validation"]["leaked_marks"], told["validation"]["unknown_labels"]) == ([2], [2])
    assert (told["test"]["leaked_exact"], told["test"]["leaked_marks"]) == ([1], [2])


def test_lengths_under_a_model(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Percentiles in tokens."""
    data = write_csv(tmp_path / "good.csv", *messages(40))
    outcome = call(capsys, "data", "check", data, "--model", tiny_llama)
    assert outcome.code == 0
    assert "- note: tokens of " in outcome.out
    assert "99 % at most" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["good.csv", "--fix", "good.csv"], 2, "--fix good.csv is the data itself"),
        (["good.csv", "--fix", "there.csv"], 2, "--fix there.csv: exists already"),
        (["good.csv", "--fix", "new.txt"], 2, "--fix new.txt: the copy is CSV"),
        (["good.csv", "--model", "no such model"], 2, "no such model"),
        (["good.csv", "--test", "nowhere.csv"], 3, "nowhere.csv: no such file"),
        (["broken.csv"], 3, "broken.csv:2: broken UTF-8"),
        (["good.csv", "--fix", "good.csv/below/new.csv"], 5, "good.csv"),
    ],
)
def test_refusals_of_the_check(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    """One line, its exit code, nothing written."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "good.csv", *messages(20))
    write_csv(tmp_path / "there.csv", *messages(20))
    (tmp_path / "broken.csv").write_bytes(b"text,label\ncaf\xe9,ham\n")
    before = contents(tmp_path)
    assert expected in require_refusal(call(capsys, "data", "check", *arguments, "--quiet"), code)
    assert contents(tmp_path) == before


def with_columns(folder: Path, count: int = 60) -> Path:
    """Write messages with the columns who (five people) and when (the newest first)."""
    texts, labels = messages(count)
    labelled = enumerate(zip(texts, labels, strict=True))
    rows = [f'"{text}",{label},u{at % 5},{count - at}' for at, (text, label) in labelled]
    path = folder / "mail.csv"
    path.write_text("\n".join(["text,label,who,when", *rows]) + "\n", encoding="utf-8")
    return path


def trained(folder: Path, model: Path, capsys: pytest.CaptureFixture[str], *flags: object) -> dict[str, list[int]]:
    """Train and return the rows of each part."""
    outcome = call(capsys, "train", with_columns(folder), "--model", model, "--out", folder / "run", *PROBE, *flags)
    assert outcome.code == 0, outcome.err
    split: dict[str, Any] = json.loads((folder / "run" / "split.json").read_text(encoding="utf-8"))
    assert split["kind"] == read_metrics(folder / "run")["data"]["split"]
    return {name: split[name] for name in ("train", "validation", "test", "unused")}


def test_training_by_time(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest twelve of sixty are tested."""
    parts = trained(tmp_path, tiny_llama, capsys, "--time-column", "when")
    assert parts["test"] == list(range(1, 13))
    assert parts["validation"] == list(range(13, 19))


def test_training_by_group(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody's messages lie in two parts."""
    parts = trained(tmp_path, tiny_llama, capsys, "--group", "who")
    people = [{row % 5 for row in parts[name]} for name in ("train", "validation", "test")]
    assert sum(map(len, people)) == 5
    assert len(parts["test"]) == 12


def test_training_by_hash(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row has a part."""
    parts = trained(tmp_path, tiny_llama, capsys, "--split-by", "hash")
    assert sorted(row for rows in parts.values() for row in rows) == list(range(1, 61))


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        (["--time-column", "when", "--test", "mail.csv"], 2, "--time-column when makes its own split"),
        (["--time-column", "when", "--split-by", "hash"], 2, "--time-column when makes its own split"),
        (["--recipe", "chapter", "--group", "who"], 2, "--recipe chapter makes its own split"),
        (["--recipe", "chapter", "--split-by", "hash"], 2, "--recipe chapter makes its own split"),
        (["--split-by", "magic"], 2, "'stratified' or 'hash'"),
        (["--time-column", "day"], 3, "no column 'day'; columns present: 'text', 'label', 'who', 'when'"),
        (["--time-column", "who"], 3, "row 1: 'u0' in column 'who' is no time"),
    ],
)
def test_refusals_of_splits(
    *,
    tmp_path: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    code: int,
    expected: str,
) -> None:
    """One line, its exit code, no run folder."""
    monkeypatch.chdir(tmp_path)
    with_columns(tmp_path)
    before = contents(tmp_path)
    arguments = ["train", "mail.csv", "--model", tiny_llama, "--out", "run", *PROBE, *flags]
    assert expected in require_refusal(call(capsys, *arguments), code)
    assert contents(tmp_path) == before
