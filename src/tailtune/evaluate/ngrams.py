"""Fits the classifiers that count words and letters: baselines to be beaten, and members of a blend.

The settings were chosen on validation rows. Knows nothing about files, models or splits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.metrics import FloatArray, IdArray
from tailtune.text.ngrams import SIZES, Kind, NgramModel, ngrams_of

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

# Bounds time and memory (the solver keeps some 25 vectors of this length): 15,000 short texts in 150 classes, so 26,000
# n-grams, take 33 s and 1.5 GB on two cores. With 7,500 of them 20,000 n-grams score 90.4 % and all 25,879 90.5 %.
_COEFFICIENTS = 4_000_000
_FEWEST_NGRAMS = 5_000
# 13 to 33 iterations were needed on every data set measured; the bound is for those that would never end.
_ITERATIONS = 300


def fit_ngrams(
    kind: Kind,
    texts: Sequence[str],
    ids: IdArray,
    *,
    classes: int,
    weights: FloatArray | None = None,
    seed: int = 0,
) -> tuple[NgramModel, bool]:
    """Return a classifier fitted on these rows, and whether its solver converged.

    Of one label per text, a class that no row has is impossible. Where texts can have several, each label has a
    regression of its own, and one that no row has, or every row, no choice. Without a single n-gram, or with rows that
    are all alike, every text gets the shares of the classes.

    Args:
        kind: What is counted.
        texts: n >= 1 texts.
        ids: int [n] class ids, or 0/1 [n, C] where a text can have several labels.
        classes: Number of classes C.
        weights: float [C] weights of the classes, where a text has one; None for equal ones.
        seed: Handed to the solver.
    """
    alike = len(np.unique(ids, axis=0)) == 1
    if alike or not any(any(True for _ in ngrams_of(text, kind)) for text in texts):
        return _without_ngrams(kind, class_shares(ids, classes), several=ids.ndim == 2), True
    vectorizer = _vectorizer(kind, classes)
    vectors = vectorizer.fit_transform(texts)
    if ids.ndim == 1:
        whole = _regression(vectors, ids, None if weights is None else weights[ids], seed=seed)
        bias, spoken_of, parts = _one_label(whole, classes)
        fitted = [whole]
    else:
        several = np.flatnonzero((ids == 1).any(axis=0) & (ids == 0).any(axis=0))
        fitted = [_regression(vectors, ids[:, label], None, seed=seed) for label in several]
        bias, spoken_of = _log_odds(class_shares(ids, classes)), several
        bias[several] = [float(each.intercept_[0]) for each in fitted]
        parts = np.concatenate([each.coef_ for each in fitted])
    places = vectorizer.vocabulary_
    model = NgramModel(
        kind=kind,
        vocabulary=tuple(sorted(places, key=places.__getitem__)),
        rarity=vectorizer.idf_.astype(np.float32),
        weight=np.ascontiguousarray(parts.T, dtype=np.float32),
        classes=tuple(spoken_of.tolist()),
        bias=bias.astype(np.float32),
    )
    return model, all(bool(np.max(each.n_iter_) < _ITERATIONS) for each in fitted)


def class_shares(ids: IdArray, classes: int) -> FloatArray:
    """Return float [C], the share of the rows that have each class.

    Args:
        ids: int [n], or 0/1 [n, C].
        classes: C.
    """
    return np.asarray((np.bincount(ids, minlength=classes) if ids.ndim == 1 else ids.sum(axis=0)) / len(ids))


def _one_label(fitted: LogisticRegression, classes: int) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """[C] what is added, [K] the classes with weights, [K, V] the weights."""
    bias = np.full(classes, -np.inf)
    if len(fitted.classes_) == 2:
        bias[fitted.classes_] = 0.0, fitted.intercept_[0]
        return bias, fitted.classes_[1:], fitted.coef_
    bias[fitted.classes_] = fitted.intercept_
    return bias, fitted.classes_, fitted.coef_


def _without_ngrams(kind: Kind, shares: FloatArray, *, several: bool) -> NgramModel:
    with np.errstate(divide="ignore"):  # a share of 0 is impossible, as it should be
        bias = _log_odds(shares) if several else np.log(shares)
    nothing = np.empty((0, 0), dtype=np.float32)
    return NgramModel(
        kind=kind,
        vocabulary=(),
        rarity=nothing[:, 0:0].ravel(),
        weight=nothing,
        classes=(),
        bias=bias.astype(np.float32),
    )


def _log_odds(shares: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(shares) - np.log1p(-shares))


def _vectorizer(kind: Kind, classes: int) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    most = max(_FEWEST_NGRAMS, _COEFFICIENTS // classes)
    analyzer = "word" if kind == "word" else "char_wb"
    # Logarithmic counts (sublinear) win on validation rows: characters on the chapter's split 99.3 against 98.7 %.
    return TfidfVectorizer(analyzer=analyzer, ngram_range=SIZES[kind], sublinear_tf=True, max_features=most)


def _regression(vectors: Any, ids: IdArray, of_rows: FloatArray | None, *, seed: int) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=10, max_iter=_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by ``converged`` instead
        return fitted.fit(vectors, ids, sample_weight=of_rows)
