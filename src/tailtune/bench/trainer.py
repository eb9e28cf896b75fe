"""(b) The reference library's usual trainer: dynamic padding, texts grouped by length, evaluated after each epoch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tailtune.bench import reference
from tailtune.bench.machine import library
from tailtune.bench.material import Ids, Material, load_material, pieces
from tailtune.bench.timing import spread, timed
from tailtune.runs import Stopwatch, peak_rss_mib

Rows = list[dict[str, Any]]
_ORDER_SEED = 42  # the trainer's own default


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds of loading, of sampled steps and of one evaluation, or of the whole training.

    Args:
        request: That of ``load_material``; ``steps`` to sample, ``half`` (0 or 1) of the sample, ``whole``.
    """
    material, watch = load_material(request), Stopwatch()
    with watch.stage("model"):
        model = reference.classifier(material.model, len(material.labels))
        tokenizer = reference.tokenizer(material.model)
    with watch.stage("tokens"):
        tokens = material.tokenizer().encode([*material.seen.texts, *material.test_texts])
        labels = np.concatenate((material.ids, material.test_ids)).tolist()
        rows = [{"input_ids": ids.tolist(), "labels": n} for ids, n in zip(pieces(tokens), labels, strict=True)]
    lengths, epochs, batch = tokens.lengths, material.config.epochs, material.config.batch_size
    training, validation = lengths[material.parts.train].tolist(), lengths[material.parts.validation].tolist()
    order = grouped_order(training, batch=batch, epochs=epochs)
    positions = padded_positions(training, order)
    positions += epochs * padded_positions(validation, grouped_order(validation, batch=batch, epochs=1))
    answer = {"load": watch.as_json(), "steps": len(order), "positions": positions}
    with tempfile.TemporaryDirectory(prefix="tailtune-trainer-") as folder:
        build = _Build(material=material, model=model, tokenizer=tokenizer, rows=rows, folder=Path(folder))
        if request["whole"]:
            answer |= build.whole()
        else:
            chosen = spread_batches(order, rows, material.parts.train, count=request["steps"])[request["half"] :: 2]
            answer |= build.sampled(chosen)
    return {**answer, "peak_mib": peak_rss_mib()}


def grouped_order(lengths: Sequence[int], *, batch: int, epochs: int) -> list[list[int]]:
    """Return every batch of a training, as the trainer groups texts by length: places in ``lengths``.

    Args:
        lengths: Tokens per training text.
        batch: Texts per step.
        epochs: Passes over the texts.
    """
    sampler = library("transformers.trainer_pt_utils").LengthGroupedSampler
    draw = torch.Generator().manual_seed(_ORDER_SEED)
    found = []
    for _ in range(epochs):
        places = list(sampler(batch, lengths=list(lengths), generator=draw))
        found += [places[start : start + batch] for start in range(0, len(places), batch)]
    return found


def padded_positions(lengths: Sequence[int], batches: Iterable[Sequence[int]]) -> int:
    """Return the tokens and pads of all ``batches``, each padded to its longest text.

    Args:
        lengths: Tokens per text.
        batches: Places in ``lengths``.
    """
    return sum(len(places) * max(lengths[place] for place in places) for places in batches)


def spread_batches(order: Sequence[Sequence[int]], rows: Rows, train: Ids, *, count: int) -> list[list[int]]:
    """Return ``count`` batches spread evenly over all, from the shortest to the longest, in mixed order: their rows.

    Args:
        order: All batches, places in ``train``.
        rows: Of the whole data.
        train: Rows that are trained on.
        count: How many; at most all.
    """
    batches = [[int(train[place]) for place in batch] for batch in order]
    batches.sort(key=lambda batch: max(len(rows[row]["input_ids"]) for row in batch))
    places = np.random.default_rng(0).permutation(spread(len(batches), count))
    return [batches[place] for place in places.tolist()]


class _Build:
    """Trainers of one model."""

    def __init__(self, *, material: Material, model: Any, tokenizer: Any, rows: Rows, folder: Path) -> None:
        self._transformers = library("transformers")
        self._material = material
        self._model = model
        self._collate = self._transformers.DataCollatorWithPadding(tokenizer)
        self._rows = rows
        self._folder = folder

    def sampled(self, batches: list[list[int]]) -> dict[str, Any]:
        """Seconds of a step on each of ``batches`` (full ones; another warms up), and of one evaluation."""
        ended: list[float] = []
        full = [batch for batch in batches if len(batch) == self._material.config.batch_size]
        rows = [self._rows[row] for batch in (full[0], *full) for row in batch]
        # One step after another in the order given; no evaluation in between, it is timed alone.
        trainer = self._trainer(rows, _clock(ended), num_train_epochs=1, train_sampling_strategy="sequential")
        trainer.train()
        trainer.args.train_sampling_strategy = "group_by_length"  # the trainer groups evaluations by it, too
        return {
            "step_seconds": np.diff(ended).tolist(),
            "evaluation_seconds": timed(trainer.evaluate)[0],
            "evaluations": self._material.config.epochs,
        }

    def whole(self) -> dict[str, Any]:
        """Seconds of all steps and evaluations, and the test accuracy."""
        material = self._material
        rows = [self._rows[row] for row in material.parts.train.tolist()]
        settings = {
            "num_train_epochs": material.config.epochs,
            "train_sampling_strategy": "group_by_length",
            "eval_strategy": "epoch",
        }
        trainer = self._trainer(rows, **settings)
        seconds, _ = timed(trainer.train)
        tests = self._rows[len(material.seen) :]
        return {"seconds": {"training": seconds}, "score": material.score(trainer.predict(tests).predictions)}

    def _trainer(self, rows: Rows, *callbacks: Any, **settings: Any) -> Any:
        config = self._material.config
        arguments = self._transformers.TrainingArguments(
            output_dir=str(self._folder),
            per_device_train_batch_size=config.batch_size,
            per_device_eval_batch_size=config.batch_size,
            learning_rate=float(config.learning_rate),
            weight_decay=config.weight_decay,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **settings,
        )
        return self._transformers.Trainer(
            model=self._model,
            args=arguments,
            train_dataset=rows,
            eval_dataset=[self._rows[row] for row in self._material.parts.validation.tolist()],
            data_collator=self._collate,
            callbacks=list(callbacks),
        )


def _clock(ended: list[float]) -> Any:
    """A callback that notes when each step has ended."""

    def note(*_: Any, **__: Any) -> None:
        ended.append(time.perf_counter())

    return type("Clock", (library("transformers").TrainerCallback,), {"on_step_end": note})()
