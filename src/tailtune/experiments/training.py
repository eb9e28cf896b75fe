"""One row, one seed: trained on the training part, scored on all three."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import TrainingDiverged
from tailtune.evaluate.metrics import Scores, correct_rows, score
from tailtune.experiments.scorer import Place, RowScorer, new_scorer
from tailtune.experiments.settings import Setting
from tailtune.experiments.splits import Texts
from tailtune.features.store import Features
from tailtune.methods.descent import Epoch, TailSettings, fit_tail
from tailtune.methods.scorers import probabilities, score_features
from tailtune.models.parts import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A trained row.

    Attributes:
        scorer: Trained.
        rate: Of the learning rates, the one kept.
        tried: Learning rate -> validation loss, where there was a choice; infinite where training diverged.
        losses: Mean training loss of each epoch.
    """

    scorer: RowScorer
    rate: float
    tried: Mapping[float, float]
    losses: tuple[float, ...]

    @property
    def trained(self) -> int:
        """Weights that were trained."""
        return self.scorer.trained


def place_of(setting: Setting, *, causal: bool) -> Place:
    """Return which position of what is there is read."""
    if setting.position == "mean":
        return "mean"
    first = setting.position == "first" or (setting.position == "own" and not causal)
    return "first" if first else "last"


def blocks_of(setting: Setting, blocks: int) -> int:
    """Return how many blocks are trained of so many, at most all."""
    return min(setting.trained, blocks) if isinstance(setting.trained, int) else 0


def fit(setting: Setting, decoder: Part, features: Features, texts: Texts, seed: int) -> Fitted:
    """Return the trained row; of several learning rates that of the least validation loss.

    Args:
        setting: Of the row.
        decoder: Whole; it is not touched.
        features: Of all texts, token states below the trained blocks.
        texts: Under one split; its test part is not looked at.
        seed: Of head and order.

    Raises:
        TrainingDiverged: If the loss stops being finite, at every learning rate.
    """
    found: list[Fitted] = []
    tried: dict[float, float] = {}
    for rate in setting.learning_rates:
        try:
            scorer, losses = _fit_at(rate, setting, decoder, features, texts, seed=seed)
        except TrainingDiverged:
            if len(setting.learning_rates) == 1:
                raise
            tried[rate] = math.inf
            continue
        tried[rate] = outcome(scorer, features, texts, texts.split.validation).scores.log_loss
        found.append(Fitted(scorer=scorer, rate=rate, tried=tried, losses=losses))
    if not found:
        rates = ", ".join(f"{rate:g}" for rate in tried)
        raise TrainingDiverged(f"training diverged at every learning rate ({rates})", hint="try another model")
    return min(found, key=lambda fitted: tried[fitted.rate])


def _fit_at(
    rate: float, setting: Setting, decoder: Part, features: Features, texts: Texts, *, seed: int
) -> tuple[RowScorer, tuple[float, ...]]:
    scorer = new_scorer(
        decoder,
        blocks=blocks_of(setting, len(decoder.blocks)),
        place=place_of(setting, causal=decoder.config.causal),
        classes=len(texts.labels),
        seed=seed,
    )
    settings = TailSettings(
        epochs=setting.epochs,
        batch_size=setting.batch_size * setting.accumulation,
        learning_rate=rate,
        weight_decay=setting.weight_decay,
        seed=seed,
    )
    nothing = texts.split.validation[:0]  # the last epoch is kept, as in the book
    happened = fit_tail(scorer, features, texts.ids, train=texts.split.train, validation=nothing, settings=settings)
    losses = tuple(event.train_loss for event in happened if isinstance(event, Epoch))
    return scorer, losses


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a trained row fares on one part.

    Attributes:
        scores: All of them.
        right: [rows] whether the likeliest class is the true one.
    """

    scores: Scores
    right: NDArray[np.bool_]

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the part, ready for JSON."""
        return {"correct": int(self.right.sum()), **figures(self.scores)}


def figures(scores: Scores) -> dict[str, Any]:
    """Return the figures of some rows that a table shows, ready for JSON."""
    return {
        "rows": scores.rows,
        "accuracy": scores.accuracy,
        "interval": list(scores.accuracy_interval),
        "macro_f1": scores.macro_f1,
        "log_loss": scores.log_loss,
    }


def outcome(scorer: RowScorer, features: Features, texts: Texts, rows: NDArray[np.int64]) -> Outcome:
    """Return how ``scorer`` fares on those rows."""
    given = probabilities(score_features(scorer, features, rows))
    ids = texts.ids[rows]
    return Outcome(scores=score(ids, given, texts.labels.names), right=correct_rows(ids, given))
