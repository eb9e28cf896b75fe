"""How a classifier fares at the coarser levels of labels that are paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tailtune.evaluate.metrics import FloatArray, IdArray, score
from tailtune.label_levels import Level


def level_scores(true_ids: IdArray, probabilities: FloatArray, levels: Sequence[Level]) -> list[dict[str, Any]]:
    """Return the scores at each level, the coarsest first: classes, accuracy with its interval, macro F1, log loss.

    A coarser label has the sum of the probabilities below it, so its best one may lie above another label than the
    best of the finest.

    Args:
        true_ids: int [n] of the finest labels, n >= 1.
        probabilities: float [n, C].
        levels: From ``levels_of``.
    """
    return [
        {
            "level": level.number,
            "classes": len(level.names),
            "accuracy": found.accuracy,
            "accuracy_interval": list(found.accuracy_interval),
            "macro_f1": found.macro_f1,
            "log_loss": found.log_loss,
        }
        for level in levels
        for found in (score(level.places[true_ids], level.summed(probabilities), level.names),)
    ]
