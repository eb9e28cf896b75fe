"""What cannot be done is refused in one line with its exit code, nothing half-written; what can be handled is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.command_line import Outcome, call, call_limited, contents, json_lines, read_metrics, require_refusal
from support.texts import messages, write_csv
from support.tiny_models import CONTEXT
from tailtune.resolving import resolve
from tailtune.storage import canonical_json, sha256_bytes
from tailtune.train import train

PROBE = ["--method", "probe", "--depth", "2", "--no-baselines"]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A folder to work in, with good data in it.

    Attributes:
        folder: Where commands run.
        home: Their cache.
        model: A tiny model.
        good: 60 messages in two classes.
        capsys: Reads what commands print.
    """

    folder: Path
    home: Path
    model: Path
    good: Path
    capsys: pytest.CaptureFixture[str]

    def train(self, data: object, *more: object) -> Outcome:
        """Return the outcome of training on ``data`` with a probe; later flags win over earlier ones."""
        return call(self.capsys, "train", data, "--model", self.model, "--out", self.folder / "run", *PROBE, *more)

    def require_refused(self, code: int, arguments: list[object], expected: list[str]) -> None:
        """Run ``arguments``: one error line that holds ``expected``, and no path created, changed or removed."""
        before = contents(self.folder, self.home)
        line = require_refusal(call(self.capsys, *arguments), code)
        assert [part for part in expected if part not in line] == [], line
        assert contents(self.folder, self.home) == before

    def training(self, data: object, *more: object) -> list[object]:
        """Return the arguments of a training on ``data``."""
        return ["train", data, "--model", self.model, "--out", self.folder / "run", *PROBE, "--quiet", *more]


@pytest.fixture
def desk(
    tmp_path: Path,
    own_home: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """An own folder, made the current one."""
    monkeypatch.chdir(tmp_path)
    good = write_csv(tmp_path / "good.csv", *messages(60))
    return Desk(folder=tmp_path, home=own_home, model=tiny_llama, good=good, capsys=capsys)


def _with_line(good: bytes, number: int, line: bytes) -> bytes:
    lines = good.split(b"\n")
    lines[number - 1] = line
    return b"\n".join(lines)


def _relabelled(good: bytes, label: Callable[[int], str]) -> bytes:
    """Return the file with the label of each row, counted from 0, changed."""
    header, *rows = good.decode().splitlines()
    lines = [row.rpartition(",")[0] + "," + label(number) for number, row in enumerate(rows)]
    return ("\n".join([header, *lines]) + "\n").encode()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda good: b"", ["the file is empty"]),
        (lambda good: b" \n\n", ["the file is empty"]),
        (lambda good: b"text,label\n", ["no rows"]),
        (lambda good: b"text,label\n ,ham\n,spam\n", ["no rows with a text"]),
        (lambda good: _relabelled(good, lambda row: "ham"), ["one class only", "60 rows", "'ham'"]),
        (lambda good: _relabelled(good, lambda row: ("ham", "spam", "odd")[2 if row == 7 else row % 2]),
         ["one row only for class 'odd'", "row 8"]),
        (lambda good: _with_line(good, 9, b'"win\0ner",spam'), [":9: NUL byte"]),
        (lambda good: _with_line(good, 12, b'"caf\xe9",ham'), [":12: broken UTF-8"]),
        (lambda good: _with_line(good, 5, b'"a",b,ham'), [":5: got 3 fields, expected 2"]),
        (lambda good: _with_line(good, 5, b'"never closed,ham'), [":5:"]),
        (lambda good: _with_line(good, 5, b'"a text",'), [":5: the label is blank"]),
        (lambda good: _with_line(good, 1, b"one,two"), ["no text column; columns present: 'one', 'two'"]),
        (lambda good: b"PK\x03\x04" + good, ["a zip archive or a spreadsheet"]),
    ],
    ids=["empty", "white", "header", "blank", "one-class", "one-row", "nul", "utf8", "fields", "quote", "label",
         "columns", "foreign"],
)  # fmt: skip
def test_unusable_data_is_refused(desk: Desk, damage: Callable[[bytes], bytes], expected: list[str]) -> None:
    """Exit code 3, the file's name, what is wrong and where."""
    bad = desk.folder / "bad.csv"
    bad.write_bytes(damage(desk.good.read_bytes()))
    desk.require_refused(3, desk.training(bad), ["bad.csv", *expected])


