"""A logistic regression on counts of words, which the book sets beside its film reviews and not its messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.experiments.splits import Texts

_ITERATIONS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """A fitted one.

    Attributes:
        pipeline: Of scikit-learn.
        classes: Of all the data, C.
    """

    pipeline: Any
    classes: int

    @property
    def trained(self) -> int:
        """Its weights."""
        regression = self.pipeline[-1]
        return int(regression.coef_.size + regression.intercept_.size)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return [texts, C]; a class that was never shown gets 0."""
        found = np.zeros((len(texts), self.classes))
        found[:, self.pipeline.classes_] = self.pipeline.predict_proba(texts)
        return found


def fit_words(texts: Texts) -> Words:
    """Return it fitted on the training part, with scikit-learn's own settings but for the iterations."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = texts.split.train
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=_ITERATIONS))
    pipeline.fit([texts.dataset.texts[row] for row in rows], texts.ids[rows])
    return Words(pipeline=pipeline, classes=len(texts.labels))
