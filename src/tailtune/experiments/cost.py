"""About how long each row takes on this machine, from counts of operations and the speed of plain products here.

An estimate: what else runs on the machine is not in it, nor what lies in the store of features already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tailtune.estimate import PASS_SHARE, speed
from tailtune.evaluate.metrics import FloatArray
from tailtune.experiments.models import Absent, Pretrained
from tailtune.experiments.reading import Read
from tailtune.experiments.session import Job, read_job, wanted_of
from tailtune.experiments.settings import Setting
from tailtune.experiments.training import blocks_of
from tailtune.features.cost import update_seconds
from tailtune.features.store import text_keys
from tailtune.models.generic.config import GenericConfig
from tailtune.models.sources.facts import read_shapes

# What steps of training reach of the same products alone: the chapter's loop, 960 positions at once, 70 %; few tokens
# at once 40 %.
_STEP_SHARES = ((500, 0.7), (0, 0.4))

Speed = Callable[[int], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """About how long a job takes.

    Attributes:
        job: Which.
        status: "done", "to run", or why it cannot be run.
        pass_seconds: For the frozen blocks; 0 where an earlier job has read the same tokens.
        training_seconds: For everything else.
        tokens: That the row reads of all texts.
    """

    job: Job
    status: str
    pass_seconds: float = 0.0
    training_seconds: float = 0.0
    tokens: int = 0

    @property
    def seconds(self) -> float:
        """In all."""
        return self.pass_seconds + self.training_seconds


def estimate(jobs: Sequence[Job], operations_per_second: Speed = speed) -> list[Cost]:
    """Return the cost of each job, in order; those done cost nothing more.

    Args:
        jobs: From ``plan``.
        operations_per_second: Of products of a given width.
    """
    speeds: dict[int, float] = {}
    passed: dict[tuple[object, ...], set[bytes]] = {}
    keys: set[str] = set()
    found = []
    for job in jobs:
        if isinstance(job.model, Absent):
            found.append(Cost(job=job, status=job.model.why))
        elif job.done is not None or job.key in keys:
            found.append(Cost(job=job, status="done" if job.done else "as a row above"))
        else:
            keys.add(job.key)
            if job.needs_no_model:
                found.append(Cost(job=job, status="seconds"))
                continue
            width, setting = job.model.shape.width, job.row.setting
            speeds.setdefault(width, operations_per_second(width))
            read = read_job(job)
            held, depth = passed.setdefault((job.model.name, setting.causal), set()), wanted_of(jobs, job).depth
            # Where all blocks are trained there is no pass that others could share.
            reading = _pass_operations(job.model, _new(read, held), depth) if depth else 0.0
            found.append(
                Cost(
                    job=job,
                    status="to run",
                    pass_seconds=reading / (PASS_SHARE * speeds[width]),
                    training_seconds=_training_seconds(job, job.model, read, speeds[width]),
                    tokens=read.total,
                )
            )
    return found


def _new(read: Read, held: set[bytes]) -> FloatArray:
    """Lengths of the distinct texts that no pass before has read; ``held`` learns them."""
    keys, first = np.unique(text_keys(read.tokens), return_index=True)
    new = [place for key, place in zip(keys.tolist(), first.tolist(), strict=True) if key not in held]
    held.update(keys.tolist())
    return read.tokens.lengths[new].astype(np.float64)


def _block_weights(model: Pretrained) -> float:
    return read_shapes(model.folder).block_weights / model.shape.blocks


def _pass_operations(model: Pretrained, lengths: FloatArray, depth: int) -> float:
    """Each text once; causal attention meets half of the text on average, in two products of the width."""
    attention = 2 * model.shape.width * float((lengths**2).sum())
    return depth * (2 * _block_weights(model) * float(lengths.sum()) + attention)


def _training_seconds(job: Job, model: Pretrained, read: Read, per_second: float) -> float:
    """All epochs at all learning rates, and the scoring of all parts."""
    setting, train = job.row.setting, job.texts.split.train
    tokens, texts = float(read.tokens.lengths[train].sum()), float(len(train))
    weights = _block_weights(model)
    operations = _operations(setting, model, tokens, texts, weights)
    together = setting.batch_size * setting.accumulation
    share = next(share for least, share in _STEP_SHARES if tokens / texts * setting.batch_size >= least)
    moved = 0.0 if setting.trained == "lora" else blocks_of(setting, model.shape.blocks) * weights
    if setting.trained == "all":
        moved += model.shape.vocabulary * model.shape.width
    steps = math.ceil(texts / together)
    epoch = operations / (share * per_second) + steps * update_seconds(moved)
    scoring = operations / 3 * len(read.tokens) / texts / (share * per_second)
    return len(setting.learning_rates) * (setting.epochs * epoch + scoring)


def _operations(setting: Setting, model: Pretrained, tokens: float, texts: float, weights: float) -> float:
    """Of one epoch: forward, and twice as much backward, once where weights stay as they are beside low-rank updates.

    The top block counts for one position of a text where one is read.
    """
    shape = model.shape
    blocks = blocks_of(setting, shape.blocks)
    products = 4 if setting.trained == "lora" else 6
    if not blocks:
        return 6 * shape.width * tokens
    if setting.position == "mean" or isinstance(shape, GenericConfig):
        return products * weights * blocks * tokens
    keys = min(2.0 * shape.width * shape.key_value_heads * shape.head_width, weights)
    # Below stored states no gradient is needed, so that the keys of the lowest block trained cost two products.
    top = products * (weights - keys) * texts + (4 if blocks == 1 else products) * keys * tokens
    return products * weights * (blocks - 1) * tokens + top
