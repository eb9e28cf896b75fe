"""One command from a file of labelled texts to a run folder: what lies there, what is reused, what is never touched."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, contents, json_lines, read_metrics
from support.texts import messages, write_csv
from tailtune.resolving import resolve
from tailtune.train import train

PROBE = ["--method", "probe", "--depth", "2", "--no-baselines"]

# Trains until the backbone pass is half done, then dies as from the kernel's out-of-memory killer.
KILLED_IN_THE_PASS = """
import os, signal, sys
import tailtune.features.backbone as backbone
import tailtune.features.store as store
from tailtune.resolving import resolve
from tailtune.train import train

store.SEGMENT_TOKENS = 256
backbone.Backbone.run.__kwdefaults__["token_budget"] = 128

def progress(stage, done, total, unit):
    if stage == "backbone pass" and 2 * done > total:
        os.kill(os.getpid(), signal.SIGKILL)

train(resolve({"data": sys.argv[1], "model": sys.argv[2], "out": sys.argv[3], "method": "probe", "depth": 2}).config,
      progress=progress)
"""


def write_messages(folder: Path, count: int = 100) -> Path:
    """Write ``count`` messages in two classes to messages.csv in ``folder``."""
    return write_csv(folder / "messages.csv", *messages(count))


def finished(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    """Train and return the metrics of the run in ``out``."""
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A run of the defaults on 100 messages, as a process of its own; read it only."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_messages(folder)
    subprocess.run(
        [sys.executable, "-m", "tailtune.cli", "train", data, "--model", tiny_llama, "--out", folder / "run"],
        check=True,
        capture_output=True,
        env={**os.environ, "TAILTUNE_HOME": str(folder / "home")},
    )
    return folder / "run"


def test_a_run_folder_holds_everything(whole: Path) -> None:
    """Bundle, metrics, reports, answers, settings, split, events, and nothing else: no temporary file is left."""
    assert sorted(path.name for path in whole.iterdir()) == [
        "bundle",
        "config.json",
        "doubts.csv",
        "events.jsonl",
        "metrics.json",
        "predictions.jsonl",
        "report.html",
        "report.md",
        "seen.json",
        "split.json",
    ]
    assert sorted(path.name for path in (whole / "bundle").iterdir()) == [
        "README.md",
        "backbone.safetensors",
        "bundle.json",
        "classifier.safetensors",
        "metrics.json",
        "tokenizer.json",
    ]
    assert sorted(path.name for path in whole.parent.iterdir()) == ["home", "messages.csv", "run"]


@pytest.mark.parametrize(
    "key",
    [
        *(f"data.{name}" for name in ("source", "rows", "classes", "parts", "duplicates", "leaked_test_rows")),
        *("model", "method", "depth", "test.accuracy", "test.accuracy_interval", "test.macro_f1"),
        *(f"baselines.{name}.accuracy" for name in ("majority", "word_tfidf_lr", "char_tfidf_lr")),
        *(f"seconds.{name}" for name in ("read", "model", "tokens", "backbone", "method", "test", "save", "total")),
        *("tokens", "peak_rss_mib", "seed", "versions", "verdict.text", "test.confusion", "test.log_loss", "test.ece"),
        *("calibration.method", "calibration.rows", "test.ece_interval", "test.brier_interval", "test.reliability"),
        *("test.raw.ece", "test.raw.ece_interval", "test.raw.reliability"),
    ],
)
def test_metrics_hold_every_documented_key(whole: Path, key: str) -> None:
    """Scripts may rely on these names."""
    value: Any = read_metrics(whole)
    for name in key.split("."):
        value = value[name]
    assert value is not None


def test_the_numbers_of_a_run_agree_with_each_other(whole: Path) -> None:
    """Parts, split, confusion matrix and token counts tell the same story, and the bundle's metrics are the run's."""
    metrics = read_metrics(whole)
    split = json.loads((whole / "split.json").read_text(encoding="utf-8"))
    parts = {name: split[name] for name in ("train", "validation", "test", "unused")}
    assert {name: len(rows) for name, rows in parts.items()} == metrics["data"]["parts"]
    assert sorted(row for rows in parts.values() for row in rows) == list(range(1, 101))
    assert metrics["data"]["rows"] == sum(metrics["data"]["classes"].values()) == metrics["tokens"]["texts"] == 100
    assert metrics["data"]["leaked_test_rows"] == metrics["data"]["duplicates"] == 0
    test = metrics["test"]
    assert test["rows"] == len(split["test"]) == sum(map(sum, test["confusion"]))
    assert test["accuracy"] == sum(row[at] for at, row in enumerate(test["confusion"])) / test["rows"]
    assert metrics["tokens"]["computed_texts"] == metrics["tokens"]["distinct_texts"] == 100
    in_bundle = json.loads((whole / "bundle" / "metrics.json").read_text(encoding="utf-8"))
    assert in_bundle["test"] == test


def test_answers_and_report_agree_with_the_metrics(whole: Path) -> None:
    """Each test row has its answer in predictions.jsonl; report and doubts show texts, every other file holds none."""
    metrics, split = read_metrics(whole), json.loads((whole / "split.json").read_text(encoding="utf-8"))
    answers = json_lines((whole / "predictions.jsonl").read_text(encoding="utf-8"))
    assert [answer["row"] for answer in answers] == split["test"]
    assert (
        sum(answer["label"] == answer["predicted"] for answer in answers) / len(answers) == metrics["test"]["accuracy"]
    )
    assert all(abs(sum(answer["probabilities"]) - 1) < 1e-5 for answer in answers)
    assert sum(each["rows"] for each in metrics["test"]["reliability"]) == len(answers)
    assert metrics["bundle_bytes"] == sum(path.stat().st_size for path in (whole / "bundle").iterdir())
    texts = [text for text in messages(100)[0] if "'" not in text]
    marks = re.compile(rb'<mark[^>]*>|<span class="spoken">.*?</span></mark>')
    holding = {
        path.name
        for path in whole.rglob("*")
        if path.is_file() and any(text.encode() in marks.sub(b"", path.read_bytes()) for text in texts)
    }
    assert holding == {"doubts.csv", "report.html"}


def test_the_test_part_is_read_last(whole: Path) -> None:
    """The run says when the test part was read, and the time is one with a zone."""
    read_at = datetime.datetime.fromisoformat(read_metrics(whole)["test"]["read_at"])
    assert read_at.tzinfo is not None
    assert 0 <= (whole / "metrics.json").stat().st_mtime - read_at.timestamp() < 120


def test_settings_and_their_origins_are_recorded(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flag wins over the file, the file over the recipe, and config.json says so for every setting."""
    data = write_messages(tmp_path)
    monkeypatch.setenv("TAILTUNE_MODEL", str(tiny_llama))
    file = tmp_path / "train.toml"
    file.write_text('seed = 3\nmethod = "tail"\nepochs = 1\nbatch-size = 16\nbaselines = false\n', encoding="utf-8")
    outcome = call(
        capsys,
        "train",
        data,
        "--config",
        file,
        *("--seed", 5, "--recipe", "chapter", "--depth", 2, "--out", tmp_path / "run"),
    )
    assert outcome.code == 0, outcome.err
    recorded = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    config, origins = recorded["config"], recorded["origins"]
    assert set(config) == set(origins)
    names = ("seed", "epochs", "batch_size", "learning_rate", "model", "device")
    assert {name: (config[name], origins[name]) for name in names} == {
        "seed": (5, "flag"),
        "epochs": (1, f"file {file}"),
        "batch_size": (16, f"file {file}"),
        "learning_rate": (5e-5, "recipe chapter"),
        "model": (str(tiny_llama), "environment"),
        "device": ("auto", "default"),
    }
    metrics = read_metrics(tmp_path / "run")
    assert (metrics["method"], metrics["depth"], metrics["seed"]) == ("tail", 2, 5)
    assert metrics["config"] == config
    assert metrics["baselines"] == {}


