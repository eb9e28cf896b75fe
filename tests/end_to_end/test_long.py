"""Texts longer than the limit, from the file to the answer: what each rule reads, says and costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import call, json_lines, process, read_metrics, require_refusal
from support.texts import messages, write_csv
from support.tiny_models import write_tiny_llama
from tailtune.classifier import TextClassifier
from tailtune.resolving import resolve
from tailtune.train import train

RULES: dict[str, list[str]] = {
    "truncate-tail": ["--long", "truncate-tail"],
    "truncate-head": ["--long", "truncate-head"],
    "windows": ["--long", "windows"],
}
PROBE = ["--method", "probe", "--depth", "2", "--no-baselines", "--precision", "fp32"]
LIMIT = 32

# Reads a text of a megabyte in windows, then prints windows, tokens and the memory that this took, in MiB.
A_MEGABYTE = """
import resource, sys
from tailtune.predict import Predictor

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)

predictor = Predictor.load(sys.argv[1], device="cpu")
predictor.predict(["see you at five"])
before = peak()
(answer,) = predictor.predict(["claim your prize today " * 43_478])
print(answer.windows, answer.tokens, answer.tokens_total, round(peak() - before))
"""


def planted(count: int) -> tuple[list[str], list[str]]:
    """Long texts of the same words whose label is told by one word near their end."""
    random = np.random.default_rng(8)
    fillers = ("see", "you", "at", "home", "the", "meeting", "was", "moved", "room", "stays", "milk", "bread", "call")
    texts, labels = [], []
    for number in range(count):
        words = random.choice(fillers, 40).tolist()
        label = ("meal", "prize")[number % 2]
        words[-int(random.integers(2, 6))] = {"meal": "dinner", "prize": "WINNER!!"}[label]
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> dict[str, Path]:
    """One run for each rule on texts whose label depends on a word near the end; read them only."""
    folder = tmp_path_factory.mktemp("planted")
    data = write_csv(folder / "planted.csv", *planted(300))
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(folder / "home"))
        for rule in RULES:
            settings: dict[str, Any] = {"method": "probe", "depth": 2, "precision": "fp32", "baselines": False}
            settings |= {"data": str(data), "model": str(tiny_llama), "out": str(folder / rule), "max_tokens": LIMIT}
            found[rule] = train(resolve({**settings, "long": rule}).config).folder
    return found


def test_only_what_is_read_can_be_learnt(runs: dict[str, Path]) -> None:
    """A signal near the end: dropping the end guesses, dropping the beginning or reading all of it does not."""
    tests = {rule: read_metrics(folder)["test"] for rule, folder in runs.items()}
    low, high = tests["truncate-tail"]["accuracy_interval"]
    assert low < 0.5 < high
    assert tests["truncate-head"]["accuracy"] > 0.9
    assert tests["windows"]["accuracy_interval"][0] > 0.6


def test_a_run_says_how_many_texts_were_long(runs: dict[str, Path]) -> None:
    """By part in metrics.json and both reports; every text was, so there is nothing to compare with."""
    for rule, folder in runs.items():
        metrics = read_metrics(folder)
        found = metrics["detail"]["long"]
        assert (found["kind"], found["limit"]) == (rule, LIMIT)
        assert {name: each["longer"] for name, each in found["parts"].items()} == {
            name: metrics["data"]["parts"][name] for name in ("train", "validation", "test")
        }
        assert found["test"]["longer"]["accuracy"] == metrics["test"]["accuracy"]
        assert found["test"]["others"] is found["test"]["difference"] is None
        for page in ("report.md", "report.html"):
            text = (folder / page).read_text(encoding="utf-8")
            assert f"{metrics['test']['rows']} test texts are longer than the {LIMIT} tokens read at once" in text
        counts = metrics["tokens"]
        assert counts["truncated_texts"] == (0 if rule == "windows" else 300)
        assert counts["windowed_texts"] == (300 if rule == "windows" else 0)
        assert sum(each["windows"] for each in found["parts"].values()) == counts["windows"]


@pytest.mark.parametrize("rule", RULES)
def test_an_answer_says_what_was_read(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, rule: str
) -> None:
    """The same fields on the screen, in a stream and in a file; a text that fits is read whole by every rule."""
    texts = ["see you at home", planted(2)[0][1]]
    lines = tmp_path / "texts.jsonl"
    lines.write_text("".join(json.dumps({"id": at, "text": text}) + "\n" for at, text in enumerate(texts)))
    printed = json_lines(call(capsys, "predict", runs[rule], "--file", lines, "--json").out)
    call(capsys, "predict", runs[rule], "--file", lines, "--out", tmp_path / "answers.jsonl", "--quiet")
    assert json_lines((tmp_path / "answers.jsonl").read_text(encoding="utf-8")) == printed
    short, long = printed
    assert (short["tokens"], short["truncated"], short["windows"]) == (short["tokens_total"], False, 1)
    assert long["tokens_total"] > LIMIT
    expected = (long["tokens_total"], False) if rule == "windows" else (LIMIT, True)
    assert (long["tokens"], long["truncated"]) == expected
    assert (long["windows"] > 1) == (rule == "windows")
    assert long["label"] == "prize" or rule == "truncate-tail"
    screen = call(capsys, "predict", runs[rule], *texts).out
    assert f"{short['tokens']} tokens read\n" in screen
    said = {
        "truncate-tail": f"only its first part was read, {LIMIT} of {long['tokens_total']} tokens",
        "truncate-head": f"only its last part was read, {LIMIT} of {long['tokens_total']} tokens",
        "windows": f"{long['tokens']} tokens read in {long['windows']} windows",
    }
    assert said[rule] in screen


def test_short_texts_are_trained_on_alike_by_every_rule(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing is long the rules give the same classifier, to the bit, from the same stored features."""
    data = write_csv(tmp_path / "short.csv", *messages(80))
    answers = []
    for rule, flags in RULES.items():
        made = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / rule, *PROBE, *flags)
        assert made.code == 0, made.err
        assert ("nothing to compute" in made.err) == (rule != "truncate-tail")
        answers.append((tmp_path / rule / "predictions.jsonl").read_text(encoding="utf-8"))
        assert "Long texts" not in (tmp_path / rule / "report.md").read_text(encoding="utf-8")
    assert len(set(answers)) == 1


