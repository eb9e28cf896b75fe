"""The probe: logistic regressions on standardised pooled vectors, one per depth up to the cut, their scores averaged.

The penalty is chosen by log loss on held-out rows: by grouped cross-validation over training and validation rows while
that is cheap, else on the validation part. The chosen probe is fitted on the training rows alone. Averaging
depths steadies the choice: on the chapter's split the held-out loss falls from 0.054 to 0.050 at depth 9 (docs/log.md).
Each window of a long text is a row of weight 1 / the number of its windows; held-out texts are judged by their windows'
merged scores, as in prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.features.backbone import Floats
from tailtune.features.store import Features, Indices
from tailtune.methods.linear import Doubles, Linear, fit_linear
from tailtune.methods.scorers import Pooling, ProbeScorer, pool, vectors_of
from tailtune.methods.tasks import Task, task_of
from tailtune.progress import Progress, silent
from tailtune.text.windows import Windows

# (texts to learn from, texts to judge), one pair after the other.
Folds = tuple[tuple[Indices, Indices], ...]

# Inverse penalties tried, on standardised features; depths are compared with SCOUT.
PENALTIES = (0.03, 0.1, 0.3, 1.0)
SCOUT = 0.3
# Tried too where rows are few: there the log loss fell by 5 to 8 % on SMS and SNIPS, accuracy stayed.
WEAK_PENALTY = 10.0
FOLDS = 5
# With 8 to 64 messages per class the shallowest depth within one error was right in 89.0 to 97.3 %, the usual one of
# those within it in 89.7 to 97.4 %, the usual one unasked in 92.0 to 97.5 %; with requests of seven kinds the three did
# not differ (bench/few_labels.py).
FEW_ROWS = 200
# Above so many multiply-adds per pass over the data (rows x features x classes) the validation part is used alone,
# which then has hundreds of rows: five folds at seven depths would take minutes. For the penalty less is at stake than
# for the depth: five folds on 4,459 messages took 20 s to tell penalties apart whose test accuracies were the same.
DEPTH_WORK = 2e7
# Fewer validation rows than this choose at random: four texts of each of seven classes left seven of them, one of which
# decided between depths 3 and 12. Folds then judge all rows, four or two as well as five.
TINY = 40
PENALTY_WORK = 3e6
# Above so many the penalty is chosen at the cut alone: seven depths under four penalties are 28 fits, and of 43,410
# comments with 28 labels each takes the better part of a minute.
HEAVY_WORK = 3e8


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Which texts a method may see.

    Attributes:
        train: Texts to learn from.
        validation: Texts to choose by.
        labels: [texts] class ids of all texts, or [texts, C] 0/1 where a text can have several.
        groups: [texts] group ids; near-duplicates share one.
        classes: C.
        weights: [C] weights of the classes in what is fitted; None for equal ones. Held-out rows count alike.
        targets: [texts, C] shares of the classes that are learnt instead of ``labels``; None for these themselves.
            Held-out rows keep their labels, and there are no ``weights`` then.
    """

    train: Indices
    validation: Indices
    labels: Indices
    groups: Indices
    classes: int
    weights: Doubles | None = None
    targets: Doubles | None = None

    def lessons(self, windows: Windows, learn: Indices) -> tuple[Indices, Indices | Doubles, Doubles | None]:
        """Return ``windows.rows`` of the texts to learn from: with their labels, or with their targets."""
        if self.targets is None:
            return windows.rows(learn, self.labels)
        return windows.rows(learn, self.targets)

    @property
    def task(self) -> Task:
        """One label per text, or any number of them."""
        return task_of(self.labels)

    @property
    def penalties(self) -> tuple[float, ...]:
        """Inverse penalties that are worth trying, ascending."""
        few = self.labels.ndim == 1 and len(self.train) + len(self.validation) < FEW_ROWS
        return tuple(penalty * self.task.penalty_scale for penalty in (*PENALTIES, *(WEAK_PENALTY,) * few))

    @property
    def scout(self) -> float:
        """The inverse penalty by which depths are compared."""
        return SCOUT * self.task.penalty_scale


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One setting that was tried, with its held-out scores.

    Attributes:
        depths: Depths that are averaged, ascending; the last one is the cut.
        penalty: C of the logistic regressions.
        losses: [rows] held-out log loss of each row, in nats.
        correct: [rows] whether the best class was right.
    """

    depths: tuple[int, ...]
    penalty: float
    losses: Doubles
    correct: NDArray[np.bool_]

    @property
    def depth(self) -> int:
        """Blocks below the cut."""
        return self.depths[-1]

    @property
    def loss(self) -> float:
        """Mean held-out log loss, in nats."""
        return float(self.losses.mean())

    def as_json(self) -> dict[str, Any]:
        """Return the candidate for metrics.json."""
        return {
            "candidate": "probe",
            "depth": self.depth,
            "penalty": self.penalty,
            "rows": len(self.losses),
            "loss": self.loss,
            "accuracy": float(self.correct.mean()),
        }


class HeldOut:
    """Held-out scores per depth and penalty, each computed once; mixtures of depths are then averages.

    Args:
        features: Pooled vectors at every depth that will be asked for.
        rows: What may be seen.
        pooling: Which pooled vectors.
        work: Most multiply-adds per pass over the data for which rows are folded.
        folds: Those of other classifiers, to be compared on the same rows; default: by ``work``.
        given: [texts, C] class scores of all texts, or of their windows, that the probes add to; None for none.

    Attributes:
        folds: (texts to learn from, texts to judge), one pair where rows are not folded.
        judged: Texts that are judged, fold after fold.
        work: Multiply-adds of one pass over the training rows.
    """

    def __init__(
        self,
        features: Features,
        rows: Rows,
        pooling: Pooling,
        *,
        work: float = DEPTH_WORK,
        folds: Folds | None = None,
        given: Floats | None = None,
    ) -> None:
        self._features = features
        self._given = given
        self._rows = rows
        self._pooling = pooling
        self._scores: dict[tuple[int, float], Floats] = {}
        self._fitted: dict[tuple[int, float], Linear] = {}
        width = round(features.pooled_width * vectors_of(pooling) * features.windows.counts.mean())
        self.folds = tuple(_folds(rows, width, work)) if folds is None else folds
        self.judged = np.concatenate([judge for _, judge in self.folds])
        self.work = float(len(rows.train)) * width * (1 if rows.classes == 2 else rows.classes)

    def candidate(self, depths: tuple[int, ...], penalty: float) -> Candidate:
        """Return the averaged probes of these depths, judged on the held-out rows."""
        losses, correct = self._rows.task.judge(self.scores(depths, penalty), self._rows.labels[self.judged])
        return Candidate(depths=depths, penalty=penalty, losses=losses, correct=correct)

    def scores(self, depths: tuple[int, ...], penalty: float) -> Doubles:
        """Return [judged, C] scores of the averaged probes of these depths, of rows that they did not learn from."""
        scores: Doubles = np.mean([self._depth(depth, penalty) for depth in depths], axis=0, dtype=np.float64)
        return self._features.windows.merged(scores, self.judged)

    def _depth(self, depth: int, penalty: float) -> Floats:
        if (depth, penalty) not in self._scores:
            vectors = pool(self._features.pooled(depth), self._pooling)
            parts = []
            for learn, judge in self.folds:
                linear = self._fit(vectors, learn, depth, penalty)
                places = self._features.windows.of(judge)
                parts.append(linear.scores(vectors[places], self._given_of(places)))
            self._scores[depth, penalty] = np.concatenate(parts)
        return self._scores[depth, penalty]

    def final(self, depth: int, penalty: float) -> Linear:
        """Return the probe of one depth fitted on all training rows: that of the choice where that was."""
        if (depth, penalty) not in self._fitted:
            vectors = pool(self._features.pooled(depth), self._pooling)
            return self._fit(vectors, self._rows.train, depth, penalty)
        return self._fitted[depth, penalty]

    def _fit(self, vectors: Floats, learn: Indices, depth: int, penalty: float) -> Linear:
        rows = self._rows
        windows, labels, shares = rows.lessons(self._features.windows, learn)
        linear = fit_linear(
            vectors[windows],
            labels,
            penalty=penalty,
            classes=rows.classes,
            weights=rows.weights,
            shares=shares,
            given=self._given_of(windows),
        )
        if learn is rows.train:
            self._fitted[depth, penalty] = linear
        return linear

    def _given_of(self, windows: Indices) -> Floats | None:
        return None if self._given is None else self._given[windows]


def _folds(rows: Rows, width: int, most: float) -> Iterator[tuple[Indices, Indices]]:
    """(rows to learn from, rows to judge): grouped cross-validation where cheap and possible, else the two parts.

    A class with fewer groups than FOLDS makes fewer folds of all rows; a validation part that is not tiny is then the
    better judge of a probe that learns from more. Without a validation part, and with too few groups to fold, the
    training rows judge themselves: of what little there is nothing can be held out.
    """
    everything = np.concatenate((rows.train, rows.validation))
    labels, groups = rows.task.strata(rows.labels[everything]), rows.groups[everything]
    work = len(everything) * width * (1 if rows.classes == 2 else rows.classes)
    folds = min(FOLDS, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    least = FOLDS if len(rows.validation) >= TINY else 2
    if len(rows.validation) and (work > most or folds < least):
        yield rows.train, rows.validation
    elif folds < 2:
        yield rows.train, rows.train
    else:
        from sklearn.model_selection import StratifiedGroupKFold

        # The folds do not depend on the run's seed: all settings are compared on the same ones.
        splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=0)
        for learn, judge in splitter.split(everything, labels, groups):
            yield everything[learn], everything[judge]


def one_standard_error(candidates: Sequence[Candidate]) -> Candidate:
    """Return the shallowest candidate whose loss is within one standard error of the best one's.

    The error is that of the paired difference, row by row: all were judged on the same rows.
    """
    return _as_good(candidates)[0]


def steady(candidates: Sequence[Candidate], *, usual: float) -> Candidate:
    """Return ``one_standard_error``, or, judged on fewer than FEW_ROWS rows, the one as good that is nearest to usual.

    Of few rows one error is so much that nearly every depth is within it, and the shallowest of all wins.

    Args:
        candidates: Judged on the same rows.
        usual: The depth that is best where nothing is known.
    """
    alike = _as_good(candidates)
    few = len(alike[0].losses) < FEW_ROWS
    return min(alike, key=lambda candidate: abs(candidate.depth - usual)) if few else alike[0]


def _as_good(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those within one standard error of the best, the shallowest first."""
    best = min(candidates, key=lambda candidate: candidate.loss)

    def within(candidate: Candidate) -> bool:
        difference = candidate.losses - best.losses
        return bool(difference.mean() <= difference.std() / np.sqrt(len(difference)))

    return sorted(filter(within, candidates), key=lambda candidate: candidate.depth)