def test_data_that_is_no_file_is_refused(desk: Desk) -> None:
    """A missing file and a folder: exit code 3, each with its name."""
    desk.require_refused(3, desk.training("nowhere.csv"), ["nowhere.csv: no such file"])
    desk.require_refused(3, desk.training(desk.folder), [f"{desk.folder}: is a folder"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"text": "a", "label": "x"}\n{"text": "b", "label"\n', ":2: not JSON"),
        ('{"text": "a", "label": "x"}\n{"text": 5, "label": "x"}\n', ":2: the text is a number"),
        ('{"text": "a", "label": "x"}\n{"text": "b"}\n', ":2: no key 'label'"),
        ('{"text": "a", "label": "x"}\n{"text": "\\ud83d", "label": "x"}\n', ":2: half a character"),
        ('[{"text": "a", "label": "x"}]\n', ":1: got a list"),
    ],
)
def test_broken_json_lines_are_refused(desk: Desk, content: str, expected: str) -> None:
    """Exit code 3 and the line."""
    (desk.folder / "bad.jsonl").write_text(content, encoding="utf-8")
    desk.require_refused(3, desk.training("bad.jsonl"), ["bad.jsonl", expected])


@pytest.mark.parametrize("flag", ["--text-column", "--label-column"])
def test_a_column_that_is_not_there_is_refused(desk: Desk, flag: str) -> None:
    """Exit code 3; the columns that are there are listed."""
    desk.require_refused(3, desk.training(desk.good, flag, "body"), ["'body'", "columns present: 'text', 'label'"])


def test_a_label_unknown_to_training_is_refused_in_the_test_part(desk: Desk) -> None:
    """Exit code 3; the row and the label."""
    part = write_csv(desk.folder / "part.csv", *messages(4))
    part.write_text(part.read_text(encoding="utf-8") + "hello,junk\n", encoding="utf-8")
    for flag in ("--test", "--validation"):
        desk.require_refused(3, desk.training(desk.good, flag, part), ["part.csv: row 5: label 'junk'"])
    desk.require_refused(3, desk.training(desk.good, "--test", "nowhere.csv"), ["nowhere.csv: no such file"])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--sed", "1"], ["--sed"]),
        (["--depth", "99"], ["--depth 99: the model has 4 blocks"]),
        (["--depth", "0"], ["--depth 0: the model has 4 blocks"]),
        (["--depth", "deep"], ["--depth", "'deep'"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--seed", "1.5"], ["--seed", "'1.5'"]),
        (["--learning-rate", "nan"], ["--learning-rate"]),
        (["--method", "svm"], ["--method", "'probe'", "'svm'"]),
        (["--method", "tail", "--blocks", "3"], ["--blocks 3"]),
        (["--max-tokens", "100000"], ["--max-tokens 100000", f"at most {CONTEXT} tokens"]),
        (["--recipe", "chapter", "--test", "good.csv"], ["--recipe chapter makes its own split"]),
        (["--model", "no such model"], ["no such model", "smollm2-135m-instruct"]),
        (["--config", "absent.toml"], ["absent.toml: cannot be read"]),
        (["--config", "broken.toml"], ["broken.toml: broken TOML"]),
        (["--config", "unknown.toml"], ["unknown.toml: unknown setting 'epoch'"]),
        (["--config", "type.toml"], ["type.toml: seed", "'three'"]),
        (["--config", "."], [".: cannot be read"]),
    ],
)
def test_wrong_settings_are_refused(desk: Desk, flags: list[str], expected: list[str]) -> None:
    """Exit code 2; the flag or the file, and what was given."""
    for name, content in (("broken", "seed = \n"), ("unknown", "epoch = 3\n"), ("type", 'seed = "three"\n')):
        (desk.folder / f"{name}.toml").write_text(content, encoding="utf-8")
    desk.require_refused(2, desk.training(desk.good, *flags), expected)


