"""(a) The chapter's loop as it is, on the reference library's model.

Texts padded or cut to the longest training text, the last position read whatever stands there, the whole model run in
every step. Every 50 steps the losses of 5 training and 5 validation batches, after each epoch the accuracies of as
many, at the end those of all three loaders.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tailtune.bench import reference
from tailtune.bench.material import Ids, Material, load_material, pieces
from tailtune.bench.timing import timed
from tailtune.runs import Stopwatch, peak_rss_mib

EVALUATE_EVERY = 50
EVALUATED_BATCHES = 5


class Loop:
    """The model, its optimizer and the padded texts.

    Args:
        material: What to train on.
        watch: Given the seconds of loading.
    """

    def __init__(self, material: Material, watch: Stopwatch) -> None:
        self.config = material.config
        with watch.stage("model"):
            self.model = reference.classifier(material.model, len(material.labels))
            # The chapter's head has a bias, and is applied to every position.
            self.model.score = nn.Linear(self.model.config.hidden_size, len(material.labels))
            self.optimizer = torch.optim.AdamW(
                reference.trained(self.model),
                lr=float(self.config.learning_rate),
                weight_decay=self.config.weight_decay,
            )
        with watch.stage("tokens"):
            self._pad(material)

    def _pad(self, material: Material) -> None:
        texts = [*material.seen.texts, *material.test_texts]
        ids = pieces(material.tokenizer().encode(texts))
        self.train, self.validation = material.parts.train, material.parts.validation
        self.test = np.arange(len(material.seen), len(texts))
        longest = max(len(ids[row]) for row in self.train)
        self.ids = torch.full((len(texts), longest), reference.pad_id(self.model))
        for row, text in enumerate(ids):
            kept = text[:longest]
            self.ids[row, : len(kept)] = torch.from_numpy(kept)
        self.labels = torch.from_numpy(np.concatenate((material.ids, material.test_ids)))

    def logits(self, rows: Ids) -> Tensor:
        """Return [rows, C]: the head's output at the last position."""
        states = self.model.model(input_ids=self.ids[rows]).last_hidden_state
        scores: Tensor = self.model.score(states)[:, -1]
        return scores

    def step(self, rows: Ids) -> None:
        """Take one optimiser step on those rows."""
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.logits(rows), self.labels[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    @torch.no_grad()
    def correct(self, rows: Ids) -> int:
        """Return how many of those rows are classified right: one forward batch of an evaluation."""
        return int((self.logits(rows).argmax(dim=1) == self.labels[rows]).sum())

    def batches(self, rows: Ids, *, whole: bool = False) -> Iterator[Ids]:
        """Yield batches of ``rows``; the last one only if it is full, unless ``whole``."""
        size = self.config.batch_size
        for start in range(0, len(rows), size):
            if whole or start + size <= len(rows):
                yield rows[start : start + size]

    def few(self, rows: Ids) -> list[Ids]:
        """Return the batches of ``rows`` that an evaluation on the way looks at: full ones only."""
        return list(self.batches(rows))[:EVALUATED_BATCHES]

    def counts(self) -> dict[str, int]:
        """Return the optimiser steps, the evaluations' forward batches and the positions of the whole loop.

        A position is a token or a pad of a text that goes through all blocks.
        """
        full = list(self.batches(self.train))
        steps = self.config.epochs * len(full)
        on_the_way = -(-steps // EVALUATE_EVERY) + self.config.epochs
        few = on_the_way * sum(len(self.few(rows)) for rows in (self.train, self.validation))
        last = [*full, *self.batches(self.validation, whole=True), *self.batches(self.test, whole=True)]
        texts = self.config.batch_size * (steps + few) + sum(map(len, last))
        positions = texts * self.ids.shape[1]
        return {"steps": steps, "evaluation_batches": few + len(last), "positions": positions}


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds of loading and of sampled steps and forward batches, or of the whole loop.

    Args:
        request: That of ``load_material``; ``steps`` and ``forwards`` to sample, ``seed`` of the sample, ``whole``.
    """
    material, watch = load_material(request), Stopwatch()
    torch.manual_seed(123)
    loop = Loop(material, watch)
    answer: dict[str, Any] = {"load": watch.as_json(), **loop.counts()}
    if request["whole"]:
        answer |= whole(loop, material)
    else:
        answer |= _sampled(loop, steps=request["steps"], forwards=request["forwards"], seed=request["seed"])
    return {**answer, "peak_mib": peak_rss_mib()}


def _sampled(loop: Loop, *, steps: int, forwards: int, seed: int) -> dict[str, Any]:
    """Every batch is as long as every other, so a few stand for all; one of each kind warms up."""
    order = np.random.default_rng(seed).permutation(loop.train)
    found = list(loop.batches(order, whole=len(order) < loop.config.batch_size))

    def seconds(work: Callable[[Ids], object], times: int) -> list[float]:
        return [timed(functools.partial(work, found[n % len(found)]))[0] for n in range(times + 1)][1:]

    return {"step_seconds": seconds(loop.step, steps), "forward_seconds": seconds(loop.correct, forwards)}


def whole(loop: Loop, material: Material) -> dict[str, Any]:
    """Return the seconds of all steps and all evaluations, and the test accuracy.

    Args:
        loop: Its model is trained in place.
        material: That the loop was made from.
    """
    watch, order, step = Stopwatch(), np.random.default_rng(123), 0
    for _ in range(loop.config.epochs):
        for batch in loop.batches(order.permutation(loop.train)):
            with watch.stage("steps"):
                loop.step(batch)
            if step % EVALUATE_EVERY == 0:
                _evaluate_few(loop, order, watch)
            step += 1
        _evaluate_few(loop, order, watch)
    with watch.stage("evaluations"):
        for part in (loop.train, loop.validation):
            for batch in loop.batches(part, whole=part is loop.validation):
                loop.correct(batch)
        right = sum(loop.correct(batch) for batch in loop.batches(loop.test, whole=True))
    tests = len(material.test_ids)
    score = {"correct": right, "tests": tests, "accuracy": right / tests}
    return {"seconds": {name: watch.seconds[name] for name in ("steps", "evaluations")}, "score": score}


def _evaluate_few(loop: Loop, order: np.random.Generator, watch: Stopwatch) -> None:
    with watch.stage("evaluations"):
        for rows in (order.permutation(loop.train), loop.validation):
            for batch in loop.few(rows):
                loop.correct(batch)
