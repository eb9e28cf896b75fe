"""`train --method ngrams`: words or letters counted, shipped through the same evaluation as a language model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import call, json_lines, process, read_metrics, require_refusal
from support.generic_models import write_generic
from support.texts import messages, tagged, write_csv, write_tagged
from tailtune import TextClassifier
from tailtune.bundle import read_bundle
from tailtune.methods.ngrams import NgramMember
from tailtune.storage import folder_bytes


def trained(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> dict[str, Any]:
    """Train and return the metrics of the run in ``out``."""
    outcome = call(capsys, "train", data, "--model", model, "--method", "ngrams", "--out", out, *more)
    assert outcome.code == 0, outcome.err
    return read_metrics(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 messages, enough to calibrate, every eleventh label wrong."""
    texts, labels = messages(320)
    labels = [{"ham": "spam", "spam": "ham"}[label] if at % 11 == 0 else label for at, label in enumerate(labels)]
    return write_csv(tmp_path_factory.mktemp("data") / "messages.csv", texts, labels)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path, tiny_llama: Path) -> Path:
    """A finished run; read it only."""
    from tailtune.resolving import resolve
    from tailtune.train import train

    out = tmp_path_factory.mktemp("ngrams") / "run"
    train(resolve({"data": str(data), "model": str(tiny_llama), "out": str(out), "method": "ngrams"}).config)
    return out


def test_a_run_of_ngrams_holds_what_every_run_holds(run: Path) -> None:
    """Scores, baselines without its twin, both kinds that were tried, what was chosen in words; nothing computed."""
    metrics = read_metrics(run)
    assert (metrics["method"], metrics["depth"], metrics["cut"]) == ("ngrams", 0, 0)
    (part,) = metrics["blend"]["parts"]
    assert part["name"] == metrics["blend"]["said"]
    (chosen,) = [choice for choice in metrics["choices"] if choice["chosen"]]
    assert chosen["candidate"] == part["name"]
    assert len(metrics["choices"]) == 2
    assert chosen["loss"] == min(choice["loss"] for choice in metrics["choices"])
    assert metrics["test"]["accuracy"] > 0.75
    twin = {"word n-grams": "word_tfidf_lr", "character n-grams": "char_tfidf_lr"}[part["name"]]
    assert twin not in metrics["baselines"]
    assert len(metrics["baselines"]) >= 2
    assert metrics["tokens"]["computed_texts"] == 0
    for name in ("report.md", "report.html", "bundle/README.md"):
        text = (run / name).read_text()
        assert part["name"] in text
        assert "depth 0" not in text
    assert "Texts are read whole, however long." in (run / "bundle/README.md").read_text()


def test_it_answers_alone_as_it_was_tested(run: Path) -> None:
    """The saved bundle gives the test rows the very probabilities of predictions.jsonl, through its calibration."""
    answers = json_lines((run / "predictions.jsonl").read_text())
    texts, _ = messages(320)
    loaded = TextClassifier.load(run)
    rows = loaded.predict_proba([texts[answer["row"] - 1] for answer in answers])
    np.testing.assert_allclose(rows, [answer["probabilities"] for answer in answers], atol=1e-6)
    bundle = read_bundle(run)
    assert bundle.blend is not None
    assert isinstance(bundle.blend.members[0], NgramMember)
    assert folder_bytes(run / "bundle") < 300_000


def test_a_long_text_is_read_whole(run: Path) -> None:
    """Far beyond the model's context: every token counts, and nothing is called cut."""
    loaded = TextClassifier.load(run)
    (prediction,) = loaded.explain(["see you at lunch " * 2000 + "WINNER!! claim prize now"])
    assert (prediction.truncated, prediction.windows) == (False, 1)
    assert prediction.tokens == prediction.tokens_total > 4000


def test_predicting_loads_no_scikit_learn(run: Path) -> None:
    """It takes a second, which an answer does not."""
    code = (
        "import sys; from tailtune.predict import Predictor\n"
        "print(Predictor.load(sys.argv[1]).predict_proba(['win a prize']).shape, 'sklearn' in sys.modules)"
    )
    done = process([sys.executable, "-c", code, str(run)])
    assert done.out.strip() == "(1, 2) False", done


def test_other_commands_take_such_a_run(
    run: Path, data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluate, compare, predict with words explained, and a further run that takes over its choices."""
    evaluated = json.loads(call(capsys, "evaluate", run, data, "--json").out)
    assert evaluated["test"]["rows"] == 320
    again = tmp_path / "again"
    assert call(capsys, "train", data, "--like", run, "--out", again).code == 0
    assert read_metrics(again)["method"] == "ngrams"
    compared = json.loads(call(capsys, "compare", run, again, "--json").out)
    assert [each["method"] for each in compared["runs"]] == ["ngrams", "ngrams"]
    found = json_lines(call(capsys, "predict", run, "claim prize now", "--explain", "--json").out)
    assert [word["text"] for word in found[0]["highlights"]] == ["claim", "prize", "now"]


def test_every_row_can_be_tested_in_folds(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each fold counts its own rows."""
    metrics = trained(capsys, data, tiny_llama, tmp_path / "run", "--folds", "3", "--no-baselines")
    assert metrics["folds"]["count"] == 3
    assert {each["method"] for each in metrics["folds"]["each"]} == {"ngrams"}
    assert metrics["test"]["rows"] == 320
    assert 0.75 < metrics["test"]["accuracy"] < 1


def test_texts_can_have_several_labels(tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One regression per label, thresholds as for every classifier."""
    file = write_tagged(tmp_path / "lists.jsonl", *tagged(160))
    metrics = trained(capsys, file, tiny_llama, tmp_path / "run")
    assert metrics["method"] == "ngrams"
    assert metrics["test"]["micro_f1"] > 0.9
    found = json_lines(call(capsys, "predict", tmp_path / "run", "this is outrageous but I adore you", "--json").out)
    assert set(found[0]["labels"]) == {"anger", "love"}


def test_a_model_of_the_reference_library_lends_its_tokenizer(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No block of it is loaded or saved."""
    model = write_generic("falcon", tmp_path / "falcon")
    trained(capsys, data, model, tmp_path / "run", "--no-baselines")
    assert not read_bundle(tmp_path / "run").decoder.state_dict()


def test_in_python_too(tiny_llama: Path) -> None:
    """Without a test part and without validation rows to speak of."""
    texts, labels = messages(40)
    fitted = TextClassifier(method="ngrams", model=str(tiny_llama)).fit(texts, labels)
    assert fitted.score(texts, labels) > 0.9


@pytest.mark.parametrize("flags", [("--depth", "2"), ("--out-of-scope",), ("--max-tokens", "8"), ("--loss", "focal")])
def test_settings_of_a_model_are_refused(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    """One line, exit code 2, nothing left."""
    out = tmp_path / "run"
    line = require_refusal(
        call(capsys, "train", data, "--model", tiny_llama, "--method", "ngrams", "--out", out, *flags), 2
    )
    assert flags[0] in line
    assert not out.exists()