def test_a_misspelt_model_is_told_apart(desk: Desk) -> None:
    """Exit code 2, and the name that was meant."""
    outcome = desk.train(desk.good, "--model", "smollm2-135m-instrct", "--quiet")
    require_refusal(outcome, 2)
    assert "hint: did you mean smollm2-135m-instruct?" in outcome.err


def test_a_device_that_is_not_there_is_refused(desk: Desk) -> None:
    """Exit code 5; what there is is listed. No machine has both kinds of accelerator."""
    import torch

    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    line = require_refusal(desk.train(desk.good, "--device", absent, "--quiet"), 5)
    assert "available: cpu" in line


def test_nothing_is_overwritten(desk: Desk) -> None:
    """--out that holds something, or is a file: exit code 2 before anything is read."""
    full = desk.folder / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine", encoding="utf-8")
    for out in (full, desk.good):
        desk.require_refused(2, desk.training("nowhere.csv", "--out", out), ["is not an empty folder"])


def test_an_empty_out_folder_is_taken(desk: Desk) -> None:
    """A folder made beforehand is fine while it is empty."""
    (desk.folder / "run").mkdir()
    assert desk.train(desk.good).code == 0
    assert (desk.folder / "run" / "bundle" / "bundle.json").is_file()


def test_out_below_a_file_is_refused(desk: Desk) -> None:
    """A place where no folder can be made: exit code 5 before anything is read."""
    desk.require_refused(5, desk.training("nowhere.csv", "--out", desk.good / "run"), ["good.csv", "cannot be written"])


def test_a_cache_below_a_file_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """TAILTUNE_HOME where no folder can be made: exit code 5, one line."""
    monkeypatch.setenv("TAILTUNE_HOME", str(desk.good / "home"))
    desk.require_refused(5, desk.training(desk.good, "--quiet"), ["good.csv"])


# 60 messages at two depths are 31 kB of pooled vectors; the embeddings of the tiny model are 51 kB.
@pytest.mark.parametrize(("file_bytes", "stored"), [(8_000, False), (40_000, True)], ids=["store", "run-folder"])
def test_a_full_disk_is_refused(desk: Desk, file_bytes: int, stored: bool) -> None:
    """Exit code 5, no run folder, no temporary file; whole segments stay, and the next run goes on from them."""
    flags = [*PROBE, "--quiet"]
    before = contents(desk.folder)
    arguments = ["train", desk.good, "--model", desk.model, "--out", desk.folder / "run", *flags]
    require_refusal(call_limited(file_bytes, *arguments), 5)
    assert contents(desk.folder) == before
    left = [path.name for path in desk.home.glob("features/*/*")]
    assert len(left) == (2 if stored else 1)
    assert all(name == "store.json" or name.startswith("segment-") for name in left)
    # By the time the run folder is written the test part has been read, and that stays known.
    known = ["ledger.jsonl", "ledger.lock"] if stored else []
    assert sorted(path.name for path in desk.home.iterdir()) == ["features", *known]
    assert desk.train(desk.good).code == 0
    assert read_metrics(desk.folder / "run")["tokens"]["computed_texts"] == (0 if stored else 60)


def _unknown_family(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "model_type": "no_such_family"}), encoding="utf-8")


