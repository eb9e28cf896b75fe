"""One trial: the classifier that some settings give, judged on the validation part; test rows are not even there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split, without_unused
from tailtune.errors import ConfigError, DataError, TrainingDiverged
from tailtune.learn import Event, Learnt, learn
from tailtune.methods.descent import Epoch
from tailtune.methods.tasks import task_of
from tailtune.parts import prepare
from tailtune.progress import Progress, silent
from tailtune.runs import Stopwatch
from tailtune.storage import canonical_json, sha256_bytes

Objective = Literal["log-loss", "accuracy", "macro-f1"]
# complete and pruned are as expected; contradiction and diverged tell where not to look again.
State = Literal["complete", "pruned", "contradiction", "diverged", "failed"]
# Told the validation loss after an epoch; answers whether to stop.
Report = Callable[[int, float], bool]

SMALLER_IS_BETTER: Mapping[Objective, bool] = {"log-loss": True, "accuracy": False, "macro-f1": False}


class Pruned(Exception):
    """A trial is ended because others were better after as many epochs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What one trial came to.

    Attributes:
        state: How it ended.
        scores: "log-loss", "accuracy", "macro-f1" on the validation part; empty unless complete.
        rows: float32 [validation rows] of which the objective is the mean; None where it is no mean of rows.
        chosen: Method, depth and precision that the settings led to.
        reason: Why it did not complete; "" where it did.
        steps: Of a tail, done.
        seconds: It took.
    """

    state: State
    scores: dict[str, float] = field(default_factory=dict)
    rows: NDArray[np.float32] | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """The rows that trials may see.

    Attributes:
        dataset: Training and validation rows.
        split: Of them; its test part is empty.
        counts: Class -> rows before balancing, test rows not among them.
        source: What the data are called.
    """

    dataset: Dataset
    split: Split
    counts: Mapping[str, int]

    @classmethod
    def of(cls, config: TrainConfig, progress: Progress = silent) -> Served:
        """Return the rows that ``config`` asks for.

        Raises:
            DataError: If they cannot be read or split, or none is left for validation.
            ConfigError: If a teacher is asked for.
        """
        if config.teacher is not None:
            raise ConfigError("--teacher: a sweep teaches nothing", hint="teach with the settings that it finds")
        dataset, split = prepare(config, progress)
        return cls.without_test(dataset, split)

    @classmethod
    def without_test(cls, dataset: Dataset, split: Split) -> Served:
        """Return what is left of ``dataset`` without the test rows of ``split``.

        Raises:
            DataError: If there are no validation rows.
        """
        if not len(split.validation):
            hint = "add rows, or give --validation FILE"
            raise DataError("no rows are left for the validation part", path=dataset.source, hint=hint)
        seen = np.setdiff1d(np.arange(len(dataset)), split.test)
        used, parts = without_unused(dataset, dataclasses.replace(split, test=np.empty(0, dtype=np.int64)))
        return cls(dataset=used, split=parts, counts=dataset.take(seen.tolist()).counts)

    @property
    def groups(self) -> NDArray[np.int64]:
        """[validation rows] group ids; near-duplicates share one."""
        return self.split.groups[self.split.validation]

    def sha256(self) -> str:
        """Return the hash of all that trials depend on: texts, labels and the parts they serve."""
        members = self.dataset.members
        parts = {
            name: [(self.dataset.texts[row], members[row]) for row in getattr(self.split, name)]
            for name in ("train", "validation")
        }
        return sha256_bytes(canonical_json(parts).encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """Learns with varied settings on rows that stay the same.

    Attributes:
        config: What is not varied.
        served: The rows.
        objective: What ``rows`` of a trial are to be.
        store: Folder of the feature stores.
    """

    config: TrainConfig
    served: Served
    objective: Objective
    store: Path

    def __call__(self, varied: Mapping[str, Any], report: Report, progress: Progress = silent) -> Judged:
        """Return what the settings ``varied`` come to.

        Args:
            varied: Name -> value.
            report: Told the validation loss of a tail after each epoch but the last; ends the trial by returning True.
                Not told of a tail beside which a probe is tried, which may win whatever becomes of the tail.
            progress: Told how far long stages are.

        Raises:
            TailtuneError: For what is wrong with more than these settings: data, disk, model.
        """
        started, steps = time.perf_counter(), 0

        def happened(event: Event) -> None:
            nonlocal steps
            if not isinstance(event, Epoch):
                steps = event.step
            elif self._tells(config, event) and report(event.epoch, event.validation_loss):
                raise Pruned(f"others were better after epoch {event.epoch}")

        state: State
        try:
            config = dataclasses.replace(self.config, **varied)
            learnt = learn(
                self.served.dataset,
                self.served.split,
                config,
                store=self.store,
                watch=Stopwatch(),
                counts=self.served.counts,
                progress=progress,
                happened=happened,
            )
            return self._complete(learnt, steps, time.perf_counter() - started)
        except Pruned as ended:
            state, reason = "pruned", str(ended)
        except TrainingDiverged as ended:
            state, reason = "diverged", ended.message
        except ConfigError as ended:
            state, reason = "contradiction", ended.message
        except MemoryError:
            state, reason = "failed", "not enough memory"
        return Judged(state=state, reason=reason, steps=steps, seconds=time.perf_counter() - started)

    @staticmethod
    def _tells(config: TrainConfig, epoch: Epoch) -> bool:
        return config.method == "tail" and epoch.epoch < config.epochs

    def _complete(self, learnt: Learnt, steps: int, seconds: float) -> Judged:
        held_out = self.served.split.validation
        truth = learnt.ids[held_out]
        logits = learnt.fitted.scores(learnt.features, held_out)
        losses, correct = task_of(learnt.ids).judge(logits, truth)
        told = learnt.settled.score(learnt.raw(held_out), truth, learnt.labels.names)
        of_rows = {"log-loss": losses, "accuracy": correct}.get(self.objective)
        scorer = learnt.fitted.scorer
        return Judged(
            state="complete",
            scores={
                "log-loss": float(losses.mean()),
                "accuracy": float(correct.mean()),
                "macro-f1": float(told["macro_f1"]),
            },
            rows=None if of_rows is None else of_rows.astype(np.float32),
            chosen={"method": learnt.fitted.method, "depth": scorer.depth, "precision": learnt.precision},
            steps=steps,
            seconds=seconds,
        )
