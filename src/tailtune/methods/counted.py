"""Words or letters counted, as a classifier alone: the better of the two on the validation rows. No language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tailtune.methods.auto import Fitted
from tailtune.methods.blend import Blend, normalised
from tailtune.methods.entrants import Counted
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import NoScorer


def fit_counted(counted: Sequence[Counted], rows: Rows, *, texts: int) -> Fitted:
    """Return the n-grams that the validation rows prefer, fitted on the training rows.

    Args:
        counted: To choose from; the last one stands where no row can choose.
        rows: Which may be seen.
        texts: In the data set.
    """
    tried = [(_entry(each, rows), each) for each in counted]
    entry, chosen = min(reversed(tried), key=lambda pair: float(pair[0].get("loss", np.inf)))
    return Fitted(
        scorer=NoScorer(rows.classes),
        choices=[{**each, "chosen": each is entry} for each, _ in tried],
        reason=_why(chosen.title, entry),
        blend=Blend(weights=(0.0, 1.0), members=(chosen.member(),), several=rows.labels.ndim == 2),
        member_scores=(chosen.scores(np.arange(texts)),),
        parts=(chosen.name,),
    )


def _entry(counted: Counted, rows: Rows) -> dict[str, Any]:
    """One of the choices, with the scores of the validation rows where there are any."""
    held_out = rows.validation
    entry: dict[str, Any] = {"candidate": counted.title, "rows": len(held_out)}
    if not len(held_out):
        return entry
    scores = normalised(counted.scores(held_out), several=rows.labels.ndim == 2)
    losses, correct = rows.task.judge(scores, rows.labels[held_out])
    return {**entry, "loss": float(losses.mean()), "accuracy": float(correct.mean())}


def _why(title: str, entry: dict[str, Any]) -> str:
    if "loss" not in entry:
        return f"{title}, as asked for; there are no validation rows to choose by"
    loss = entry["loss"]
    return f"{title}, as asked for: the better of two kinds, with a log loss of {loss:.3f} on the validation rows"
