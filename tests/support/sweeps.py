"""Sweeps on tiny models, for tests of any part of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from support.texts import messages
from tailtune.config import TrainConfig
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Split, split_dataset
from tailtune.resolving import Resolved, resolve
from tailtune.sweep.judging import Judge, Objective, Served
from tailtune.sweep.space import Choice, Numbers, Space
from tailtune.sweep.study import Study, open_study

# fp32: which precision is faster depends on the machine that runs the tests.
QUICK: dict[str, Any] = {"epochs": 2, "device": "cpu", "precision": "fp32", "method": "tail", "depth": 3}


def quick(model: Path, data: Path | str = "memory", **fixed: Any) -> Resolved:
    """Return settings that train a small tail in a second."""
    return resolve({"data": str(data), "model": str(model), **QUICK, **fixed})


def served(count: int = 60, *, seed: int = 0, turned: bool = False) -> tuple[Served, Split]:
    """Return what trials may see of ``count`` messages, and the split; labels of the test may be turned around."""
    dataset = dataset_from_lists(*messages(count))
    split = split_dataset(dataset, seed=seed)
    if turned:
        other = {"ham": "spam", "spam": "ham"}
        labels = [other[label] if row in split.test else label for row, label in enumerate(dataset.labels)]
        dataset = dataset_from_lists(dataset.texts, labels)
    assert len(np.intersect1d(split.train, split.test)) == 0
    return Served.without_test(dataset, split), split


def judge_of(config: TrainConfig, rows: Served, store: Path, objective: Objective = "log-loss") -> Judge:
    """Return what judges trials with ``config`` on ``rows``."""
    return Judge(config=config, served=rows, objective=objective, store=store)


def never(epoch: int, loss: float) -> bool:
    """End no trial early."""
    return False


SPACE: Space = {
    "method": Choice(values=("probe", "tail")),
    "penalty": Numbers(low=0.01, high=1.0, log=True),
    "learning_rate": Numbers(low=1e-5, high=1e-3, log=True),
    "clip_norm": Choice(values=(None, 1.0)),
}


def opened(
    path: Path,
    made_with: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    prune: bool = True,
    objective: Objective = "log-loss",
    space: Space = SPACE,
) -> AbstractContextManager[Study]:
    """Return the study in ``path``, to be entered."""
    return open_study(
        path, made_with or {"texts": "a"}, space, objective=objective, method="auto", seed=seed, prune=prune
    )
