"""The test part where a text can have several labels: its scores beside the baselines, and what a training shows of it.

The counterpart of ``tailtune.examine`` for one label per text. Only numbers go into metrics.json; texts go into the
report of the run folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.evaluate.baselines import Baseline
from tailtune.evaluate.curves import average_precision, precision_recall
from tailtune.evaluate.label_intervals import Draws, micro_f1_draws, scored_labels
from tailtune.evaluate.label_metrics import cell_losses
from tailtune.evaluate.label_thresholds import f1_thresholds
from tailtune.evaluate.operating import operating_curves
from tailtune.evaluate.slices import WORST
from tailtune.evaluate.verdict import judge_labels
from tailtune.examine import milliseconds_alone, probe_learning_curve, rows_hash
from tailtune.label_aims import LabelsSettled
from tailtune.learn import Learnt

# Pairs of labels that are listed, at most.
MOST_PAIRS = 20
_BINS = 10
# Of a baseline these scores are told, with their intervals.
_COMPARED = {"micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy", "hamming_loss", "log_loss"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TestedLabels:
    """The test part as it was answered.

    Attributes:
        rows: [n] 1-based row numbers in the source.
        texts: n texts.
        truth: 0/1 [n, L].
        probabilities: float [n, L].
        given: bool [n, L].
        lengths: int [n] tokens.
        names: L names, in id order.
    """

    rows: tuple[int, ...]
    texts: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    given: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    names: tuple[str, ...]

    def detail(self, split: Split, learnt: Learnt) -> dict[str, Any]:
        """Return ``detail`` of metrics.json: numbers only, no text.

        Args:
            split: Of the rows that serve a part.
            learnt: The classifier.
        """
        there, cells = self.truth == 1, self.probabilities.ravel()
        curve = {}
        if there.any():
            curve = {
                "average_precision": average_precision(there.ravel(), cells),
                "share": float(there.mean()),
                "precision_recall": precision_recall(there.ravel(), cells),
            }
        held_out = split.validation
        seen = learnt.settled.rules.apply(learnt.raw(held_out))
        return {
            "test_sha256": rows_hash(self.texts, [self._named(row) for row in there]),
            "all_labels": curve,
            "thresholds": {
                "validation": operating_curves(learnt.ids[held_out] == 1, seen),
                "test": operating_curves(there, self.probabilities),
            },
            "stated": _stated(there.ravel(), cells),
            "together": _pairs(there, there, self.names),
            "instead": _pairs(there & ~self.given, self.given & ~there, self.names),
            "sets": _sizes(there, self.given),
            "learning_curve": probe_learning_curve(split, learnt),
            "milliseconds_per_text": milliseconds_alone(self.texts, self.lengths, learnt),
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines of predictions.jsonl: row, labels, those given, the probabilities in label order; no text."""
        for row, there, given, answer in zip(self.rows, self.truth, self.given, self.probabilities, strict=True):
            value = {
                "row": row,
                "labels": self._named(there),
                "predicted": self._named(given),
                "probabilities": [round(share, 7) for share in answer.tolist()],
            }
            yield json.dumps(value, ensure_ascii=False)

    def worst(self) -> list[dict[str, Any]]:
        """Return the test rows with the highest mean log loss, with their texts: for the report alone."""
        losses = cell_losses(self.truth, self.probabilities).mean(axis=1)
        return [
            {
                "row": self.rows[at],
                "text": self.texts[at],
                "labels": self._named(self.truth[at]),
                "predicted": self._named(self.given[at]),
                "loss": float(losses[at]),
            }
            for at in np.argsort(-losses, kind="stable")[:WORST].tolist()
        ]

    def _named(self, flags: NDArray[Any]) -> list[str]:
        return [self.names[at] for at in np.flatnonzero(flags)]


