"""Class weights, focal loss and label smoothing from the flags of train to the report and the next run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import Outcome, call, read_metrics, require_refusal
from support.texts import messages, write_csv

PROBE = ["--method", "probe", "--depth", "2", "--no-baselines"]
TAIL = ["--method", "tail", "--depth", "2", "--epochs", "1", "--no-baselines"]


def rare(folder: Path) -> Path:
    """Write messages of which about one in six is called spam, half of them wrongly, so that the classes overlap."""
    texts, labels = messages(600)
    kept = [row for row, label in enumerate(labels) if label == "ham" or row % 9 == 1]
    turned = np.random.default_rng(0).random(600) < 0.1
    given = ["spam" if turned[row] else labels[row] for row in kept]
    return write_csv(folder / "rare.csv", [texts[row] for row in kept], given)


def train(capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object) -> Outcome:
    return call(capsys, "train", data, "--model", model, "--out", out, *more)


def losses(run: Path) -> list[float]:
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event["loss"] for event in map(json.loads, lines) if event["event"] == "step"]


def mean_spam(run: Path) -> float:
    """Return the mean probability of spam over the test rows of a run."""
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return float(np.mean([json.loads(line)["probabilities"][1] for line in lines]))


def test_weights_are_named_wherever_results_are(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Screen, notes, report.md, report.html and metrics; both flags mean one thing; spam gains."""
    data = rare(tmp_path)
    plain = train(capsys, data, tiny_llama, tmp_path / "plain", *PROBE)
    weighed = train(capsys, data, tiny_llama, tmp_path / "weighed", *PROBE, "--class-weights", "auto")
    alias = train(capsys, data, tiny_llama, tmp_path / "alias", *PROBE, "--balance", "weights")
    assert plain.code == weighed.code == alias.code == 0, weighed.err
    before, after, same = (read_metrics(tmp_path / run) for run in ("plain", "weighed", "alias"))
    assert after["test"] | {"read_at": "", "reading": {}} == same["test"] | {"read_at": "", "reading": {}}
    assert "class_weights" not in before
    weights = after["class_weights"]["weights"]
    counts = np.array([after["data"]["classes"][name] for name in weights])
    np.testing.assert_allclose(list(weights.values()), counts.sum() / (2 * counts), rtol=0.05)
    assert mean_spam(tmp_path / "weighed") > mean_spam(tmp_path / "plain") + 0.1
    said = "lass weights: ham 0."
    page, report = ((tmp_path / "weighed" / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert said in page and said in report and said in weighed.out and said in weighed.err
    assert said not in plain.out + plain.err


def test_a_file_of_weights_reaches_fit_and_baselines(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights the other way round: the common class gains, in the classifier and in the regressions alike."""
    data, weights = rare(tmp_path), tmp_path / "weights.toml"
    weights.write_text("ham = 20.0\nspam = 1.0\n", encoding="utf-8")
    probe = PROBE[:-1]
    for out, more in (("plain", []), ("file", ["--class-weights", weights])):
        assert train(capsys, data, tiny_llama, tmp_path / out, *probe, *more).code == 0
    plain, weighed = (read_metrics(tmp_path / run) for run in ("plain", "file"))
    recalls = [metrics["test"]["per_class"]["ham"]["recall"] for metrics in (plain, weighed)]
    assert recalls[1] >= recalls[0]
    scores = [metrics["baselines"]["word_tfidf_lr"]["log_loss"] for metrics in (plain, weighed)]
    assert scores[0] != scores[1]
    ratio = weighed["class_weights"]["weights"]["ham"] / weighed["class_weights"]["weights"]["spam"]
    assert ratio == pytest.approx(20.0)
    weights.write_text("ham = 20.0\neggs = 1.0\n", encoding="utf-8")
    refused = train(capsys, data, tiny_llama, tmp_path / "eggs", *PROBE, "--class-weights", weights, "--quiet")
    assert "'eggs' is no class" in require_refusal(refused, 2)
    assert not (tmp_path / "eggs").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--loss", "focal", "--focal-gamma", "1"], "focal loss, gamma 1: "),
        (["--label-smoothing", "0.2"], "label smoothing 0.2: "),
    ],
)
def test_the_loss_of_a_tail_is_the_one_asked_for(
    flags: list[str], said: str, tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its curve differs from the first step on, report and screen name it, and --like has it again."""
    data = rare(tmp_path)
    assert train(capsys, data, tiny_llama, tmp_path / "plain", *TAIL).code == 0
    done = train(capsys, data, tiny_llama, tmp_path / "run", *TAIL, *flags)
    assert done.code == 0, done.err
    plain, own = losses(tmp_path / "plain"), losses(tmp_path / "run")
    assert own[0] != pytest.approx(plain[0], rel=1e-4)
    assert said in done.out and said in done.err
    assert "; of the tail alone, a probe has the plain cross-entropy" in done.err
    assert said in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    again = train(capsys, data, tiny_llama, tmp_path / "again", "--like", tmp_path / "run", "--no-baselines")
    assert again.code == 0, again.err
    assert losses(tmp_path / "again") == pytest.approx(own, rel=1e-5)


def test_auto_says_that_a_loss_is_of_the_tail(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no tail was tried it had no effect, which is said; a run like that one is not refused."""
    data = write_csv(tmp_path / "messages.csv", *messages(60))
    done = train(capsys, data, tiny_llama, tmp_path / "run", "--loss", "focal", "--no-baselines")
    assert done.code == 0, done.err
    assert read_metrics(tmp_path / "run")["method"] == "probe"
    assert "; no tail was trained: no effect" in done.err
    assert "focal loss" not in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert train(capsys, data, tiny_llama, tmp_path / "b", "--like", tmp_path / "run", "--no-baselines").code == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method", "probe", "--loss", "focal"], "--loss focal is of a tail"),
        (["--method", "probe", "--label-smoothing", "0.1"], "--label-smoothing 0.1 is of a tail"),
        (["--balance", "weights", "--class-weights", "none"], "--balance weights and --class-weights none contradict"),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[Any]
) -> None:
    """Exit code 2, before the data are read."""
    assert said in require_refusal(call(capsys, "train", tmp_path / "absent.csv", *flags), 2)
