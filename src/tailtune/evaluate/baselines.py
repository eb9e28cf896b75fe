"""Cheap classifiers that a language model has to beat: the commonest class, and two kinds of n-grams.

They see the training rows only. One on sentence embeddings joins them from ``tailtune.rivals``, which has a model.
Knows nothing about files, models or splits.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailtune.evaluate.metrics import FloatArray, IdArray, Scores, score
from tailtune.progress import Progress, silent
from tailtune.rules import Indices, Step

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

SENTENCES = "minilm_lr"
TITLES = {
    "majority": "most frequent class",
    "word_tfidf_lr": "word TF-IDF + logistic regression",
    "char_tfidf_lr": "character TF-IDF + logistic regression",
    SENTENCES: "MiniLM embeddings + logistic regression",
}
HOW = {SENTENCES: "--model minilm-l6 --method probe"}
"""How to have Tailtune make one: those that are no n-grams."""
COUNTED = ("majority", "word_tfidf_lr", "char_tfidf_lr")
"""Those that count classes, words and letters, fitted here."""

# Bounds time and memory (the solver keeps some 25 vectors of this length): 15,000 short texts in 150 classes, so 26,000
# n-grams, take 33 s and 1.5 GB on two cores. With 7,500 of them 20,000 n-grams score 90.4 % and all 25,879 90.5 %.
_COEFFICIENTS = 4_000_000
_FEWEST_NGRAMS = 5_000
# 13 to 33 iterations were needed on every data set measured; the bound is for those that would never end.
_ITERATIONS = 300


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
    if name == "majority" or len(np.unique(ids, axis=0)) == 1:
        return _class_shares(ids, classes), True
    vectorizer = _vectorizer(name, classes)
    analyse = vectorizer.build_analyzer()
    if not any(analyse(text) for text in texts):  # nothing to learn from: no text holds a single n-gram
        return _class_shares(ids, classes), True
    return _fit_regression(vectorizer, texts, ids, classes=classes, weights=weights, seed=seed)


def _class_shares(ids: IdArray, classes: int) -> Callable[[Sequence[str]], FloatArray]:
    """Return a function that gives every text the classes' shares of the training rows."""
    shares = (np.bincount(ids, minlength=classes) if ids.ndim == 1 else ids.sum(axis=0)) / len(ids)
    return lambda texts: np.tile(shares, (len(texts), 1))


def _vectorizer(name: str, classes: int) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    most = max(_FEWEST_NGRAMS, _COEFFICIENTS // classes)
    # Logarithmic counts (sublinear) win on validation rows: characters on the chapter's split 99.3 against 98.7 %.
    if name == "word_tfidf_lr":
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=most)
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, max_features=most)


def _fit_regression(
    vectorizer: TfidfVectorizer,
    texts: Sequence[str],
    ids: IdArray,
    *,
    classes: int,
    weights: FloatArray | None,
    seed: int,
) -> tuple[Callable[[Sequence[str]], FloatArray], bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    vectors = vectorizer.fit_transform(texts)

    def regression(of: IdArray, of_rows: FloatArray | None = None) -> LogisticRegression:
        fitted = LogisticRegression(C=10, max_iter=_ITERATIONS, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told by ``converged`` instead
            return fitted.fit(vectors, of, sample_weight=of_rows)

    # Each regression, the classes it speaks of and the columns of its answer that say so.
    if ids.ndim == 1:
        whole = regression(ids, None if weights is None else weights[ids])
        parts: list[tuple[LogisticRegression, Any, Any]] = [(whole, whole.classes_, slice(None))]
    else:
        both = np.flatnonzero((ids == 1).any(axis=0) & (ids == 0).any(axis=0))
        parts = [(regression(ids[:, label]), label, 1) for label in both]
    shares = _class_shares(ids, classes)

    def classify(new_texts: Sequence[str]) -> FloatArray:
        # Of one label per text a class never seen gets 0; of several a label without choice gets its share.
        probabilities = shares(new_texts) if ids.ndim == 2 else np.zeros((len(new_texts), classes))
        if new_texts:
            new_vectors = vectorizer.transform(new_texts)
            for fitted, spoken_of, columns in parts:
                probabilities[:, spoken_of] = fitted.predict_proba(new_vectors)[:, columns]
        return probabilities

    return classify, all(bool(np.max(fitted.n_iter_) < _ITERATIONS) for fitted, _, _ in parts)
