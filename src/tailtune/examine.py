"""What a finished training shows beyond its scores: curves, slices, worst errors, cost of an answer, learning curve.

Everything is chosen and scored by now. Only numbers go into metrics.json; texts go into the report of the run folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.evaluate.curves import macro_f1_interval, mean_interval, ranking, reliability, row_losses
from tailtune.evaluate.metrics import confusion_matrix
from tailtune.evaluate.slices import slices, worst_rows
from tailtune.learn import Learnt
from tailtune.methods.learning import learning_curve
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import ProbeScorer

# Texts of middling length that are answered one by one to say what an answer costs.
TIMED = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Tested:
    """The test part as it was answered.

    Attributes:
        rows: [n] 1-based row numbers in the source.
        texts: n texts.
        truth: int [n] class ids.
        probabilities: float [n, C].
        lengths: int [n] tokens.
        names: C class names, in id order.
    """

    rows: tuple[int, ...]
    texts: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    lengths: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[n] ids of the most probable classes."""
        found: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found

    def detail(self, split: Split, learnt: Learnt, *, balanced: bool) -> dict[str, Any]:
        """Return ``examine`` of this part."""
        return examine(self, split, learnt, balanced=balanced)

    def lines(self) -> Iterator[str]:
        """Yield ``prediction_lines`` of this part."""
        return prediction_lines(self)

    def worst(self) -> list[dict[str, Any]]:
        """Return ``worst`` of this part."""
        return worst(self)


def tested(dataset: Dataset, split: Split, learnt: Learnt, probabilities: NDArray[np.float64]) -> Tested:
    """Return the test part with the answers ``probabilities`` [n, C], in the order of ``split.test``."""
    places = split.test.tolist()
    return Tested(
        rows=tuple(dataset.rows[at] for at in places),
        texts=tuple(dataset.texts[at] for at in places),
        truth=learnt.ids[split.test],
        probabilities=probabilities,
        lengths=np.asarray(learnt.features.lengths[split.test], dtype=np.int64),
        names=tuple(learnt.labels.names),
    )


def examine(part: Tested, split: Split, learnt: Learnt, *, balanced: bool) -> dict[str, Any]:
    """Return ``detail`` of metrics.json: numbers only, no text.

    Args:
        part: The test part.
        split: Of the rows that serve a part.
        learnt: The classifier.
        balanced: Whether the probe weighed classes equally.
    """
    truth, answers = part.truth, part.probabilities
    squares = answers.copy()
    squares[np.arange(len(truth)), truth] -= 1
    confidence = answers.max(axis=1)
    return {
        "test_sha256": rows_hash(part.texts, [part.names[label] for label in part.truth.tolist()]),
        "intervals": {
            "macro_f1": macro_f1_interval(confusion_matrix(truth, part.predicted, len(part.names))),
            "log_loss": mean_interval(row_losses(truth, answers)),
            "brier": mean_interval((squares**2).sum(axis=1) / 2),
        },
        "reliability": reliability(part.predicted == truth, confidence),
        "ranking": ranking(truth, answers),
        "slices": slices(truth, answers, part.lengths, part.names),
        "learning_curve": probe_learning_curve(split, learnt, balanced=balanced),
        "milliseconds_per_text": milliseconds_alone(part.texts, part.lengths, learnt),
    }


def rows_hash(texts: Sequence[str], labels: Sequence[Any]) -> str:
    """Return a SHA-256 of texts and labels (names or lists), in order: equal for runs tested on the same rows."""
    pairs = json.dumps([[text, label] for text, label in zip(texts, labels, strict=True)])
    return hashlib.sha256(pairs.encode()).hexdigest()


def prediction_lines(part: Tested) -> Iterator[str]:
    """Yield the lines of predictions.jsonl: row, label, predicted and the probabilities in label order; no text."""
    for row, truth, answer in zip(part.rows, part.truth.tolist(), part.probabilities, strict=True):
        yield json.dumps(
            {
                "row": row,
                "label": part.names[truth],
                "predicted": part.names[int(answer.argmax())],
                "probabilities": [round(share, 7) for share in answer.tolist()],
            },
            ensure_ascii=False,
        )


def worst(part: Tested) -> list[dict[str, Any]]:
    """Return the test rows with the highest loss, with their texts: for the report alone."""
    losses, predicted = row_losses(part.truth, part.probabilities), part.predicted
    return [
        {
            "row": part.rows[at],
            "text": part.texts[at],
            "label": part.names[part.truth[at]],
            "predicted": part.names[predicted[at]],
            "probability_of_label": float(part.probabilities[at, part.truth[at]]),
            "probability": float(part.probabilities[at].max()),
            "loss": float(losses[at]),
        }
        for at in worst_rows(part.truth, part.probabilities)
    ]


def probe_learning_curve(split: Split, learnt: Learnt, *, balanced: bool) -> dict[str, Any] | None:
    """Return the learning curve of the chosen probe; None for a tail."""
    scorer = learnt.fitted.scorer
    chosen = next((choice for choice in learnt.fitted.choices if choice.get("chosen")), {})
    if not isinstance(scorer, ProbeScorer) or "penalty" not in chosen:
        return None
    rows = Rows(
        train=split.train,
        validation=split.validation,
        labels=learnt.ids,
        groups=split.groups,
        classes=len(learnt.labels),
        balanced=balanced,
    )
    return learning_curve(learnt.features, rows, scorer, penalty=chosen["penalty"])


def milliseconds_alone(texts: Sequence[str], lengths: NDArray[np.int64], learnt: Learnt) -> float:
    """Return the median over texts of middling length, each alone, tokens to probabilities, on this machine."""
    order = np.argsort(lengths, kind="stable")
    first = max(0, (len(order) - TIMED) // 2)
    times = []
    for at in order[first : first + TIMED].tolist():
        started = time.perf_counter()
        learnt.predictor.predict_proba([texts[at]])
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))
