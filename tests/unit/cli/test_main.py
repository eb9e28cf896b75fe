"""What the shell sees: exit codes, one line per error, results on stdout and nothing else there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tailtune
from tailtune.cli import main
from tailtune.cli.train import _parameters
from tailtune.config import DEFAULT_MODEL, settings


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was written to stderr, after checking that stdout is empty and no traceback is shown."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """One line with name and version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tailtune {tailtune.__version__}\n"


def test_no_arguments_show_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A first try is no error, and names every command."""
    monkeypatch.setattr(sys, "argv", ["tailtune"])
    assert main() == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("train", "predict", "evaluate", "data", "models"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "no such command 'trian'"),
        (["train", "x", "--lerning-rate", "1"], "no such option: --lerning-rate"),
        (["train", "x", "--epochs"], "requires an argument"),
        (["train", "x", "y"], "unexpected extra argument"),
        (["train"], "no data given"),
        (["train", "x", "--epochs", "five"], "--epochs: expected an integer, at least 1, got 'five'"),
        (
            ["train", "x", "--method", "lora"],
            "--method: expected 'auto' or 'probe' or 'tail' or 'zero-shot', got 'lora'",
        ),
        (["train", "x", "--config", "absent.toml"], "absent.toml: cannot be read"),
        (["predict"], "missing argument 'BUNDLE_OR_RUN'"),
        (["predict", "run"], "expected texts or --file, one of the two"),
        (["predict", "run", "text", "--file", "x.csv"], "expected texts or --file, one of the two"),
        (["data"], "missing command"),
        (["data", "pull", "smsspam"], "no data set named 'smsspam'"),
    ],
)
def test_usage_errors_are_one_line_with_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, then at most one line on what to do."""
    assert main(arguments) == 2
    error, *hint = error_lines(capsys)
    assert error.startswith("error: ")
    assert said in error
    assert all(line.startswith("hint: ") for line in hint)
    assert len(hint) <= 1


def test_every_field_of_the_configuration_is_a_flag_in_one_panel() -> None:
    """A new field cannot be forgotten on the command line."""
    names = [parameter.name for parameter in _parameters()]
    assert sorted(names) == sorted(["context", "config", "json", "no_baselines", *settings()])


def test_train_help_shows_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """The flags people type, in full."""
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert [setting.flag for setting in settings().values() if setting.flag not in out] == []
    assert "--no-cache" in out
    assert "--config" in out


def test_data_check_finds_what_training_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings on stdout, and exit code 0 when training would go on."""
    path = tmp_path / "messages.csv"
    path.write_text("text,label\nhello,ham\nhello,ham\nwin now,spam\nwin cash,spam\n", encoding="utf-8")
    assert main(["data", "check", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 4
    assert [2] in [found["rows"] for found in said["findings"]]
    assert main(["data", "check", str(path)]) == 0
    assert "4 texts, 2 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"text,label\na,ham\nb,ham\n", "one class"),
        (b"text,label\na,ham\nb\0,spam\n", ":3: NUL byte"),
        (b"text,label\na,ham\nb\xff,spam\n", ":3: broken UTF-8"),
        (b"words,label\na,ham\nb,spam\n", "no text column"),
    ],
)
def test_unusable_data_is_one_line_with_exit_code_3(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named first, with the line where there is one."""
    path = tmp_path / "messages.csv"
    if content is not None:
        path.write_bytes(content)
    assert main(["data", "check", str(path)]) == 3
    error = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert error.startswith(f"error: {path}")
    assert said in error


def test_data_list_names_licence_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is fetched to say what there is."""
    assert main(["data", "list", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)["data_sets"]
    assert [item["name"] for item in known] == ["sms-spam", "goemotions", "goemotions-dev", "goemotions-test"]
    assert known[0]["licence"]
    assert len(known[0]["sources"]) >= 2
    assert main(["data", "list"]) == 0
    assert "sms-spam" in capsys.readouterr().out


def test_data_pull_prints_only_the_path(
    sms_spam: Path, public_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """stdout can be used in a script; which source answered is a note on stderr."""
    monkeypatch.setenv("TAILTUNE_DATA", str(public_data))
    assert main(["data", "pull", "sms-spam"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{sms_spam}\n"
    assert "TAILTUNE_DATA" in captured.err
    assert main(["data", "pull", "sms-spam", "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["path"] == str(sms_spam)
    assert captured.err == ""


def test_a_system_error_is_one_line_with_exit_code_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cache that cannot be written is this machine's trouble, not the data's."""
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TAILTUNE_HOME", str(tmp_path / "file" / "home"))
    assert main(["data", "pull", "sms-spam"]) == 5
    assert error_lines(capsys)[0].startswith("error: ")


def test_a_reader_that_goes_away_ends_quietly(tmp_path: Path) -> None:
    """``tailtune … | head`` shows no traceback; the exit code is that of a broken pipe."""
    path = tmp_path / "many.csv"
    path.write_text("text,label\n" + "".join(f"text {row},class {row % 5}\n" for row in range(50)), encoding="utf-8")
    command = [sys.executable, "-m", "tailtune.cli", "data", "check", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait() == 141


def test_ctrl_c_is_one_line_with_exit_code_130(tmp_path: Path) -> None:
    """Interrupted work says so and leaves; here while it waits to read a pipe that never speaks."""
    pipe = tmp_path / "texts.csv"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "tailtune.cli", "data", "check", str(pipe)]
    # Opening the pipe waits until the command reads it: by then it is past its start.
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        pipe.open("wb"),
    ):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == ("", "error: interrupted\n")


def test_models_list_says_what_there_is_without_fetching(capsys: pytest.CaptureFixture[str]) -> None:
    """The default model is in the list, and an empty cache is said to be empty."""
    assert main(["models", "list", "--json"]) == 0
    known, *others = json.loads(capsys.readouterr().out)["models"]
    assert known["name"] == DEFAULT_MODEL
    assert not any(model["cached"] for model in (known, *others))
    assert main(["models", "list"]) == 0
    assert DEFAULT_MODEL in capsys.readouterr().out


def test_models_pull_prints_one_json_object_with_the_path(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script reads the folder from it; a local folder is itself."""
    assert main(["models", "pull", str(tiny_llama), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["path"] == str(tiny_llama)
    assert captured.err == ""
    assert main(["models", "pull", str(tiny_llama)]) == 0
    assert capsys.readouterr().out == f"{tiny_llama}\n"


def test_models_inspect_reads_the_headers(tiny_gpt2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Family, blocks and width, for people and for machines."""
    assert main(["models", "inspect", str(tiny_gpt2), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["blocks"], facts["width"], facts["context"]) == (4, 32, 256)
    assert main(["models", "inspect", str(tiny_gpt2)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["blocks", "4"] in rows


@pytest.mark.parametrize(("reference", "code"), [("smollm2", 2), ("absent/folder/", 2), (".", 4)])
def test_models_that_are_none_are_refused(
    reference: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is none is a usage error, a folder that is no model a broken artefact."""
    monkeypatch.chdir(tmp_path)
    assert main(["models", "inspect", reference]) == code
    assert error_lines(capsys)[0].startswith("error: ")
