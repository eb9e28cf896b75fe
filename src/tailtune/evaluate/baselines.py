"""Cheap classifiers that a language model has to beat: the commonest class, and two kinds of n-grams.

They see the training rows only. One on sentence embeddings joins them from ``tailtune.rivals``, which has a model.
Knows nothing about files, models or splits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tailtune.evaluate.metrics import FloatArray, IdArray, Scores, score
from tailtune.evaluate.ngrams import class_shares, fit_ngrams
from tailtune.label_rules import sigmoid
from tailtune.progress import Progress, silent
from tailtune.rules import Indices, Step, softmax
from tailtune.text.ngrams import Kind

SENTENCES, UNTAUGHT = "minilm_lr", "random_lr"
TITLES = {
    "majority": "most frequent class",
    "word_tfidf_lr": "word TF-IDF + logistic regression",
    "char_tfidf_lr": "character TF-IDF + logistic regression",
    SENTENCES: "MiniLM embeddings + logistic regression",
    UNTAUGHT: "the same model with random weights + logistic regression",
}
HOW = {SENTENCES: "--model minilm-l6 --method probe", UNTAUGHT: "--weights random --method probe"}
"""How to have Tailtune make one: those that are no n-grams."""
COUNTED = ("majority", "word_tfidf_lr", "char_tfidf_lr")
"""Those that count classes, words and letters, fitted here."""
_KINDS: Mapping[str, Kind] = {"word_tfidf_lr": "word", "char_tfidf_lr": "char"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """One fitted cheap classifier.

    Attributes:
        name: Machine name, a key of TITLES.
        title: Name for people.
        seconds: Time it took to fit.
        converged: False when the solver stopped at its bound on iterations.
        classify: Texts to probabilities float64 [n, C].
    """

    name: str
    title: str
    seconds: float
    converged: bool
    classify: Callable[[Sequence[str]], FloatArray] = field(repr=False)

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """Return the probabilities of ``texts``, float64 [n, C] in label id order; a class never seen gets 0."""
        return self.classify(texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineResult:
    """How one baseline fared.

    Attributes:
        name: Machine name, a key of TITLES.
        title: Name for people.
        scores: On the rows it was evaluated on.
        seconds: Time to fit and to classify those rows.
        converged: False when the solver stopped at its bound on iterations.
        probabilities: float64 [n, C], for comparing row by row.
    """

    name: str
    title: str
    scores: Scores
    seconds: float
    converged: bool
    probabilities: FloatArray = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return the headline numbers as plain values, ready for json.dumps."""
        return {
            "title": self.title,
            "accuracy": self.scores.accuracy,
            "accuracy_interval": list(self.scores.accuracy_interval),
            "macro_f1": self.scores.macro_f1,
            "log_loss": self.scores.log_loss,
            "seconds": self.seconds,
            "converged": self.converged,
        }


def fit_baselines(
    train_texts: Sequence[str],
    train_ids: IdArray,
    *,
    classes: int,
    weights: FloatArray | None = None,
    seed: int = 0,
    names: Sequence[str] = COUNTED,
    progress: Progress = silent,
) -> dict[str, Baseline]:
    """Return the baselines fitted on the training rows, by name, in the order given.

    Args:
        train_texts: n >= 1 texts.
        train_ids: int [n], values 0..classes-1; not every class needs a row. Or 0/1 [n, classes], where a text can have
            several: one regression per class then, and each class's share in place of the commonest.
        classes: Number of classes C.
        weights: float [C] weights of the classes in the two regressions, as the classifier had them.
        seed: Handed to the solver.
        names: Which, of COUNTED.
        progress: Told after each baseline.

    Raises:
        ValueError: If there are no rows, lengths differ or an id lies outside 0..classes-1.
    """
    if len(train_texts) != len(train_ids) or len(train_ids) == 0:
        raise ValueError(f"want as many texts as ids, at least 1, got {len(train_texts)} and {len(train_ids)}")
    if train_ids.min() < 0 or train_ids.max() >= classes:
        raise ValueError(f"want ids in 0..{classes - 1}, got {train_ids.min()}..{train_ids.max()}")
    fitted: dict[str, Baseline] = {}
    titles = TITLES if train_ids.ndim == 1 else TITLES | {"majority": "each label at its share"}
    for name in names:
        progress("baselines", len(fitted), len(names), "baselines")
        started = time.perf_counter()
        classify, converged = _fit(name, train_texts, train_ids, classes, weights=weights, seed=seed)
        seconds = time.perf_counter() - started
        fitted[name] = Baseline(name=name, title=titles[name], seconds=seconds, converged=converged, classify=classify)
    progress("baselines", len(fitted), len(names), "baselines")
    return fitted


def brought_to_shares(
    baselines: Mapping[str, Baseline],
    moved: Callable[[FloatArray, Indices], Step],
    texts: Sequence[str],
    true_ids: Indices,
) -> dict[str, Baseline]:
    """Return the baselines with the probabilities of the regressions brought to other class shares.

    Args:
        baselines: From ``fit_baselines``.
        moved: From probabilities float [n, C] and true classes int [n] of held-out rows to the step that does it.
        texts: Of the held-out rows.
        true_ids: int [n].
    """
    return {
        name: baseline if name == "majority" else _followed_by(baseline, moved(baseline.predict_proba(texts), true_ids))
        for name, baseline in baselines.items()
    }


def _followed_by(baseline: Baseline, step: Step) -> Baseline:
    return replace(baseline, classify=lambda texts: step(baseline.classify(texts)))


def score_baselines(
    baselines: Mapping[str, Baseline], texts: Sequence[str], true_ids: IdArray, names: Sequence[str]
) -> dict[str, BaselineResult]:
    """Return how each baseline fares on ``texts`` with ``true_ids`` int [n]; ``names`` are the classes in id order.

    Raises:
        ValueError: If lengths, ids or names do not fit together.
    """
    results = {}
    for name, baseline in baselines.items():
        started = time.perf_counter()
        probabilities = baseline.predict_proba(texts)
        results[name] = BaselineResult(
            name=name,
            title=baseline.title,
            scores=score(true_ids, probabilities, names),
            seconds=baseline.seconds + time.perf_counter() - started,
            converged=baseline.converged,
            probabilities=probabilities,
        )
    return results


def _fit(
    name: str,
    texts: Sequence[str],
    ids: IdArray,
    classes: int,
    *,
    weights: FloatArray | None,
    seed: int,
) -> tuple[Callable[[Sequence[str]], FloatArray], bool]:
    """Return the classifying function of one baseline, and whether its solver converged."""
    if name == "majority":
        shares = class_shares(ids, classes)
        return lambda new_texts: np.tile(shares, (len(new_texts), 1)), True
    kind = _KINDS[name]
    model, converged = fit_ngrams(kind, texts, ids, classes=classes, weights=weights, seed=seed)
    answer = softmax if ids.ndim == 1 else sigmoid
    return lambda new_texts: answer(model.scores(new_texts)), converged
