"""What differs between one label per text and any number, for the methods: losses of rows, hits, regression, strata.

The shape of the labels says which it is: class ids [rows], or 0/1 [rows, L]. One label: softmax, the log loss of the
true class. Several: a sigmoid per label (binary relevance), the binary log loss, mean over labels; a row is right where
its whole set is.
"""

from __future__ import annotations

import warnings
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats
from tailtune.features.store import Indices

Doubles = NDArray[np.float64]
Regression = tuple[Floats, Floats]

# A regression ends when no part of its gradient is larger: probabilities are then within about 1e-3 of the optimum's.
TOLERANCE = 1e-4
STEPS = 300
# Below this many multiply-adds per step one thread fits faster: two spend 8 to 50 times as long waiting for each other
# (1,045 x 1,152 vectors, two classes: 6 ms against 84 to 307 ms on two cores that other programs use too).
ONE_THREAD_WORK = 1e8


class Task(Protocol):
    """One label per text, or any number of them.

    Attributes:
        penalty_scale: What the usual inverse penalties of a probe are multiplied by.
    """

    penalty_scale: ClassVar[float]

    def judge(self, logits: Doubles, labels: Indices) -> tuple[Doubles, NDArray[np.bool_]]:
        """Return the log loss [rows] of each row in nats, and [rows] whether it is right.

        Args:
            logits: [rows, C].
            labels: [rows], or [rows, C] 0/1.
        """

    def regress(
        self, vectors: Floats, labels: Indices, *, penalty: float, classes: int, of_rows: Doubles | None
    ) -> Regression:
        """Return weight [C, F] and bias [C] of logistic regressions fitted on these rows.

        Args:
            vectors: [rows, F], standardised.
            labels: [rows], or [rows, C] 0/1.
            penalty: C, the inverse strength of the L2 penalty.
            classes: C.
            of_rows: [rows] how much each weighs; None for alike.
        """

    def strata(self, labels: Indices) -> Indices:
        """Return [rows] one number per row, such that equal shares of each make nearly equal shares of each label."""


def task_of(labels: Indices) -> Task:
    """Return the task that labels of this shape pose."""
    return OneLabel() if labels.ndim == 1 else SeveralLabels()


class OneLabel:
    """Each text has one label: softmax."""

    penalty_scale: ClassVar[float] = 1.0

    def judge(self, logits: Doubles, labels: Indices) -> tuple[Doubles, NDArray[np.bool_]]:
        """Return the log loss of each row, and whether its best class is the true one."""
        logits = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log_probabilities[np.arange(len(labels)), labels], logits.argmax(axis=1) == labels

    def regress(
        self, vectors: Floats, labels: Indices, *, penalty: float, classes: int, of_rows: Doubles | None
    ) -> Regression:
        """Return one multinomial regression; a class that does not occur scores -30 nats."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        model = LogisticRegression(C=penalty, max_iter=STEPS, tol=TOLERANCE)
        small = vectors.size * (1 if classes == 2 else classes) < ONE_THREAD_WORK
        with warnings.catch_warnings(), threadpool_limits(1 if small else None):
            # What 300 steps leave open is far below what a choice between settings turns on.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(vectors, labels, sample_weight=of_rows)
        weight, bias = np.zeros((classes, vectors.shape[1]), np.float32), np.full(classes, -30.0, np.float32)
        if len(model.classes_) == 2:
            bias[model.classes_] = 0.0, model.intercept_[0]
            weight[model.classes_[1]] = model.coef_[0]
        else:
            bias[model.classes_], weight[model.classes_] = model.intercept_, model.coef_
        return weight, bias

    def strata(self, labels: Indices) -> Indices:
        """Return the classes themselves."""
        return labels


class SeveralLabels:
    """Each text has any number of labels: a sigmoid per label."""

    # A regression of one rare label against all else overfits sooner than one of all classes: on 5,000 rows of
    # GoEmotions the held-out loss was lowest at 0.003 to 0.01, and a sixth higher at 0.03 (docs/log.md).
    penalty_scale: ClassVar[float] = 1 / 30

    def judge(self, logits: Doubles, labels: Indices) -> tuple[Doubles, NDArray[np.bool_]]:
        """Return the mean binary log loss of each row, and whether every label is on its side of one half."""
        losses = np.logaddexp(0.0, np.where(labels == 1, -logits, logits)).mean(axis=1)
        return losses, ((logits >= 0) == (labels == 1)).all(axis=1)

    def regress(
        self, vectors: Floats, labels: Indices, *, penalty: float, classes: int, of_rows: Doubles | None
    ) -> Regression:
        """Return L independent regressions, found together: products of matrices instead of L of vectors.

        A label that no row has, or every row, gets the log odds of half a row more and no weights. Texts with several
        labels are read in one window and not balanced (see ``label_aims``), so ``of_rows`` is None.
        """
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        rows, width = vectors.shape
        counts = labels.sum(axis=0)
        odds = np.log((counts + 0.5) / (rows - counts + 0.5))
        open_ = np.flatnonzero((counts > 0) & (counts < rows))
        targets = labels[:, open_].astype(np.float32)
        signs = 1 - 2 * targets

        def objective(flat: Doubles) -> tuple[float, Doubles]:
            """Mean loss over rows, summed over labels, with the penalty; and its gradient."""
            both = flat.reshape(len(open_), width + 1)
            weight, bias = both[:, :width].astype(np.float32), both[:, width].astype(np.float32)
            logits = vectors @ weight.T + bias
            loss = np.logaddexp(0, signs * logits).sum(dtype=np.float64) / rows
            away = (1 / (1 + np.exp(-logits)) - targets) / np.float32(rows)
            shrink = 1 / (penalty * rows)
            inner = (away.T @ vectors).astype(np.float64) + shrink * both[:, :width]
            gradient = np.column_stack([inner, away.sum(axis=0, dtype=np.float64)])
            return loss + 0.5 * shrink * float((both[:, :width] ** 2).sum()), gradient.ravel()

        weight, bias = np.zeros((classes, width), np.float32), odds.astype(np.float32)
        if len(open_):
            start = np.column_stack([np.zeros((len(open_), width)), odds[open_]]).ravel()
            settings = {"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 0.0}
            small = vectors.size * len(open_) < ONE_THREAD_WORK
            with threadpool_limits(1 if small else None), np.errstate(over="ignore"):
                found = minimize(objective, start, jac=True, method="L-BFGS-B", options=settings).x
            both = found.reshape(len(open_), width + 1)
            weight[open_], bias[open_] = both[:, :width], both[:, width]
        return weight, bias

    def strata(self, labels: Indices) -> Indices:
        """Return the rarest label of each row, L where it has none."""
        counts = labels.sum(axis=0)
        rarity = np.empty(len(counts), dtype=np.int64)
        rarity[np.argsort(counts, kind="stable")] = np.arange(len(counts))
        ranked = np.where(labels == 1, rarity, len(counts))
        back = np.append(np.argsort(counts, kind="stable"), len(counts))
        return np.asarray(back[ranked.min(axis=1, initial=len(counts))])
