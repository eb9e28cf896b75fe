"""What trackers are told is made of the run's own numbers, and what cannot be told is left out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailtune.config import TrainConfig
from tailtune.errors import SetupError
from tailtune.methods.descent import Epoch, Step
from tailtune.tracking import TRACKERS, Record, record_of, required, tell

EVENTS: list[Step | Epoch] = [
    Step(step=1, steps=4, loss=0.7, learning_rate=1e-4),
    Step(step=2, steps=4, loss=0.6, learning_rate=2e-4),
    Epoch(epoch=1, train_loss=0.65, validation_loss=0.5, validation_accuracy=0.8, best=True),
    Step(step=3, steps=4, loss=0.4, learning_rate=1e-4),
    Step(step=4, steps=4, loss=0.3, learning_rate=5e-5),
    Epoch(epoch=2, train_loss=0.35, validation_loss=math.nan, validation_accuracy=math.nan, best=True),
]
METRICS: dict[str, Any] = {
    "config": TrainConfig(data="x.csv", epochs=2).as_json(),
    "method": "tail",
    "depth": 3,
    "precision": "fp32",
    "test": {"accuracy": 0.9, "macro_f1": 0.85, "log_loss": 0.3, "rows": 40, "per_class": {}},
    "baselines": {"word_tfidf_lr": {"accuracy": 0.8, "title": "word TF-IDF"}},
}


def test_a_record_is_the_runs_numbers(tmp_path: Path) -> None:
    """A point per step, held-out scores at the last step of their epoch, no NaN, the kept classifier at the end."""
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    (tmp_path / "report.html").write_text("texts", encoding="utf-8")
    record = record_of(tmp_path, METRICS, EVENTS)
    assert record.points == [
        (1, {"train/loss": 0.7, "train/learning_rate": 1e-4}),
        (2, {"train/loss": 0.6, "train/learning_rate": 2e-4, "train/epoch": 1, "eval/loss": 0.5, "eval/accuracy": 0.8}),
        (3, {"train/loss": 0.4, "train/learning_rate": 1e-4}),
        (4, {"train/loss": 0.3, "train/learning_rate": 5e-5, "train/epoch": 2}),
        (
            5,
            {
                "test/accuracy": 0.9,
                "test/macro_f1": 0.85,
                "test/loss": 0.3,
                "baseline/word_tfidf_lr/accuracy": 0.8,
            },
        ),
    ]
    assert record.files == [tmp_path / "metrics.json"]
    assert (record.name, record.parameters["epochs"], record.parameters["chosen_depth"]) == (tmp_path.name, "2", "3")
    assert "text_column" not in record.parameters
    json.dumps(record.parameters)


def test_a_probe_has_one_point(tmp_path: Path) -> None:
    """No tail was trained: its scores stand alone."""
    metrics = {**METRICS, "validation": {"accuracy": 0.7, "log_loss": 0.5}}
    ((step, values),) = record_of(tmp_path, metrics, []).points
    assert step == 1
    assert (values["eval/accuracy"], values["eval/loss"], values["test/accuracy"]) == (0.7, 0.5, 0.9)


def test_names_are_split_and_counted_once() -> None:
    """Blanks and repetitions do no harm; nothing asked is nothing."""
    assert required(None) == ()
    assert required("tensorboard, mlflow,tensorboard") == ("tensorboard", "mlflow")


class Failing:
    """A library that is there and fails."""

    package = "json"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def send(self, record: Record) -> None:
        sys.stdout.write("View run at http://…\n")
        raise self.error


class AFolder(Failing):
    """A library that is not there, while a folder of its name is."""

    package = "only_a_folder"


def test_a_folder_of_its_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb makes ./wandb, which Python would import as an empty package."""
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(TRACKERS, "folder", AFolder(OSError()))
    with pytest.raises(SetupError, match="--track folder: its package is not installed"):
        required("folder")


@pytest.mark.parametrize(
    "make",
    [lambda: SetupError("no such experiment"), lambda: ConnectionError("no\nroute"), lambda: ImportError("proto")],
)
def test_a_failure_is_one_line_and_the_others_go_on(
    make: Callable[[], Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It names the tracker, the reason and where the complete run lies; what a library prints is kept off stdout."""
    monkeypatch.setitem(TRACKERS, "failing", Failing(make()))
    notes: list[str] = []
    tell(("failing", "tensorboard"), record_of(tmp_path, METRICS, EVENTS), notes.append)
    assert notes[0].startswith(f"warning: --track failing failed, the run is complete without it in {tmp_path}: ")
    assert "\n" not in notes[0]
    assert notes[1].startswith("tracked with tensorboard: 5 points")
    assert list((tmp_path / "tensorboard").iterdir())
    assert capsys.readouterr().out == ""