def choose_probe(
    features: Features,
    rows: Rows,
    *,
    depths: Sequence[int],
    pooling: Pooling,
    penalties: Sequence[float] = PENALTIES,
    progress: Progress = silent,
    held_out: HeldOut | None = None,
) -> tuple[ProbeScorer, Candidate, list[Candidate]]:
    """Return the probe of these depths with the best penalty, fitted on the training rows; its scores; all tried.

    Args:
        features: Pooled vectors at all ``depths``.
        rows: What may be seen.
        depths: Depths that are averaged, ascending; the last one is the cut.
        pooling: Which pooled vectors.
        penalties: Inverse penalties to choose from.
        progress: Told penalties tried.
        held_out: Judges them; default: on folds where these are cheap.
    """
    # A single penalty needs no folds: the fit on the training rows, which is needed anyway, is judged on the others.
    held_out = held_out or HeldOut(features, rows, pooling, work=PENALTY_WORK if len(penalties) > 1 else 0.0)
    linears, chosen, tried = best_linears(held_out, depths, penalties, progress)
    return averaged(linears, chosen.depths, pooling), chosen, tried


def best_linears(
    held_out: HeldOut, depths: Sequence[int], penalties: Sequence[float], progress: Progress
) -> tuple[list[Linear], Candidate, list[Candidate]]:
    """Return the regressions of all depths with the best penalty, fitted on the training rows; its scores; all tried.

    Args:
        held_out: Judges them.
        depths: As for ``choose_probe``.
        penalties: As for ``choose_probe``.
        progress: As for ``choose_probe``.
    """
    scouted = tuple(depths) if held_out.work <= HEAVY_WORK else tuple(depths[-1:])
    tried: list[Candidate] = []
    for penalty in penalties:
        tried.append(held_out.candidate(scouted, penalty))
        progress("probe", len(tried), len(penalties), "settings")
    chosen = min(tried, key=lambda candidate: candidate.loss)
    if scouted != tuple(depths):
        chosen = held_out.candidate(tuple(depths), chosen.penalty)
        tried.append(chosen)
    return [held_out.final(depth, chosen.penalty) for depth in chosen.depths], chosen, tried


def averaged(linears: Sequence[Linear], depths: tuple[int, ...], pooling: Pooling) -> ProbeScorer:
    """Return the probe whose class scores are the mean of those of regressions, one per depth."""
    return ProbeScorer(
        depths=depths,
        pooling=pooling,
        mean=np.stack([linear.mean for linear in linears]),
        scale=np.stack([linear.scale for linear in linears]),
        weight=np.stack([linear.weight / np.float32(len(linears)) for linear in linears]),
        bias=np.mean([linear.bias for linear in linears], axis=0, dtype=np.float32),
    )
