"""The default model on real messages."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.command_line import call, json_lines, read_metrics
from support.default_model import default_model

pytestmark = pytest.mark.network

ROWS = 300


@pytest.fixture(scope="module")
def sample(sms_spam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 lines of the collection in its own form, ham and spam in the proportion of the whole."""
    lines = sms_spam.read_text(encoding="utf-8").splitlines()
    draw = random.Random(7)
    chosen = []
    for label in ("ham", "spam"):
        own = [line for line in lines if line.startswith(f"{label}\t")]
        chosen += draw.sample(own, round(ROWS * len(own) / len(lines)))
    draw.shuffle(chosen)
    path = tmp_path_factory.mktemp("sms") / "sample.txt"
    path.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return path


def test_a_small_sample_gives_a_classifier_that_works(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """300 real messages and the default model: far above the most frequent class, and right on plain examples."""
    run = tmp_path / "run"
    flags = ["--method", "probe", "--depth", "9", "--out", run]
    outcome = call(capsys, "train", sample, "--model", default_model(), *flags)
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(run)
    assert metrics["data"]["rows"] == ROWS
    assert metrics["depth"] == metrics["cut"] == 9
    assert metrics["blocks_total"] == 30
    assert metrics["baselines"]["majority"]["accuracy"] < 0.9
    assert metrics["test"]["accuracy"] >= 0.93
    assert metrics["test"]["per_class"]["spam"]["f1"] >= 0.75
    assert metrics["test"]["log_loss"] < 0.3
    texts = (
        "URGENT! You have WON a 1000 pound prize. Call 09061701461 from a landline now to claim. T&Cs apply.",
        "Hey, I am running late, can you order for me? See you in ten minutes",
    )
    answers = json_lines(call(capsys, "predict", run, *texts, "--json").out)
    assert [answer["label"] for answer in answers] == ["spam", "ham"]
    assert all(answer["confidence"] > 0.8 for answer in answers)