def test_windows_are_computed_once(tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another merge, or texts that share windows, cost nothing; ``--like`` takes the rule over; a tail learns too."""
    data = write_csv(tmp_path / "planted.csv", *planted(80))
    common = ["--model", tiny_llama, "--max-tokens", LIMIT, *PROBE, "--long", "windows", "--stride", 8]
    assert call(capsys, "train", data, *common, "--out", tmp_path / "first").code == 0
    again = call(capsys, "train", data, *common, "--merge", "max", "--out", tmp_path / "max")
    assert "nothing to compute" in again.err
    assert call(capsys, "train", data, "--like", tmp_path / "max", "--out", tmp_path / "like", "--quiet").code == 0
    found = read_metrics(tmp_path / "like")
    assert {name: found["config"][name] for name in ("long", "stride", "merge")} == {
        "long": "windows",
        "stride": 8,
        "merge": "max",
    }
    assert found["tokens"]["computed"] == 0
    tail = call(capsys, "train", data, *common, "--method", "tail", "--epochs", 1, "--out", tmp_path / "tail")
    assert tail.code == 0, tail.err
    assert read_metrics(tmp_path / "tail")["method"] == "tail"


def test_a_classifier_in_python_reads_windows(tiny_llama: Path, tmp_path: Path) -> None:
    """Settings, answers and the saved rule are those of the command line."""
    texts, labels = planted(80)
    settings: dict[str, Any] = {"model": str(tiny_llama), "method": "probe", "depth": 2, "precision": "fp32"}
    made = TextClassifier(**settings, max_tokens=LIMIT, long="windows", merge="vote").fit(texts, labels)
    made.save(tmp_path / "saved")
    loaded = TextClassifier.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict_proba(texts), made.predict_proba(texts), atol=1e-6)
    told, short = loaded.explain([texts[0], "hey"])
    assert (told.tokens, told.truncated, told.windows > 1) == (told.tokens_total, False, True)
    assert (short.tokens, short.windows) == (short.tokens_total, 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--stride", 8], "--stride 8: only windows have this"),
        (["--merge", "max"], "--merge max: only windows have this"),
        (["--long", "truncate-head", "--stride", 8, "--merge", "vote"], "--stride 8 and --merge vote: only windows"),
        (
            ["--long", "windows", "--stride", LIMIT + 1],
            f"--stride {LIMIT + 1} is larger than the window: {LIMIT} tokens",
        ),
        (["--long", "windows", "--max-tokens", 64, "--stride", 1], "--stride 1 would read every token 64 times"),
        (["--long", "windows", "--stride", 0], "--stride: expected an integer"),
        (["--long", "middle"], "--long: expected 'truncate-tail' or 'truncate-head' or 'windows'"),
        (["--long", "windows", "--merge", "median"], "--merge: expected 'mean' or 'vote' or 'max'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str], flags: list[object], said: str
) -> None:
    """One line, exit code 2, no run folder."""
    data = write_csv(tmp_path / "short.csv", *messages(60))
    out = tmp_path / "run"
    common = ["--model", tiny_llama, "--max-tokens", LIMIT, *PROBE, "--out", out, "--quiet"]
    line = require_refusal(call(capsys, "train", data, *common, *flags), 2)
    assert said in line
    assert not out.exists()


def test_a_text_of_a_megabyte_does_not_fill_the_memory(tmp_path: Path) -> None:
    """All of it is read, in thousands of windows, with less memory than 500 bytes for each of its tokens."""
    model = write_tiny_llama(tmp_path / "model", blocks=1, width=8, heads=1, kv_heads=1)
    settings: dict[str, Any] = {"model": str(model), "method": "probe", "depth": 1, "precision": "fp32"}
    made = TextClassifier(**settings, max_tokens=128, long="windows").fit(*messages(40))
    made.save(tmp_path / "saved")
    done = process([sys.executable, "-c", A_MEGABYTE, str(tmp_path / "saved")])
    assert done.code == 0, done.err
    windows, tokens, total, memory = map(int, done.out.split())
    assert tokens == total > 200_000
    assert windows == 1 + -(-(tokens - 128) // 64)
    assert memory < 500 * tokens / 2**20
