"""Sentence embeddings as a baseline: beside the n-grams wherever their model is in the cache, and at no cost elsewhere.

A tiny random encoder stands where the cache keeps the real one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, read_metrics
from support.texts import messages, tagged, write_csv, write_tagged
from support.tiny_models import write_tiny_bert
from tailtune.config import resolve
from tailtune.rivals import MODEL
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
        assert "MiniLM sentence embeddings" in shown
    assert "and one on sentence embeddings" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["--baselines", "tfidf"], COUNTED),
        (["--baselines", "minilm"], {"majority", "minilm_lr"}),
        (["--baselines", "minilm, tfidf"], {*COUNTED, "minilm_lr"}),
        (["--baselines", "none"], set()),
        (["--no-baselines"], set()),
    ],
)
def test_the_flag_says_which(
    capsys: pytest.CaptureFixture[str], data: Path, cached: Path, tiny_llama: Path, tmp_path: Path, **case: Any
) -> None:
    """Those named and no others; the commonest class stands beside any."""
    asked, names = case["asked"], case["names"]
    assert set(trained(capsys, data, tiny_llama, tmp_path / "run", *asked)["baselines"]) == names
