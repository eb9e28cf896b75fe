"""Sentence embeddings as a baseline: beside the n-grams wherever their model is in the cache, and at no cost elsewhere.

A tiny random encoder stands where the cache keeps the real one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, read_metrics, require_refusal
from support.texts import messages, tagged, write_csv, write_tagged
from support.tiny_models import write_tiny_bert
from tailtune.choosing import MODEL
from tailtune.resolving import resolve
from tailtune.train import train

PROBE = ["--method", "probe", "--depth", "2", "--no-doubts", "--no-highlights"]
COUNTED = {"majority", "word_tfidf_lr", "char_tfidf_lr"}


@pytest.fixture
def cached(own_home: Path) -> Path:
    """The folder in the cache that holds the sentence encoder."""
    folder = write_tiny_bert(own_home / "models" / MODEL, blocks=2, context=64)
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.iterdir()}
    (folder / "source.json").write_text(json.dumps({"name": MODEL, "files": files}), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A hundred and twenty messages in two classes, one label in seven wrong, so that nobody is right everywhere."""
    texts, labels = messages(120)
    turned = {"ham": "spam", "spam": "ham"}
    labels = [turned[label] if at % 7 == 0 else label for at, label in enumerate(labels)]
    return write_csv(tmp_path / "messages.csv", texts, labels)


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    """Train and return the metrics of the run in ``out``."""
    outcome = call(capsys, "train", data, "--model", model, "--out", out, *PROBE, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


def test_where_the_model_is_cached_it_is_in_every_report(
    capsys: pytest.CaptureFixture[str], data: Path, cached: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Scores with intervals in metrics and reports, on the same test rows as the n-grams."""
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", tmp_path / "run", *PROBE)
    assert outcome.code == 0, outcome.err
    baselines = read_metrics(tmp_path / "run")["baselines"]
    assert set(baselines) == {*COUNTED, "minilm_lr"}
    low, high = baselines["minilm_lr"]["accuracy_interval"]
    assert low < baselines["minilm_lr"]["accuracy"] < high
    assert set(baselines["minilm_lr"]) == set(baselines["word_tfidf_lr"])
    for shown in (outcome.out, *((tmp_path / "run" / name).read_text() for name in ("report.md", "report.html"))):
        assert "MiniLM embeddings" in shown
    assert "and one on sentence embeddings" in (tmp_path / "run" / "report.html").read_text()


def test_the_flag_says_which(
    capsys: pytest.CaptureFixture[str], data: Path, cached: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Those named and no others, in either order; the commonest class stands beside any."""
    for number, (asked, names) in enumerate(
        [
            (["--baselines", "tfidf"], COUNTED),
            (["--baselines", "minilm"], {"majority", "minilm_lr"}),
            (["--baselines", "minilm, tfidf"], {*COUNTED, "minilm_lr"}),
            (["--baselines", "none"], set()),
            (["--no-baselines"], set()),
        ]
    ):
        found = trained(capsys, data, tiny_llama, tmp_path / f"run{number}", *asked)["baselines"]
        assert set(found) == names, asked
    both = call(capsys, "train", data, "--no-baselines", "--baselines", "tfidf")
    assert "contradict each other" in require_refusal(both, 2)
    unknown = call(capsys, "train", data, "--baselines", "tfidf,bert")
    assert "'bert' is not known" in require_refusal(unknown, 2)


def test_without_the_model_nothing_is_different(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left open the n-grams stand alone; asked for by name what cannot be fetched is refused before any pass."""
    assert set(trained(capsys, data, tiny_llama, tmp_path / "run")["baselines"]) == COUNTED
    for name in ("PIP_NO_INDEX", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    flags = ["--model", tiny_llama, "--out", tmp_path / "other", "--baselines", "minilm", "--quiet"]
    outcome = call(capsys, "train", data, *flags)
    assert outcome.code == 5
    assert MODEL in outcome.err
    assert not (tmp_path / "other").exists()


def test_vectors_are_computed_once(data: Path, cached: Path, tiny_llama: Path, tmp_path: Path) -> None:
    """A second run, with other settings, finds them in the store and says the same of the test rows."""
    stages: list[set[str]] = []
    found = []
    for number, settings in enumerate(({}, {"penalty": 0.1})):
        seen: set[str] = set()
        fixed = {"data": str(data), "model": str(tiny_llama), "method": "probe", "depth": 2, "doubts": False}
        config = resolve({**fixed, **settings, "out": str(tmp_path / f"run{number}"), "highlights": False}).config
        metrics = train(config, progress=lambda stage, done, total, unit, seen=seen: seen.add(stage)).metrics
        stages.append(seen)
        found.append({**metrics["baselines"]["minilm_lr"], "seconds": 0})
    assert "backbone pass, sentence embeddings" in stages[0]
    assert "backbone pass, sentence embeddings" not in stages[1]
    assert found[0] == found[1]


def test_folds_and_several_labels(
    capsys: pytest.CaptureFixture[str], data: Path, cached: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Fitted again in each fold, judged on all rows; of several labels its scores are those of the n-grams."""
    folded = trained(capsys, data, tiny_llama, tmp_path / "folds", "--folds", "2")
    assert set(folded["baselines"]) == {*COUNTED, "minilm_lr"}
    assert folded["baselines"]["minilm_lr"]["accuracy"] > 0.6
    lists = write_tagged(tmp_path / "lists.jsonl", *tagged(160))
    several = trained(capsys, lists, tiny_llama, tmp_path / "several")
    assert set(several["baselines"]["minilm_lr"]) == set(several["baselines"]["word_tfidf_lr"])
    assert several["baselines"]["minilm_lr"]["micro_f1"] > 0.6
    assert "or on sentence embeddings" in (tmp_path / "several" / "report.html").read_text()


def test_a_classifier_is_no_rival_of_itself(
    capsys: pytest.CaptureFixture[str], data: Path, cached: Path, tmp_path: Path
) -> None:
    """Made of the same weights it is compared with n-grams, unless asked for by name."""
    assert set(trained(capsys, data, cached, tmp_path / "run")["baselines"]) == COUNTED
    named = trained(capsys, data, cached, tmp_path / "other", "--baselines", "minilm")
    assert set(named["baselines"]) == {"majority", "minilm_lr"}


def test_class_shares_are_those_asked_for(
    capsys: pytest.CaptureFixture[str], data: Path, cached: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Brought to another prevalence like the n-grams: their probabilities, and so their losses, move with it."""
    plain = trained(capsys, data, tiny_llama, tmp_path / "plain")
    moved = trained(capsys, data, tiny_llama, tmp_path / "moved", "--prevalence", "spam=0.05")
    for name in ("word_tfidf_lr", "minilm_lr"):
        assert moved["baselines"][name]["log_loss"] > 1.05 * plain["baselines"][name]["log_loss"], name


@pytest.mark.usefixtures("own_home")
@pytest.mark.parametrize("more", [(), ("--folds", "3")])
def test_random_weights_are_a_baseline(
    capsys: pytest.CaptureFixture[str], data: Path, tiny_llama: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """The same model without its pretraining, read at the same depth; other weights, so other answers."""
    run = tmp_path / "run"
    outcome = call(capsys, "train", data, "--model", tiny_llama, "--out", run, *PROBE, "--baselines", "random", *more)
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(run)
    assert set(metrics["baselines"]) == {"majority", "random_lr"}
    assert metrics["baselines"]["random_lr"]["log_loss"] != metrics["test"]["log_loss"]
    assert "the same model with random weights" in (run / "report.md").read_text(encoding="utf-8")
