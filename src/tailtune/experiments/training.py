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
from tailtune.experiments.scorer import Place, RowScorer, new_scorer, trained_weights, with_updates
from tailtune.experiments.settings import Setting
from tailtune.experiments.splits import Texts
from tailtune.features.store import Features
from tailtune.methods.descent import Epoch, TailSettings, fit_tail
from tailtune.methods.scorers import probabilities, score_features
from tailtune.models.parts import Part
from tailtune.progress import Progress, silent


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A trained row.

    Attributes:
        scorer: Trained.
        rate: Of the learning rates, the one kept.
        tried: Learning rate -> validation loss; infinite where training diverged.
        losses: Mean training loss of each epoch.
        trained: Weights that were trained.
    """

    scorer: RowScorer
    rate: float
    tried: Mapping[float, float]
    losses: tuple[float, ...]
    trained: int


def place_of(setting: Setting, *, causal: bool) -> Place:
    """Return which position of what is there is read."""
    if setting.position == "mean":
        return "mean"
    first = setting.position == "first" or (setting.position == "own" and not causal)
    return "first" if first else "last"


def blocks_of(setting: Setting, blocks: int) -> int:
    """Return how many blocks are not frozen, or have updates beside them, of so many."""
    if isinstance(setting.trained, int):
        return min(setting.trained, blocks)
    return blocks if setting.trained in ("all", "lora") else 0


def fit(
    setting: Setting, decoder: Part, features: Features, texts: Texts, seed: int, *, progress: Progress = silent
) -> Fitted:
    """Return the trained row; of several learning rates that of the least validation loss.

    Args:
        setting: Of the row.
        decoder: Whole; it is not touched.
        features: Of all texts, token states below the trained blocks.
        texts: Under one split; its test part is not looked at.
        seed: Of head, updates and order.
        progress: Told steps.

    Raises:
        TrainingDiverged: If the loss stops being finite, at every learning rate.
        TailtuneError: If the model cannot be trained so.
    """
    best: Fitted | None = None
    tried: dict[float, float] = {}
    for rate in setting.learning_rates:
        scorer = _new(setting, decoder, len(texts.labels), seed)
        trained = trained_weights(scorer)
        try:
            losses = _descend(scorer, setting, features, texts, rate=rate, seed=seed, progress=progress)
        except TrainingDiverged:
            if len(setting.learning_rates) == 1:
                raise
            tried[rate] = math.inf
            continue
        tried[rate] = outcome(scorer, features, texts, texts.split.validation).scores.log_loss
        if best is None or tried[rate] < tried[best.rate]:
            best = Fitted(scorer=scorer, rate=rate, tried=tried, losses=losses, trained=trained)
    if best is None:
        rates = ", ".join(f"{rate:g}" for rate in tried)
        raise TrainingDiverged(f"training diverged at every learning rate ({rates})", hint="try another model")
    return best


def _new(setting: Setting, decoder: Part, classes: int, seed: int) -> RowScorer:
    scorer = new_scorer(
        decoder,
        blocks=blocks_of(setting, len(decoder.blocks)),
        place=place_of(setting, causal=decoder.config.causal),
        classes=classes,
        seed=seed,
        embeddings=setting.trained == "all",
    )
    if setting.trained == "lora":
        return with_updates(scorer, rank=setting.lora_rank, scale=setting.lora_scale, seed=seed)
    return scorer


def _descend(
    scorer: RowScorer, setting: Setting, features: Features, texts: Texts, *, rate: float, seed: int, progress: Progress
) -> tuple[float, ...]:
    """Train in place and return the mean loss of each epoch; the last one is kept, as in the book."""
    settings = TailSettings(
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        accumulation=setting.accumulation,
        learning_rate=rate,
        weight_decay=setting.weight_decay,
        seed=seed,
    )
    split = texts.split
    losses = []
    for event in fit_tail(
        scorer, features, texts.ids, train=split.train, validation=split.validation[:0], settings=settings
    ):
        if isinstance(event, Epoch):
            losses.append(event.train_loss)
        else:
            progress("training", event.step, event.steps, "steps")
    return tuple(losses)


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
    return judged(probabilities(score_features(scorer, features, rows)), texts, rows)


def judged(given: NDArray[np.float64], texts: Texts, rows: NDArray[np.int64]) -> Outcome:
    """Return how probabilities [rows, C] fare on those rows."""
    ids = texts.ids[rows]
    return Outcome(scores=score(ids, given, texts.labels.names), right=correct_rows(ids, given))