def measure_labels(
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    settled: LabelsSettled,
    baselines: Mapping[str, Baseline],
    *,
    seed: int,
) -> tuple[dict[str, Any], TestedLabels]:
    """Return the scores of the test part for metrics.json, baselines and verdict included, and the part as answered.

    A baseline gets its thresholds as the classifier does by default, on the same validation rows.

    Args:
        dataset: The rows that serve a part.
        split: Of them.
        learnt: The classifier.
        settled: Its rules.
        baselines: Fitted on the training rows; may be empty.
        seed: Of the bootstrap.
    """
    names, truth = learnt.labels.names, learnt.ids[split.test]
    raw = learnt.raw(split.test)
    rows = settled.rules.apply(raw)
    given = settled.rules.decide(rows)
    part = _tested(dataset, split, learnt, rows, given)
    draws = Draws.of(split.groups[split.test], seed=seed)
    test = scored_labels(truth, rows, given, names, draws)
    test["raw"] = {"log_loss": settled.score(raw, truth, names)["log_loss"]}
    measured = _Beside(dataset, split, learnt.ids, names, draws)
    found = {name: measured.scores(baseline) for name, baseline in baselines.items()}
    metrics: dict[str, Any] = {"test": test, "baselines": {name: scores for name, (scores, _) in found.items()}}
    if found:
        others = {name: (scores["micro_f1"], drawn) for name, (scores, drawn) in found.items()}
        metrics["verdict"] = judge_labels((test["micro_f1"], micro_f1_draws(truth, given, draws)), others).as_json()
    return metrics, part


@dataclass(frozen=True, slots=True)
class _Beside:
    """The same rows for each baseline."""

    dataset: Dataset
    split: Split
    ids: NDArray[np.int64]
    names: Sequence[str]
    draws: Draws

    def scores(self, baseline: Baseline) -> tuple[dict[str, Any], NDArray[np.float64]]:
        """Scores for metrics.json, and the micro F1 of each draw."""
        held_out, test = (self._answers(baseline, part) for part in (self.split.validation, self.split.test))
        truth = self.ids[self.split.test]
        given = test >= np.array(f1_thresholds(self.ids[self.split.validation], held_out))
        scores = scored_labels(truth, test, given, self.names, self.draws)
        kept = {key: value for key, value in scores.items() if key.removesuffix("_interval") in _COMPARED}
        told = {"title": baseline.title, "seconds": baseline.seconds, "converged": baseline.converged}
        return told | kept, micro_f1_draws(truth, given, self.draws)

    def _answers(self, baseline: Baseline, places: NDArray[np.int64]) -> NDArray[np.float64]:
        return baseline.predict_proba([self.dataset.texts[at] for at in places.tolist()])


def _tested(
    dataset: Dataset, split: Split, learnt: Learnt, rows: NDArray[np.float64], given: NDArray[np.bool_]
) -> TestedLabels:
    places = split.test.tolist()
    return TestedLabels(
        rows=tuple(dataset.rows[at] for at in places),
        texts=tuple(dataset.texts[at] for at in places),
        truth=learnt.ids[split.test],
        probabilities=rows,
        given=given,
        lengths=learnt.windows.lengths[split.test],
        names=tuple(learnt.labels.names),
    )


def _pairs(first: NDArray[np.bool_], second: NDArray[np.bool_], names: Sequence[str]) -> list[dict[str, Any]]:
    """How many rows have a label in ``first`` [n, L] and another in ``second``, the most frequent pairs first."""
    counts = first.T.astype(np.int64) @ second.astype(np.int64)
    np.fill_diagonal(counts, 0)
    if first is second:
        counts = np.triu(counts)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]
    cells = [divmod(at, len(names)) for at in order.tolist() if counts.flat[at]]
    return [{"first": names[i], "second": names[j], "rows": int(counts[i, j])} for i, j in cells]


def _sizes(there: NDArray[np.bool_], given: NDArray[np.bool_]) -> list[dict[str, int]]:
    """How many rows have so many labels, and how many were given so many."""
    counts = [np.bincount(flags.sum(axis=1), minlength=there.shape[1] + 1) for flags in (there, given)]
    sizes = np.flatnonzero(counts[0] + counts[1]).tolist()
    return [{"labels": size, "rows": int(counts[0][size]), "given": int(counts[1][size])} for size in sizes]


def _stated(there: NDArray[np.bool_], cells: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Stated probability against the share that has the label, over all labels, in ten bins of equal width."""
    numbers = np.minimum((cells * _BINS).astype(np.int64), _BINS - 1)
    return [
        {
            "cells": int((numbers == number).sum()),
            "stated": float(cells[numbers == number].mean()),
            "share": float(there[numbers == number].mean()),
        }
        for number in np.unique(numbers).tolist()
    ]
