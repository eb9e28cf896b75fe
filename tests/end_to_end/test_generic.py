"""A model without a family here, from a folder to a classifier that answers in a process of its own; or a clear no."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from support.command_line import Outcome, call, process, read_metrics, require_refusal
from support.generic_models import write_generic
from support.texts import messages, write_csv
from tailtune import TextClassifier

# The command line where the extra is not installed.
_WITHOUT = """
import sys
sys.modules["transformers"] = None
from tailtune.cli import main
sys.exit(main(sys.argv[1:]))
"""
_NEW = ["WINNER!! claim your prize", "see you at lunch", "x" * 3000]


def without_the_extra(*arguments: object) -> Outcome:
    return process([sys.executable, "-c", _WITHOUT, *map(str, arguments)])


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generic("falcon", tmp_path_factory.mktemp("falcon"))


@pytest.fixture(scope="module")
def saved(falcon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "spam"
    TextClassifier(model=str(falcon), method="probe", depth=2, device="cpu").fit(*messages(60)).save(folder)
    return folder


@pytest.mark.parametrize(("name", "method"), [("gptj", "tail"), ("electra", "probe"), ("mpnet", "tail")])
def test_a_classifier_answers_the_same_in_a_process_of_its_own(name: str, method: str, tmp_path: Path) -> None:
    """Trained, saved and asked again from the bundle alone: the model folder is gone by then."""
    model = write_generic(name, tmp_path / "model")
    classifier = TextClassifier(model=str(model), method=method, depth=2, epochs=2, device="cpu").fit(*messages(60))
    classifier.save(tmp_path / "spam")
    for file in model.iterdir():
        file.unlink()
    outcome = process([sys.executable, "-m", "tailtune.cli", "predict", str(tmp_path / "spam"), "--json", *_NEW])
    assert outcome.code == 0, outcome.err
    told = [json.loads(line)["probabilities"] for line in outcome.out.splitlines()]
    got = [[row["ham"], row["spam"]] for row in told]
    np.testing.assert_allclose(got, classifier.predict_proba(_NEW), atol=1e-5)


def test_a_run_chooses_the_depth_in_fp32(falcon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With every choice left open the run goes through, finds a depth and stays in fp32."""
    data = write_csv(tmp_path / "messages.csv", *messages(100))
    outcome = call(capsys, "train", data, "--model", falcon, "--out", tmp_path / "run", "--no-baselines")
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(tmp_path / "run")
    assert metrics["precision"] == "fp32"
    assert metrics["depth_scan"]["why_precision"] == "fp32 products, int8 is for native models"
    asked = call(capsys, "predict", tmp_path / "run", *_NEW)
    assert asked.code == 0, asked.err


def test_the_bundle_says_what_it_needs(saved: Path) -> None:
    """Format 5, which older versions refuse, and the config of the model with nothing that runs code."""
    manifest = json.loads((saved / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == 5
    assert manifest["decoder"]["family"] == "generic"
    assert manifest["decoder"]["library"].startswith("transformers ")
    assert manifest["decoder"]["reference"]["model_type"] == "falcon"
    assert not [name for name in manifest["decoder"]["reference"] if name.startswith("_")]


def test_without_the_extra_a_bundle_names_it(saved: Path) -> None:
    """One line with the command that installs it; exit code 5, for a missing package."""
    line = require_refusal(outcome := without_the_extra("predict", saved, "hello"), 5)
    assert "model_type 'falcon' is not native (native: gpt2, llama" in line
    assert "the package transformers is not installed" in line
    assert "pip install 'tailtune[transformers]'" in outcome.err


def test_without_the_extra_a_model_names_it(falcon: Path) -> None:
    """What reads a config.json says the same."""
    line = require_refusal(outcome := without_the_extra("models", "inspect", falcon), 5)
    assert "model_type 'falcon' is not native (native: gpt2, llama" in line
    assert "pip install 'tailtune[transformers]'" in outcome.err


def test_a_native_model_needs_no_extra(tiny_llama: Path, tmp_path: Path) -> None:
    """Nothing asks for the package unless such a model is used."""
    TextClassifier(model=str(tiny_llama), method="probe", depth=1, device="cpu").fit(*messages(60)).save(tmp_path / "b")
    outcome = without_the_extra("predict", tmp_path / "b", "hello")
    assert outcome.code == 0, outcome.err


def test_int8_is_refused(falcon: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """int8 products are those of native models."""
    data = write_csv(tmp_path / "messages.csv", *messages(60))
    arguments = ("--model", falcon, "--out", tmp_path / "run", "--precision", "int8", "--quiet")
    line = require_refusal(call(capsys, "train", data, *arguments), 2)
    assert "int8 is for native models" in line


def test_inspect_says_native_or_generic(falcon: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the facts of the model, from its config."""
    facts = [json.loads(call(capsys, "models", "inspect", model, "--json").out) for model in (falcon, tiny_llama)]
    assert [told["kind"] for told in facts] == ["generic", "native"]
    assert facts[0]["family"] == "falcon"
    assert (facts[0]["blocks"], facts[0]["width"], facts[0]["vocabulary"], facts[0]["context"]) == (3, 32, 400, 2048)
