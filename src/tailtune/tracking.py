"""Experiment trackers told of a finished run: settings as parameters, losses by step, scores; never a text.

They are told when the run folder is complete, so none can slow a training or lose its result. Each is used through its
own library, an extra of this package, and reads its own environment variables.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tailtune.errors import ConfigError, SetupError
from tailtune.methods.descent import Epoch, Step

# The files of a run without texts or probabilities of single rows: report.html and predictions.jsonl stay at home.
FILES = ("metrics.json", "report.md", "config.json")
# metrics.json's names of scores, and what trackers' users call them.
_SCORES = {"accuracy": "accuracy", "macro_f1": "macro_f1", "log_loss": "loss", "brier": "brier", "ece": "ece"}
# Most that MLflow takes at once.
_MLFLOW_METRICS = 1000
_MLFLOW_PARAMETERS = 100
# A server that is away, a full disk, no rights, a library of a version with other names.
_FAILURES = (SetupError, ImportError, OSError, RuntimeError, ValueError, AttributeError, TypeError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What trackers are told of a run.

    Attributes:
        name: Of the run.
        parameters: Settings and what was chosen, as text.
        points: (step, name -> value), ascending; the last one is the kept classifier's.
        folder: Of the run.
    """

    name: str
    parameters: Mapping[str, str]
    points: Sequence[tuple[int, Mapping[str, float]]]
    folder: Path

    @property
    def files(self) -> list[Path]:
        """Those of FILES that are there."""
        return [self.folder / name for name in FILES if (self.folder / name).is_file()]


class Tracker(Protocol):
    """One library, and how it is told."""

    @property
    def package(self) -> str:
        """What it is imported as."""

    def send(self, record: Record) -> None:
        """Tell it all of ``record``.

        Raises:
            SetupError: If the library refuses, in its words; other errors are listed in _FAILURES.
        """


def required(asked: str | None) -> tuple[str, ...]:
    """Return the names of the trackers that ``asked``, separated by commas, means; before anything is computed.

    Raises:
        ConfigError: If one is not known.
        SetupError: If the package of one is not installed; it names the extra.
    """
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(","))) if asked else ()
    for name in names:
        if name not in TRACKERS:
            known = ", ".join(TRACKERS)
            raise ConfigError(f"--track {asked}: {name!r} is no tracker", hint=f"expected some of {known}")
        found = importlib.util.find_spec(TRACKERS[name].package)
        # A folder of that name, such as the one wandb makes, passes for a package without an origin.
        if found is None or found.origin is None:
            raise SetupError(f"--track {name}: its package is not installed", hint=f"pip install 'tailtune[{name}]'")
    return names


def record_of(folder: Path, metrics: Mapping[str, Any], events: Iterable[Step | Epoch]) -> Record:
    """Return what to tell of the run in ``folder``.

    Args:
        folder: Complete.
        metrics: The content of its metrics.json.
        events: Steps and epochs of its tail, in order.
    """
    config = {name: str(value) for name, value in metrics["config"].items() if value is not None}
    chosen = {f"chosen_{name}": str(metrics[name]) for name in ("method", "depth", "precision")}
    points = list(_curves(events))
    last = points[-1][0] if points else 0
    points.append((last + 1, dict(_summary(metrics))))
    return Record(name=folder.name, parameters=config | chosen, points=points, folder=folder)


def _curves(events: Iterable[Step | Epoch]) -> Iterator[tuple[int, dict[str, float]]]:
    """One point per step; the last one of an epoch has the held-out scores too."""
    point: tuple[int, dict[str, float]] | None = None
    for event in events:
        if isinstance(event, Step):
            if point is not None:
                yield point
            point = event.step, {"train/loss": event.loss, "train/learning_rate": event.learning_rate}
        elif point is not None:
            scores = {"eval/loss": event.validation_loss, "eval/accuracy": event.validation_accuracy}
            point[1].update({"train/epoch": float(event.epoch), **_numbers(scores)})
    if point is not None:
        yield point


def _summary(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for part, name in (("validation", "eval"), ("test", "test")):
        scores = metrics.get(part, {})
        yield from _numbers({f"{name}/{told}": scores.get(key) for key, told in _SCORES.items()}).items()
    for name, scores in metrics.get("baselines", {}).items():
        yield from _numbers({f"baseline/{name}/accuracy": scores.get("accuracy")}).items()


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of ``values`` that are finite numbers: a validation part without rows has none."""
    return {key: float(value) for key, value in values.items() if value is not None and math.isfinite(value)}


def tell(names: Iterable[str], record: Record, say: Callable[[str], None]) -> None:
    """Tell each tracker; one that fails is a warning, since the run is complete already.

    Args:
        names: From ``required``.
        record: What.
        say: Told how it went, a line each.
    """
    for name in names:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, and --json must stay JSON
                TRACKERS[name].send(record)
        except _FAILURES as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            say(f"warning: --track {name} failed, the run is complete without it in {record.folder}: {reason}")
        else:
            say(f"tracked with {name}: {len(record.points)} points of {record.name}")


class _MLflow:
    """MLflow, through ``mlflow-skinny``; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where."""

    package = "mlflow"

    def send(self, record: Record) -> None:
        """Tell MLflow, as one run with the files as artifacts."""
        import mlflow
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for step, values in record.points for name, value in values.items()]
        parameters = [Param(name, value) for name, value in record.parameters.items()]
        try:
            with mlflow.start_run(run_name=record.name, nested=True) as started:
                client, number = mlflow.MlflowClient(), started.info.run_id
                for start in range(0, len(parameters), _MLFLOW_PARAMETERS):
                    client.log_batch(number, params=parameters[start : start + _MLFLOW_PARAMETERS])
                for start in range(0, len(metrics), _MLFLOW_METRICS):
                    client.log_batch(number, metrics=metrics[start : start + _MLFLOW_METRICS])
                for file in record.files:
                    client.log_artifact(number, str(file))
        except MlflowException as error:
            raise SetupError(str(error)) from error


class _WandB:
    """Weights & Biases; WANDB_PROJECT, WANDB_MODE and its other variables say where and whether over the network."""

    package = "wandb"

    def send(self, record: Record) -> None:
        """Tell it, as one run with the files beside it."""
        import wandb

        try:
            # Its own run, even inside another one; what is printed meanwhile is not sent.
            settings = wandb.Settings(console="off", reinit="create_new")
            with wandb.init(name=record.name, config=dict(record.parameters), settings=settings) as run:
                for step, values in record.points:
                    run.log(dict(values), step=step)
                for file in record.files:
                    run.save(str(file), base_path=str(record.folder), policy="now")
        except wandb.Error as error:
            raise SetupError(str(error)) from error


class _TensorBoard:
    """TensorBoard; its event file lies in ``tensorboard/`` of the run folder."""

    package = "tensorboard"

    def send(self, record: Record) -> None:
        """Write the event file."""
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(log_dir=str(record.folder / "tensorboard")) as writer:
            rows = [f"| {name} | {value} |" for name, value in record.parameters.items()]
            writer.add_text("config", "\n".join(["| setting | value |", "|---|---|", *rows]))
            for step, values in record.points:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)


TRACKERS: Mapping[str, Tracker] = {"mlflow": _MLflow(), "wandb": _WandB(), "tensorboard": _TensorBoard()}
"""By the name that --track knows, which is that of the extra too."""
