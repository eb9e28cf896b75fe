"""Train, predict and evaluate as the shell sees them, with a tiny random model: what is printed where, and what lies
on the disk afterwards."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tailtune.cli import main

PRIZES = ("holiday", "phone", "voucher", "ringtone", "car", "laptop", "camera", "watch")
PLACES = ("station", "library", "park", "office", "cafe")
SPAM = "WINNER!! Claim your {} now, collect it at the {}"
HAM = "Did you leave the {} at home? I am at the {} already"
QUICK = ["--method", "probe", "--depth", "2", "--no-baselines", "--quiet"]


def write_messages(path: Path, *, prizes: int = len(PRIZES)) -> Path:
    """Write a CSV of two easy classes: 10 rows for each of the first ``prizes`` words."""
    words = [(prize, place) for prize in PRIZES[:prizes] for place in PLACES]
    rows = [f'"{form.format(*pair)}",{label}' for pair in words for form, label in ((SPAM, "spam"), (HAM, "ham"))]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished run; read it only."""
    folder = tmp_path_factory.mktemp("trained")
    messages = write_messages(folder / "messages.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(folder / "home"))
        assert main(["train", str(messages), "--model", str(tiny_llama), "--out", str(folder / "run"), *QUICK]) == 0
    return folder / "run"


def answers(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_train_prints_json_for_machines(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object on stdout with the documented keys; the default folder is runs/<stem>-<time>; origins are recorded."""
    monkeypatch.chdir(tmp_path)
    write_messages(tmp_path / "messages.csv")
    (tmp_path / "train.toml").write_text("seed = 3\n", encoding="utf-8")
    arguments = ["train", "messages.csv", "--model", str(tiny_llama), "--config", "train.toml", "--json", *QUICK]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    metrics = json.loads(captured.out)
    assert captured.err == ""
    assert Path(metrics["run"]).parent == Path("runs")
    assert Path(metrics["run"]).name.startswith("messages-")
    assert metrics["seed"] == 3
    assert metrics["origins"]["seed"] == "file train.toml"
    assert metrics["origins"]["method"] == "flag"
    assert metrics["origins"]["epochs"] == "default"
    low, high = metrics["test"]["accuracy_interval"]
    assert 0 <= low <= metrics["test"]["accuracy"] <= high <= 1


def test_train_prints_a_summary_for_people(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results on stdout, notes on stderr, with the baselines beside."""
    monkeypatch.chdir(tmp_path)
    write_messages(tmp_path / "messages.csv")
    arguments = ["train", "messages.csv", "--model", str(tiny_llama), "--method", "probe", "--depth", "2"]
    assert main([*arguments, "--out", "here"]) == 0
    out = capsys.readouterr().out
    assert "tailtune (probe)" in out
    assert "TF-IDF" in out
    assert "run folder: here\n" in out
    assert 'next: tailtune predict here "your text"' in out


def test_a_run_is_never_overwritten(run_folder: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--out that holds something is refused before any work, with exit code 2."""
    before = sorted(run_folder.rglob("*"))
    messages = str(run_folder.parent / "messages.csv")
    assert main(["train", messages, "--model", str(tiny_llama), "--out", str(run_folder), *QUICK]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert sorted(run_folder.rglob("*")) == before


def test_unusable_data_leaves_no_run_folder(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused with exit code 3, and nothing half-written."""
    (tmp_path / "one.csv").write_text("text,label\na,ham\nb,ham\n", encoding="utf-8")
    out = tmp_path / "run"
    assert main(["train", str(tmp_path / "one.csv"), "--model", str(tiny_llama), "--out", str(out), *QUICK]) == 3
    assert "one class" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.csv"]


@pytest.mark.parametrize("inner", ["", "bundle"])
def test_predict_takes_run_and_bundle(run_folder: Path, inner: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every category with its probability, the likeliest first, for each text."""
    assert main(["predict", str(run_folder / inner), SPAM.format("prize", "bank"), HAM.format("keys", "bank")]) == 0
    out = capsys.readouterr().out
    assert out.count(" %") == 4
    assert out.index("WINNER") < out.index("Did you")


def test_predict_json_for_arguments(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Probabilities sum to one, the label is the likeliest, and the text is not repeated."""
    assert main(["predict", str(run_folder), SPAM.format("prize", "bank"), "--json"]) == 0
    (answer,) = answers(capsys.readouterr().out)
    assert list(answer) == [
        *("line", "label", "probabilities", "confidence", "tokens", "tokens_total", "truncated", "windows"),
    ]
    assert list(answer["probabilities"]) == ["ham", "spam"]
    assert math.isclose(sum(answer["probabilities"].values()), 1.0, abs_tol=1e-6)
    assert answer["probabilities"][answer["label"]] == answer["confidence"] == max(answer["probabilities"].values())
    assert answer["truncated"] is False


def test_stdin_gives_one_line_out_per_line_in(run_folder: Path) -> None:
    """In order, ids kept, across chunks; the same text gets the same answer wherever it stands."""
    lines = [
        json.dumps({"id": f"row-{row}", "text": (SPAM if row % 3 else HAM).format("prize", "bank")})
        for row in range(600)
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tailtune.cli", "predict", str(run_folder), "--json", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    found = answers(done.stdout)
    assert [answer["id"] for answer in found] == [f"row-{row}" for row in range(600)]
    assert [answer["line"] for answer in found] == list(range(1, 601))
    spam = [answer["confidence"] for row, answer in enumerate(found) if row % 3]
    assert max(spam) - min(spam) < 1e-5
    assert done.stderr == ""


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_predict_reads_files(run_folder: Path, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the form, the same texts get the same answers."""
    texts = [SPAM.format("prize", "bank"), HAM.format("keys", "bank")]
    path = tmp_path / f"new{suffix}"
    written = {
        ".csv": "text,other\n" + "".join(f'"{text}",x\n' for text in texts),
        ".jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts),
        ".txt": "".join(f"{text}\n" for text in texts),
    }
    path.write_text(written[suffix], encoding="utf-8")
    assert main(["predict", str(run_folder), "--file", str(path), "--json"]) == 0
    from_file = answers(capsys.readouterr().out)
    assert main(["predict", str(run_folder), *texts, "--json"]) == 0
    direct = answers(capsys.readouterr().out)
    assert [answer["probabilities"] for answer in from_file] == [answer["probabilities"] for answer in direct]


def test_a_broken_line_keeps_the_answers_before_it(run_folder: Path) -> None:
    """Nothing already computed is lost: the error comes after the chunk that was fine, with exit code 3."""
    good = "".join(f"text {row}\n" for row in range(256)).encode()
    done = subprocess.run(
        [sys.executable, "-m", "tailtune.cli", "predict", str(run_folder), "--json", "-"],
        input=good + b"broken \xff\n",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 256
    assert done.stderr.startswith(b"error: stdin:257: broken UTF-8")


def test_no_bundle_is_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds no classifier is an artefact error, in one line."""
    assert main(["predict", str(tmp_path), "text"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")


def test_evaluate_measures_other_texts(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole file is the test set; JSON holds the same scores that people see."""
    other = write_messages(tmp_path / "other.csv", prizes=2)
    assert main(["evaluate", str(run_folder), str(other), "--json", "--quiet"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["test"]["rows"] == 20
    assert set(metrics["test"]["per_class"]) == {"ham", "spam"}
    assert main(["evaluate", str(run_folder), str(other), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert f"{100 * metrics['test']['accuracy']:.2f} %" in out
    assert "20 texts, log loss" in out
