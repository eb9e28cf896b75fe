"""A trial sees training and validation rows alone, ends early when told, and what goes wrong with it has a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.sweeps import judge_of, never, quick, served
from tailtune.errors import DataError
from tailtune.features.segments import KEY_BYTES
from tailtune.learn import learn
from tailtune.methods.descent import Epoch
from tailtune.runs import Stopwatch
from tailtune.sweep.judging import Served


@pytest.mark.parametrize("method", ["probe", "tail"])
def test_the_test_rows_play_no_part(tiny_llama: Path, tmp_path: Path, method: str) -> None:
    """With every label of the test turned around each number is the same, to the last bit."""
    config = quick(tiny_llama, method=method).config
    (rows, split), (poisoned, _) = served(100), served(100, turned=True)
    assert len(split.test) > 10
    one, other = (judge_of(config, each, tmp_path)({}, never) for each in (rows, poisoned))
    assert one.state == "complete"
    assert one.scores == other.scores
    assert one.rows is not None
    assert other.rows is not None
    np.testing.assert_array_equal(one.rows, other.rows)
    assert rows.sha256() == poisoned.sha256()


def test_no_test_text_is_even_read(tiny_llama: Path, tmp_path: Path) -> None:
    """The feature store holds as many texts as serve training and validation, and none of the test."""
    rows, split = served(60)
    judge_of(quick(tiny_llama, method="probe").config, rows, tmp_path)({}, never)
    stored = sum(file.stat().st_size // KEY_BYTES for file in tmp_path.glob("*/segment-*/keys.bin"))
    assert stored == len(rows.dataset) == len(split.train) + len(split.validation) < 60
    assert not set(rows.dataset.rows) & {int(row) + 1 for row in split.test}


def test_scores_are_those_of_learning(tiny_llama: Path, tmp_path: Path) -> None:
    """The loss is what the kept epoch of the same tail had on the same rows."""
    resolved = quick(tiny_llama)
    rows, _ = served(60)
    judged = judge_of(resolved.config, rows, tmp_path)({"learning_rate": 1e-3}, never)
    config = replace(resolved.config, learning_rate=1e-3)
    learnt = learn(rows.dataset, rows.split, config, store=tmp_path, watch=Stopwatch())
    best = min(event.validation_loss for event in learnt.events if isinstance(event, Epoch))
    assert judged.scores["log-loss"] == pytest.approx(best, rel=1e-6)
    assert judged.rows is not None
    assert judged.rows.mean() == pytest.approx(best, rel=1e-5)
    assert judged.chosen == {"method": "tail", "depth": 3, "precision": "fp32"}


@pytest.mark.parametrize(("objective", "mean"), [("accuracy", True), ("macro-f1", False)])
def test_rows_are_those_of_the_objective(tiny_llama: Path, tmp_path: Path, objective: str, mean: bool) -> None:
    """Macro F1 is no mean over rows, so there are none."""
    judge = judge_of(quick(tiny_llama, method="probe").config, served(60)[0], tmp_path, objective)  # type: ignore[arg-type]
    judged = judge({}, never)
    assert (judged.rows is not None) == mean
    if judged.rows is not None:
        assert judged.rows.mean() == pytest.approx(judged.scores["accuracy"])


def test_a_trial_that_is_told_to_stop_does_fewer_steps(tiny_llama: Path, tmp_path: Path) -> None:
    """It is asked after each epoch but the last, and nothing of it is left but its features."""
    rows, _ = served(60)
    judge = judge_of(quick(tiny_llama, epochs=3).config, rows, tmp_path)
    told: list[int] = []

    def stop(epoch: int, loss: float) -> bool:
        told.append(epoch)
        return epoch == 2

    whole, ended = judge({"patience": None}, never), judge({}, stop)
    assert told == [1, 2]
    assert (ended.state, ended.scores, ended.rows) == ("pruned", {}, None)
    assert ended.reason == "others were better after epoch 2"
    assert ended.steps == 2 * whole.steps // 3


def test_a_tail_beside_a_probe_is_not_asked_about(tiny_llama: Path, tmp_path: Path) -> None:
    """With method auto the probe may win whatever becomes of the tail."""
    judge = judge_of(quick(tiny_llama, method="auto").config, served(60)[0], tmp_path)
    assert judge({}, lambda epoch, loss: True).state == "complete"


def test_what_goes_wrong_has_a_reason(tiny_llama: Path, tmp_path: Path) -> None:
    """Settings that contradict each other, those that the model cannot have, and a rate that is far too high."""
    judge = judge_of(quick(tiny_llama).config, served(60)[0], tmp_path)
    focal = judge({"loss": "focal", "label_smoothing": 0.1}, never)
    assert focal.state == "contradiction"
    assert "--loss focal and --label-smoothing 0.1 contradict each other" in focal.reason
    deep = judge({"depth": 9}, never)
    assert (deep.state, deep.reason) == ("contradiction", "--depth 9: the model has 4 blocks")
    wild = judge({"learning_rate": 1e30, "clip_norm": None}, never)
    assert wild.state == "diverged"
    assert "loss became" in wild.reason


def test_without_validation_rows_there_is_nothing_to_choose_by() -> None:
    """Said before anything is computed."""
    rows, _ = served(60)
    empty = replace(rows.split, validation=np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="no rows are left for the validation part"):
        Served.without_test(rows.dataset, empty)


def test_the_hash_is_of_texts_labels_and_parts() -> None:
    """Another label, another seed of the split: another hash."""
    rows, _ = served(60)
    labels = ("ham", *rows.dataset.labels[1:])
    assert labels != rows.dataset.labels
    assert replace(rows, dataset=replace(rows.dataset, labels=labels)).sha256() != rows.sha256()
    assert served(60, seed=1)[0].sha256() != rows.sha256()
    assert served(60)[0].sha256() == rows.sha256()