def test_a_tail_records_its_steps(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """events.jsonl holds every step with a finite loss, and as many epochs as the curves."""
    flags = ["--method", "tail", "--depth", "2", "--epochs", "2", "--no-baselines"]
    metrics = finished(capsys, write_messages(tmp_path), tiny_llama, tmp_path / "run", *flags)
    events = json_lines((tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8"))
    steps = [event for event in events if event["event"] == "step"]
    assert len(steps) == 2 * -(-metrics["data"]["parts"]["train"] // 8)
    assert [event["step"] for event in steps] == list(range(1, len(steps) + 1))
    assert all(0 < event["loss"] < 100 for event in steps)
    assert sum(event["event"] == "epoch" for event in events) == 2


def test_runs_get_names_of_their_own(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --out a run lies in runs/<stem>-<date>-<time>; a second one in the same second overwrites nothing."""
    monkeypatch.chdir(tmp_path)
    write_messages(tmp_path)
    arguments = ["train", "messages.csv", "--model", tiny_llama, *PROBE, "--quiet", "--json"]
    first = Path(json.loads(call(capsys, *arguments).out)["run"])
    before = contents(tmp_path / first)
    second = Path(json.loads(call(capsys, *arguments).out)["run"])
    assert first != second
    assert all(re.fullmatch(r"runs/messages-\d{8}-\d{6}(-\d+)?", str(run)) for run in (first, second))
    assert sorted(path.name for path in Path("runs").iterdir()) == sorted((first.name, second.name))
    assert contents(tmp_path / first) == before


def test_quiet_and_json_leave_stderr_silent_and_stdout_one_object(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--quiet says nothing on stderr; --json prints exactly what metrics.json holds, and the folder."""
    data = write_messages(tmp_path)
    arguments = ["train", data, "--model", tiny_llama, *PROBE, "--json"]
    told = call(capsys, *arguments, "--out", tmp_path / "told")
    quiet = call(capsys, *arguments, "--out", tmp_path / "quiet", "--quiet")
    assert "everything is chosen; the test part" in told.err
    assert "\x1b" not in told.err + told.out
    assert quiet.err == ""
    assert json.loads(quiet.out) == {"run": str(tmp_path / "quiet"), **read_metrics(tmp_path / "quiet")}


@pytest.mark.parametrize("method", ["probe", "tail", "auto"])
def test_other_labels_and_seeds_skip_the_backbone_pass(
    tmp_path: Path, tiny_llama: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same texts and model: nothing is computed again, whatever the labels, the seed or the order of rows."""
    texts, labels = messages(100)
    flags = ["--method", method, "--epochs", "1", "--no-baselines"]
    data = write_csv(tmp_path / "first.csv", texts, labels)
    first = finished(capsys, data, tiny_llama, tmp_path / "first", *flags)
    assert first["tokens"]["computed"] == first["tokens"]["total"] > 0
    other = [("a", "b", "c")[row % 3] for row in range(100)]
    relabelled = write_csv(tmp_path / "second.csv", texts[::-1], other)
    for name, file, more in (("labels", relabelled, []), ("seed", data, ["--seed", "7"])):
        again = finished(capsys, file, tiny_llama, tmp_path / name, *flags, *more)
        assert (again["tokens"]["computed"], again["tokens"]["computed_texts"]) == (0, 0)
        assert again["tokens"]["distinct_texts"] == 100


def test_added_rows_alone_are_computed(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """20 rows more: 20 texts computed."""
    texts, labels = messages(120)
    flags = ["--method", "auto", "--epochs", "1", "--no-baselines"]
    first = write_csv(tmp_path / "first.csv", texts[:100], labels[:100])
    finished(capsys, first, tiny_llama, tmp_path / "first", *flags)
    more = finished(capsys, write_csv(tmp_path / "more.csv", texts, labels), tiny_llama, tmp_path / "more", *flags)
    assert more["tokens"]["computed_texts"] == 20
    assert more["tokens"]["distinct_texts"] == 120


@pytest.mark.parametrize("method", ["probe", "tail"])
def test_a_run_like_another_makes_no_choice_again(
    tmp_path: Path, tiny_llama: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Depth, precision, method and penalty are taken over, no scan is made, and the new texts alone are computed."""
    texts, labels = messages(120)
    data = write_csv(tmp_path / "first.csv", texts[:100], labels[:100])
    flags = ["--method", method, "--epochs", "1", "--precision", "int8", "--no-baselines"]
    first = finished(capsys, data, tiny_llama, tmp_path / "first", *flags)
    more = write_csv(tmp_path / "more.csv", texts, labels)
    like = finished(capsys, more, tiny_llama, tmp_path / "like", "--like", tmp_path / "first", "--no-baselines")
    assert [like[name] for name in ("method", "depth", "precision")] == [method, first["depth"], "int8"]
    assert like["config"]["penalty"] == next(c for c in first["choices"] if c["chosen"]).get("penalty", "auto")
    assert like["origins"]["depth"] == f"like {tmp_path / 'first'}"
    assert like["depth_scan"] is None
    assert like["tokens"]["computed_texts"] == 20


def test_no_cache_computes_afresh_and_leaves_the_store_alone(
    tmp_path: Path,
    own_home: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--no-cache neither reads nor writes the store, gives the same classifier, and cleans up after itself."""
    data = write_messages(tmp_path)
    finished(capsys, data, tiny_llama, tmp_path / "kept", *PROBE)
    store = contents(own_home / "features")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    metrics = finished(capsys, data, tiny_llama, tmp_path / "fresh", *PROBE, "--no-cache")
    assert metrics["tokens"]["computed_texts"] == 100
    assert contents(own_home / "features") == store
    assert list(scratch.iterdir()) == []
    for name in ("backbone.safetensors", "classifier.safetensors"):
        kept, fresh = (tmp_path / run / "bundle" / name for run in ("kept", "fresh"))
        assert kept.read_bytes() == fresh.read_bytes()


@pytest.mark.parametrize("method", ["probe", "tail", "auto"])
def test_test_labels_change_no_byte_of_the_classifier(
    tmp_path: Path, tiny_llama: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every label of the test part swapped: the same weights, the same choice, and the accuracy turned round."""
    texts, labels = messages(120)
    data = write_csv(tmp_path / "train.csv", texts[:90], labels[:90])
    swapped = [{"ham": "spam", "spam": "ham"}[label] for label in labels[90:]]
    flags = ["--method", method, "--depth", "3", "--epochs", "2", "--no-baselines"]
    metrics = []
    for name, given in (("right", labels[90:]), ("swapped", swapped)):
        part = write_csv(tmp_path / f"{name}.csv", texts[90:], given)
        metrics.append(finished(capsys, data, tiny_llama, tmp_path / name, "--test", part, *flags))
    for name in ("backbone.safetensors", "classifier.safetensors"):
        right, wrong = (tmp_path / run / "bundle" / name for run in ("right", "swapped"))
        assert right.read_bytes() == wrong.read_bytes()
    manifests = [json.loads((tmp_path / run / "bundle" / "bundle.json").read_text()) for run in ("right", "swapped")]
    assert manifests[0].get("rules") == manifests[1].get("rules")
    one, two = metrics
    assert one["calibration"] == two["calibration"]
    assert all(one[key] == two[key] for key in ("choices", "curves", "reason", "validation", "depth", "method"))
    assert one["test"]["accuracy"] == pytest.approx(1 - two["test"]["accuracy"])


def test_a_killed_pass_loses_only_what_was_under_way(
    tmp_path: Path, own_home: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in the middle of the pass: no run folder; the rerun keeps whole segments and computes the others."""
    data = write_messages(tmp_path, 200)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_PASS, data, tiny_llama, tmp_path / "run"],
        check=False,
        capture_output=True,
        env=dict(os.environ),
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "run").exists()
    left = [path.name for path in (own_home / "features").glob("*/*")]
    assert any(name.startswith("segment-") for name in left)
    assert any(name.startswith(".segment-") for name in left), "the kill came between two segments"
    metrics = finished(capsys, data, tiny_llama, tmp_path / "run", *PROBE)
    assert 0 < metrics["tokens"]["computed_texts"] < 150
    fresh = finished(capsys, data, tiny_llama, tmp_path / "fresh", *PROBE, "--no-cache")
    assert metrics["validation"]["log_loss"] == pytest.approx(fresh["validation"]["log_loss"], abs=1e-6)


@pytest.mark.parametrize("wanted", ["backbone pass", "tail", "baselines"])
def test_an_interrupt_leaves_nothing_half_written(
    tmp_path: Path, own_home: Path, tiny_llama: Path, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in any long stage: no run folder and no temporary file, and the next run takes what was finished."""
    data = write_messages(tmp_path)
    out = tmp_path / "run"
    settings = {"data": str(data), "model": str(tiny_llama), "out": str(out), "depth": 2, "epochs": 1}

    def interrupted(stage: str, done: int, total: int, unit: str) -> None:
        if stage == wanted:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(resolve(settings).config, progress=interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["messages.csv"]
    left = [path.name for path in own_home.glob("features/*/*")]
    assert all(name == "store.json" or name.startswith("segment-") for name in left)
    metrics = finished(capsys, data, tiny_llama, out, "--depth", "2", "--epochs", "1")
    assert metrics["tokens"]["computed_texts"] == (100 if wanted == "backbone pass" else 0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["été", "日本語", "😀 fun"], ["été", "日本語", "😀 fun"]),
        (['say "no"', "a, b", "[red]x[/red]"], ["[red]x[/red]", "a, b", 'say "no"']),
    ],
)
def test_labels_are_strings_end_to_end(
    tmp_path: Path, tiny_llama: Path, names: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers, other scripts, quotes and markup signs come back as they were written, in a recorded order."""
    texts, _ = messages(60)
    rows = [{"text": text, "label": names[row % 3]} for row, text in enumerate(texts)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", *PROBE)
    assert outcome.code == 0, outcome.err
    assert read_metrics(tmp_path / "run")["labels"] == expected
    shown = call(capsys, "predict", tmp_path / "run", "Some text")
    assert all(name in shown.out for name in names)
    (answer,) = json_lines(call(capsys, "predict", tmp_path / "run", "Some text", "--json").out)
    assert list(answer["probabilities"]) == expected


def test_integer_labels_of_a_csv(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 and 1 in a CSV are the classes "0" and "1"."""
    texts, labels = messages(60)
    data = write_csv(tmp_path / "rows.csv", texts, [str(int(label == "spam")) for label in labels])
    assert finished(capsys, data, tiny_llama, tmp_path / "run", *PROBE)["labels"] == ["0", "1"]


@pytest.mark.parametrize("method", ["probe", "tail", "auto"])
def test_a_class_of_two_rows_is_enough(
    tmp_path: Path, tiny_llama: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row to learn from, one to test; the run says that its figures are rough."""
    texts, labels = messages(62)
    data = write_csv(tmp_path / "rows.csv", texts, [*labels[:60], "rare", "rare"])
    flags = ["--method", method, "--epochs", "1"]
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", *flags)
    assert outcome.code == 0, outcome.err
    assert "fewer than 10 rows, so their figures will be rough: 'rare' 2" in outcome.err
    metrics = read_metrics(tmp_path / "run")
    assert metrics["labels"] == ["ham", "rare", "spam"]
    assert metrics["test"]["per_class"]["rare"]["support"] == 1


def test_two_classes_of_two_rows_are_enough(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The smallest file that can be trained on and tested: four rows, with the defaults."""
    data = write_csv(tmp_path / "rows.csv", *messages(4))
    metrics = finished(capsys, data, tiny_llama, tmp_path / "run", "--epochs", "1")
    assert metrics["data"]["parts"]["test"] == 2
    assert call(capsys, "predict", tmp_path / "run", "hello").code == 0


def test_quotes_and_line_ends_inside_a_text(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quoted field may hold line ends, doubled quotes and commas: it is one row, and its text is whole."""
    texts, labels = messages(60)
    odd = [f'He said "{text}",\nthen left\r\nfor good' for text in texts]
    data = write_csv(tmp_path / "odd.csv", odd, labels)
    metrics = finished(capsys, data, tiny_llama, tmp_path / "odd", *PROBE)
    assert metrics["data"]["rows"] == 60
    rows = tmp_path / "odd.jsonl"
    pairs = zip(odd, labels, strict=True)
    rows.write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs), encoding="utf-8"
    )
    assert finished(capsys, rows, tiny_llama, tmp_path / "same", *PROBE)["tokens"]["computed"] == 0