def _truncated(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def _without_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


def _broken_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").write_text('{"version": "1.0"}', encoding="utf-8")


def _broken_config(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "llama", ', encoding="utf-8")


def _poor_config(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")


def _half_config(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 6}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_unknown_family, ["'no_such_family'", "gpt2", "llama", "mistral"]),
        (_truncated, ["model.safetensors", "not a whole safetensors file"]),
        (_pickled, ["pickled weights only"]),
        (_without_tokenizer, ["lacks tokenizer.json"]),
        (_broken_tokenizer, ["tokenizer.json", "not a usable tokenizer"]),
        (_broken_config, ["config.json", "not valid JSON"]),
        (_poor_config, ["config"]),
        (_half_config, ["the weights are of 4 blocks, config.json says"]),
    ],
)
def test_unusable_models_are_refused(desk: Desk, damage: Callable[[Path], None], expected: list[str]) -> None:
    """Exit code 4; which file, and what was expected of it."""
    model = desk.folder / "model"
    shutil.copytree(desk.model, model)
    damage(model)
    arguments = desk.training(desk.good, "--model", model, "--depth", "last")
    desk.require_refused(4, arguments, expected)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A finished run; copy it before damaging it."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "good.csv", *messages(60))
    settings = {"method": "probe", "depth": 2, "baselines": False, "cache": False}
    return train(
        resolve({"data": str(data), "model": str(tiny_llama), "out": str(folder / "run"), **settings}).config
    ).folder


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("name", ["backbone.safetensors", "classifier.safetensors", "tokenizer.json", "bundle.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damaged_bundles_are_refused(desk: Desk, trained: Path, command: str, name: str, damage: str) -> None:
    """A file cut short, one bit turned or a file gone: exit code 4, and the file's name."""
    shutil.copytree(trained, desk.folder / "run")
    file = desk.folder / "run" / "bundle" / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[:-7])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    desk.require_refused(4, [command, "run", "good.csv"], ["run", name])


def test_an_edited_tokenizer_is_refused(desk: Desk, trained: Path) -> None:
    """Still a valid tokenizer of the same size, but another one: exit code 4."""
    shutil.copytree(trained, desk.folder / "run")
    file = desk.folder / "run" / "bundle" / "tokenizer.json"
    text = file.read_text(encoding="utf-8")
    edited = text.replace('"individual_digits": true', '"individual_digits":  true', 1).replace("\n}", "}", 1)
    assert edited != text
    assert len(edited) == len(text)
    file.write_text(edited, encoding="utf-8")
    desk.require_refused(4, ["predict", "run", "hello"], ["tokenizer.json: sha256"])


def test_a_manifest_made_by_hand_is_refused(desk: Desk, trained: Path) -> None:
    """Valid JSON with a digest that fits, but not what a manifest holds: exit code 4, never a crash."""
    shutil.copytree(trained, desk.folder / "run")
    file = desk.folder / "run" / "bundle" / "bundle.json"
    for content in ({"format_version": 1}, {"format_version": 1, "files": ["bundle.json"]}):
        digest = sha256_bytes(canonical_json(content).encode())
        file.write_text(canonical_json({**content, "digest": digest}), encoding="utf-8")
        desk.require_refused(4, ["predict", "run", "hello"], ["bundle: does not hold a classifier"])


def test_predicting_without_a_bundle_is_refused(desk: Desk) -> None:
    """A missing folder, an empty one and a file: exit code 4."""
    (desk.folder / "empty").mkdir()
    desk.require_refused(4, ["predict", "nowhere", "hello"], ["nowhere: no such folder"])
    desk.require_refused(4, ["predict", "empty", "hello"], ["empty: neither a bundle"])
    desk.require_refused(4, ["predict", "good.csv", "hello"], ["good.csv: neither a bundle"])


def test_evaluating_unknown_labels_is_refused(desk: Desk, trained: Path) -> None:
    """Exit code 3; the first such row, how many, and the labels that are known."""
    other = write_csv(desk.folder / "other.csv", ["a", "b", "c"], ["ham", "eggs", "beans"])
    expected = ["other.csv: row 2: label 'eggs' is unknown", "2 such rows", "'ham', 'spam'"]
    desk.require_refused(3, ["evaluate", trained, other], expected)
    desk.require_refused(3, ["evaluate", trained, other, "--text-column", "body"], ["'body'"])
    desk.require_refused(3, ["evaluate", trained, "nowhere.csv"], ["nowhere.csv"])


def test_blank_texts_are_dropped_and_named(desk: Desk) -> None:
    """Rows without a text are left out; the note and metrics.json name them by their row numbers."""
    data = desk.folder / "data.csv"
    data.write_bytes(_with_line(_with_line(desk.good.read_bytes(), 4, b'"  ",ham'), 11, b",spam"))
    outcome = desk.train(data)
    assert outcome.code == 0, outcome.err
    assert "2 blank texts dropped: rows 3, 10" in outcome.err
    metrics = read_metrics(desk.folder / "run")
    assert metrics["data"]["rows"] == 58
    assert [found["rows"] for found in metrics["data"]["findings"] if found["kind"] == "blank_texts"] == [[3, 10]]


def test_a_megabyte_is_cut_and_counted(desk: Desk) -> None:
    """A text far beyond the context is read up to it; the note names its row, metrics.json counts it."""
    texts, labels = messages(60)
    texts[16] = ("claim your prize now, " * 50_000)[:1_000_000]
    outcome = desk.train(write_csv(desk.folder / "data.csv", texts, labels))
    assert outcome.code == 0, outcome.err
    assert f"texts longer than {CONTEXT} tokens, cut to that: 1 (row 17)\n" in outcome.err
    tokens = read_metrics(desk.folder / "run")["tokens"]
    assert (tokens["truncated_texts"], tokens["longest"]) == (1, CONTEXT)
    (answer,) = json_lines(call(desk.capsys, "predict", desk.folder / "run", texts[16], "--json").out)
    assert (answer["truncated"], answer["tokens"]) == (True, CONTEXT)


def test_a_spelt_special_token_is_text(desk: Desk) -> None:
    """<|endoftext|> in a message is 13 characters like any others, in training and in predicting."""
    texts, labels = messages(60)
    texts[5] = "win <|endoftext|> now"
    assert desk.train(write_csv(desk.folder / "data.csv", texts, labels)).code == 0
    run = desk.folder / "run"
    found = json_lines(call(desk.capsys, "predict", run, "<|endoftext|>", "<endoftext>", "", "--json").out)
    assert found[0]["tokens"] > found[1]["tokens"] > found[2]["tokens"] == 1
    assert found[0]["probabilities"] != found[2]["probabilities"]


def test_labels_that_look_alike_are_warned_of(desk: Desk) -> None:
    """Labels that differ only in case or blanks stay apart, and a note names them."""
    data = desk.folder / "data.csv"
    data.write_bytes(_relabelled(desk.good.read_bytes(), lambda row: ("ham", "spam", "Spam", "ham ")[row % 4]))
    outcome = desk.train(data)
    assert outcome.code == 0, outcome.err
    assert "labels differ only in case or blanks: 'ham', 'ham '; 'Spam', 'spam'" in outcome.err
    assert read_metrics(desk.folder / "run")["labels"] == ["Spam", "ham", "ham ", "spam"]


def test_the_chapter_recipe_goes_on_with_what_is_there(desk: Desk) -> None:
    """On other rows than the chapter's its procedure is followed, and said not to stand beside its table."""
    outcome = desk.train(desk.good, "--recipe", "chapter")
    assert outcome.code == 0, outcome.err
    assert "not the chapter's rows: got ham 30, spam 30, expected ham 4825, spam 747" in outcome.err
    metrics = read_metrics(desk.folder / "run")
    assert metrics["data"]["split"] == "chapter"
    assert metrics["data"]["parts"] == {"train": 42, "validation": 6, "test": 12, "unused": 0}


def test_texts_that_differ_only_in_digits_are_refused_or_trained_on(desk: Desk) -> None:
    """Near duplicates go to one part: a class that is one text over and over ends in one clear line, never a crash."""
    data = write_csv(desk.folder / "same.csv", [f"call {row}" for row in range(100, 140)], ["a", "b"] * 20)
    desk.require_refused(3, desk.training(data), ["same.csv", "test part"])
    texts = [f"see you at {row}" if row % 2 else f"call {row}" for row in range(100, 140)]
    two = write_csv(desk.folder / "two.csv", texts, ["a", "b"] * 20)
    desk.require_refused(3, desk.training(two), ["two.csv", "test part"])


def test_a_training_part_of_one_class_is_refused(desk: Desk) -> None:
    """Given parts leave nothing to tell apart: exit code 3, the training file named."""
    one = desk.folder / "one.csv"
    one.write_bytes(_relabelled(desk.good.read_bytes(), lambda row: "ham"))
    part = write_csv(desk.folder / "part.csv", ["a", "b"], ["ham", "ham"])
    desk.require_refused(3, desk.training(one, "--test", part), ["one.csv", "one class only"])
