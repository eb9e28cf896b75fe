"""What a finished training shows beyond its scores: curves, slices, worst errors, cost of an answer, learning curve.

Everything is chosen and scored by now. Only numbers go into metrics.json; texts go into the report of the run folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.scripts import NO_LETTERS, languages_of, script_of
from tailtune.data.split import Split
from tailtune.evaluate.classes import ranking
from tailtune.evaluate.curves import macro_f1_interval, mean_interval, row_losses
from tailtune.evaluate.levels import level_scores
from tailtune.evaluate.long import long_rows
from tailtune.evaluate.metrics import confusion_matrix
from tailtune.evaluate.operating import one_of, operating_curves
from tailtune.evaluate.scope import marked, told_apart
from tailtune.evaluate.slices import slices, slices_by, worst_rows
from tailtune.label_levels import levels_of
from tailtune.learn import Learnt
from tailtune.methods.learning import learning_curve
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import ProbeScorer
from tailtune.rules import Doubles, Indices

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
        decided: int [n] ids of the labels given, as ``tailtune predict`` gives them.
        columns: Name -> n values to slice by.
        lengths: int [n] tokens.
        longer: bool [n] whether a text was too long to be read at once.
        names: C class names, in id order.
        folds: n numbers from 1 of the folds that tested each row; empty for one test part.
    """

    rows: tuple[int, ...]
    texts: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    decided: NDArray[np.int64]
    lengths: NDArray[np.int64]
    longer: NDArray[np.bool_]
    names: tuple[str, ...]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    folds: tuple[int, ...] = ()

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[n] ids of the most probable classes."""
        found: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found

    def detail(self, split: Split, learnt: Learnt) -> dict[str, Any]:
        """Return ``examine`` of this part."""
        return examine(self, split, learnt)

    def lines(self) -> Iterator[str]:
        """Yield ``prediction_lines`` of this part."""
        return prediction_lines(self)

    def worst(self) -> list[dict[str, Any]]:
        """Return ``worst`` of this part."""
        return worst(self)


def tested(
    dataset: Dataset, split: Split, learnt: Learnt, answers: tuple[Doubles, Indices], config: TrainConfig
) -> Tested:
    """Return the test part with the answers, in the order of ``split.test``.

    Args:
        dataset: The rows that serve a part.
        split: Of them.
        learnt: The classifier.
        answers: Probabilities [n, C] and ids [n] of the labels given.
        config: Says what to slice by.
    """
    places = split.test.tolist()
    texts = tuple(dataset.texts[at] for at in places)
    return Tested(
        rows=tuple(dataset.rows[at] for at in places),
        texts=texts,
        truth=learnt.ids[split.test],
        probabilities=answers[0],
        decided=answers[1],
        lengths=learnt.windows.lengths[split.test],
        longer=learnt.windows.longer[split.test],
        names=tuple(learnt.labels.names),
        columns=sliced_by(dataset, places, texts, config),
    )


def sliced_by(
    dataset: Dataset, places: Sequence[int], texts: Sequence[str], config: TrainConfig
) -> dict[str, Sequence[str]]:
    """Return name -> values to slice by: columns asked for, scripts where there are several, languages where asked for.

    Args:
        dataset: Has the columns.
        places: Which of its rows.
        texts: Of those.
        config: Says which.
    """
    columns: dict[str, Sequence[str]] = {
        name: [dataset.columns[name][at] for at in places] for name in config.slice_columns
    }
    scripts = [script_of(text) for text in texts]
    if len(set(scripts) - {NO_LETTERS}) > 1:
        columns["detected script"] = scripts
    if config.slices_by_language and (languages := languages_of(texts)) is not None:
        columns["detected language"] = languages
    return columns


def examine(part: Tested, split: Split, learnt: Learnt) -> dict[str, Any]:
    """Return ``detail`` of metrics.json: numbers only, no text.

    Args:
        part: The test part.
        split: Of the rows that serve a part.
        learnt: The classifier.
    """
    truth, answers = part.truth, part.probabilities
    squares = answers.copy()
    squares[np.arange(len(truth)), truth] -= 1
    return {
        "test_sha256": rows_hash(part.texts, [part.names[label] for label in part.truth.tolist()]),
        "intervals": {
            "macro_f1": macro_f1_interval(confusion_matrix(truth, part.predicted, len(part.names))),
            "log_loss": mean_interval(row_losses(truth, answers)),
            "brier": mean_interval((squares**2).sum(axis=1) / 2),
        },
        "ranking": ranking(truth, answers),
        "thresholds": _thresholds(part, split, learnt),
        "slices": slices(truth, answers, part.lengths, part.names),
        "slices_by": {name: slices_by(truth, answers, values) for name, values in part.columns.items()},
        "long": _long(part, split, learnt),
        "levels": level_scores(truth, answers, levels_of(learnt.labels)),
        "learning_curve": probe_learning_curve(split, learnt),
        "milliseconds_per_text": milliseconds_alone(part.texts, part.lengths, learnt),
    }


def _thresholds(part: Tested, split: Split, learnt: Learnt) -> dict[str, Any]:
    """What every threshold would have done: to the validation part, which one is chosen by, and to the test part."""
    found = {"test": operating_curves(one_of(part.truth, len(part.names)), part.probabilities)}
    if len(split.validation):
        truth = one_of(learnt.ids[split.validation], len(part.names))
        found["validation"] = operating_curves(truth, learnt.settled.rules.apply(learnt.raw(split.validation)))
    return found


def _long(part: Tested, split: Split, learnt: Learnt) -> dict[str, Any]:
    """How many texts of each part were too long to be read at once, and how those of the test part fared."""
    windows, tokenizer = learnt.windows, learnt.predictor.bundle.tokenizer
    counts = {}
    for name in ("train", "validation", "test"):
        own = windows.take(getattr(split, name))
        longer, total = int(own.longer.sum()), int(own.counts.sum())
        counts[name] = {"rows": len(own.lengths), "longer": longer, "windows": total}
    return {
        "limit": tokenizer.max_tokens,
        "kind": tokenizer.long.kind,
        **tokenizer.long.as_json(),
        "parts": counts,
        "test": long_rows(part.truth, part.probabilities, part.longer),
    }


def seen_rows(split: Split, learnt: Learnt) -> Rows:
    """Return the rows that the classifier was made with, for fitting probes again.

    Args:
        split: Of the rows that serve a part.
        learnt: The classifier.
    """
    return Rows(
        train=split.train,
        validation=split.validation,
        labels=learnt.ids,
        groups=split.groups,
        classes=len(learnt.labels),
        weights=learnt.weights,
    )


def rows_hash(texts: Sequence[str], labels: Sequence[Any]) -> str:
    """Return a SHA-256 of texts and labels (names or lists), in order: equal for runs tested on the same rows."""
    pairs = json.dumps([[text, label] for text, label in zip(texts, labels, strict=True)])
    return hashlib.sha256(pairs.encode()).hexdigest()


def prediction_lines(part: Tested) -> Iterator[str]:
    """Yield the lines of predictions.jsonl: row, label, answers and the probabilities in label order; no text.

    ``predicted`` is the label that ``tailtune predict`` gives, ``likeliest`` the most probable one.
    """
    numbers = [{"fold": number} for number in part.folds] or [{}] * len(part.rows)
    answers = zip(part.decided.tolist(), part.predicted.tolist(), part.probabilities, strict=True)
    read = zip(part.rows, numbers, part.truth.tolist(), answers, strict=True)
    for row, fold, truth, (decided, likeliest, answer) in read:
        yield json.dumps(
            {
                "row": row,
                **fold,
                "label": part.names[truth],
                "predicted": part.names[decided],
                "likeliest": part.names[likeliest],
                "probabilities": [round(share, 7) for share in answer.tolist()],
            },
            ensure_ascii=False,
        )


def folds_of(part: Tested) -> dict[str, list[list[int]]]:
    """Return ``folds`` of split.json, the source row numbers that each fold tested; nothing for one test part."""
    found: dict[int, list[int]] = {}
    for row, number in zip(part.rows, part.folds, strict=False):
        found.setdefault(number, []).append(row)
    return {"folds": [found[number] for number in sorted(found)]} if found else {}


def examine_scope(split: Split, learnt: Learnt, outside: Sequence[str]) -> dict[str, Any]:
    """Return ``out_of_scope`` of metrics.json; empty where it was not asked for.

    Args:
        split: Of the rows that serve a part.
        learnt: The classifier.
        outside: Texts known to be of no class.
    """
    scope, strangeness = learnt.predictor.bundle.scope, learnt.strangeness
    if scope is None or strangeness is None:
        return {}
    found: dict[str, Any] = {"depth": scope.depth, "reference_rows": len(scope.reference)}
    inside = strangeness[split.test]
    if len(inside):
        found["test"] = {"rows": len(inside), "marked": marked(scope.unlike(inside))}
    if len(inside) and outside:
        strange = learnt.predictor.strangeness(outside)
        told = told_apart(inside, strange)
        found["outside"] = {"rows": len(strange), "marked": marked(scope.unlike(strange)), **told}
    return {"out_of_scope": found}


def worst(part: Tested) -> list[dict[str, Any]]:
    """Return the test rows with the highest loss, with their texts: for the report alone."""
    losses = row_losses(part.truth, part.probabilities)
    return [
        {
            "row": part.rows[at],
            "text": part.texts[at],
            "label": part.names[part.truth[at]],
            "predicted": part.names[part.decided[at]],
            "probability_of_label": float(part.probabilities[at, part.truth[at]]),
            "probability": float(part.probabilities[at, part.decided[at]]),
            "loss": float(losses[at]),
        }
        for at in worst_rows(part.truth, part.probabilities)
    ]


def probe_learning_curve(split: Split, learnt: Learnt) -> dict[str, Any] | None:
    """Return the learning curve of the chosen probe; None for a tail."""
    scorer = learnt.fitted.reads
    chosen = next((choice for choice in learnt.fitted.choices if choice.get("chosen")), {})
    if not isinstance(scorer, ProbeScorer) or "penalty" not in chosen:
        return None
    rows = seen_rows(split, learnt)
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
