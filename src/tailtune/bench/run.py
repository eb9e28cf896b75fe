"""The whole bench: every run in a process of its own, one after another, results in one JSON file per part.

The long reference loops are sampled, half of the sample before our own runs and half after them, so that a machine that
slows down or speeds up meanwhile does so for both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tailtune.bench import summary
from tailtune.bench.child import JobFailed, run_job
from tailtune.bench.engines import ENGINES
from tailtune.bench.machine import describe, require
from tailtune.bench.material import load_material
from tailtune.config import DEFAULT_MODEL
from tailtune.storage import write_json

Part = Literal["training", "inference", "pass"]
PARTS: tuple[Part, ...] = ("training", "inference", "pass")
Answer = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        rows: Training texts; None takes all.
        steps: Steps of the chapter's loop that are timed.
        forwards: Forward batches of its evaluations that are timed.
        trainer_steps: Steps of the usual trainer that are timed.
        rounds: Repetitions of inference, the engines taking turns.
        texts: Test texts answered together.
        singles: Test texts answered one by one, in all rounds together.
        batches: Packed batches of the backbone pass.
    """

    rows: int | None = None
    steps: int = 16
    forwards: int = 12
    trainer_steps: int = 48
    rounds: int = 3
    texts: int = 300
    singles: int = 200
    batches: int = 8


QUICK = Sizes(rows=64, steps=2, forwards=2, trainer_steps=6, rounds=1, texts=16, singles=6, batches=2)
"""Enough to see that everything works; its figures mean nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to measure.

    Attributes:
        data: File of labelled texts or name of a public data set.
        model: Catalogue name or folder.
        quick: Few texts, few steps.
        whole: Run the reference loops to their end instead of sampling them.
        only: One part; None measures all.
    """

    data: str = "sms-spam"
    model: str = DEFAULT_MODEL
    quick: bool = False
    whole: bool = False
    only: Part | None = None

    @property
    def sizes(self) -> Sizes:
        """How much is measured."""
        return QUICK if self.quick else Sizes()


def bench(order: Order, out: Path, *, say: Say) -> dict[str, Answer]:
    """Return the results by part, each also written to ``out``.

    Args:
        order: What to measure.
        out: Folder of the results.
        say: Told before each run.

    Raises:
        SetupError: If a package is missing, or a run does not come to its end.
        TailtuneError: If data or model cannot be had.
    """
    require()
    results: dict[str, Answer] = {}
    with tempfile.TemporaryDirectory(prefix="tailtune-bench-") as folder:
        session = _Session(order, Path(folder), say)
        for part in PARTS:
            if order.only in (None, part):
                results[part] = {**session.about, **session.measure(part)}
                write_json(out / f"{part}.json", results[part])
    return results


class _Session:
    """One bench: what has been trained for one part serves the next."""

    def __init__(self, order: Order, work: Path, say: Say) -> None:
        self._order = order
        self._sizes = order.sizes
        self._work = work
        self._say = say
        self._base = {"data": order.data, "model": order.model, "rows": order.sizes.rows}
        material = load_material(self._base)
        self._tests = len(material.test_ids)
        self.about: Answer = {
            "quick": order.quick,
            "machine": describe(torch.get_num_threads()),
            "model": Path(order.model).name,
            "data": {
                "name": Path(order.data).name,
                "sha256": material.sha256,
                "training": len(material.parts.train),
                "validation": len(material.parts.validation),
                "test": self._tests,
            },
        }

    def measure(self, part: Part) -> Answer:
        """Return the result of one part."""
        if part == "training":
            return self._training()
        if part == "inference":
            return self._inference()
        self._say("backbone pass, and its matrix products alone")
        return self._job("peak", batches=self._sizes.batches)

    def _job(self, job: str, **extra: Any) -> Answer:
        return run_job(job, {**self._base, **extra})

    def _training(self) -> Answer:
        halves = [0] if self._order.whole else [0, 1]
        chapter, trainer = [self._chapter(0)], [self._trainer(0)]
        own = {method: self._own(method) for method in ("same", "auto")}
        self._say("(e) n-gram baselines")
        baselines = self._job("baselines")
        self._say("reference library, text by text without padding: the oracle of (c)")
        oracle = self._job("unpadded")
        for half in halves[1:]:
            chapter.append(self._chapter(half))
            trainer.append(self._trainer(half))
        return summary.training(chapter=chapter, trainer=trainer, own=own, baselines=baselines, oracle=oracle)

    def _chapter(self, half: int) -> Answer:
        self._say(f"(a) the chapter's loop{self._share(half)}")
        steps, forwards = -(-self._sizes.steps // 2), -(-self._sizes.forwards // 2)
        return self._job("chapter", steps=steps, forwards=forwards, seed=half, whole=self._order.whole)

    def _trainer(self, half: int) -> Answer:
        self._say(f"(b) the usual trainer{self._share(half)}")
        return self._job("trainer", steps=self._sizes.trainer_steps, half=half, whole=self._order.whole)

    def _share(self, half: int) -> str:
        return ", whole" if self._order.whole else f", {'second' if half else 'first'} half of the sample"

    def _own(self, method: str) -> Answer:
        self._say({"same": "(c) Tailtune, the same maths", "auto": "(d) Tailtune, auto"}[method])
        return self._job("own", method=method, bundle=str(self._work / method))

    def _inference(self) -> Answer:
        for method in ("same", "auto"):
            if not (self._work / method).is_dir():
                self._own(method)
        exported = self._export()
        rounds: dict[str, list[Answer]] = {name: [] for name in ENGINES}
        skipped: dict[str, str] = {}
        for number in range(self._sizes.rounds):
            for name in ENGINES:
                if name.startswith("onnx") and "skipped" in exported:
                    skipped[name] = exported["skipped"]
                else:
                    rounds[name].append(self._answers(name, number))
        engines = {name: summary.engine(found) for name, found in rounds.items() if found}
        return summary.inference(engines, skipped=skipped, exported=exported)

    def _export(self) -> Answer:
        self._say("(g) export for onnxruntime")
        try:
            return self._job("export", work=str(self._work))
        except JobFailed as failed:  # what cannot be exported is left out, and the result says why
            return {"skipped": failed.why}

    def _answers(self, engine: str, number: int) -> Answer:
        self._say(f"inference, round {number + 1} of {self._sizes.rounds}: {engine}")
        singles = min(self._sizes.singles, self._tests)
        bounds = [place * singles // self._sizes.rounds for place in (number, number + 1)]
        return self._job("engines", engine=engine, work=str(self._work), texts=self._sizes.texts, singles=bounds)
