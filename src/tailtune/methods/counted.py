"""Words or letters counted, as a classifier alone: the better of the two on the validation rows. No language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tailtune.methods.auto import Fitted
from tailtune.methods.blend import Blend, Doubles, normalised
from tailtune.methods.entrants import Counted
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import NoScorer
from tailtune.progress import Progress, silent
from tailtune.text.ngrams import Kind

# The later one stands where no row can choose.
KINDS: tuple[Kind, ...] = ("word", "char")


def fit_counted(texts: Sequence[str], rows: Rows, *, seed: int, progress: Progress = silent) -> Fitted:
    """Return the n-grams that the validation rows prefer, fitted on the training rows.

    Args:
        texts: Of the data set.
        rows: Which may be seen.
        seed: Handed to the solver.
        progress: Told which are fitted.
    """
    tried: list[tuple[float, Counted]] = []
    entries: list[dict[str, Any]] = []
    for kind in KINDS:
        progress("n-grams", len(tried), len(KINDS), "kinds")
        counted = Counted(kind=kind, texts=texts, rows=rows, seed=seed)
        entries.append({"candidate": counted.title, "rows": len(rows.validation), "converged": counted.converged})
        tried.append((_judge(counted, rows, entries[-1]), counted))
    progress("n-grams", len(tried), len(KINDS), "kinds")
    loss, chosen = min(reversed(tried), key=lambda each: each[0])
    several = rows.labels.ndim == 2
    return Fitted(
        scorer=NoScorer(rows.classes),
        choices=[{**entry, "chosen": counted is chosen} for entry, (_, counted) in zip(entries, tried, strict=True)],
        reason=_why(chosen.title, loss),
        blend=Blend(weights=(0.0, 1.0), members=(chosen.member(),), several=several),
        member_scores=(chosen.scores(np.arange(len(texts))),),
    )


def _judge(counted: Counted, rows: Rows, entry: dict[str, Any]) -> float:
    """Mean log loss of the validation rows, written into ``entry``; infinite where there are none."""
    held_out = rows.validation
    if not len(held_out):
        return float("inf")
    scores: Doubles = normalised(counted.scores(held_out), several=rows.labels.ndim == 2)
    losses, correct = rows.task.judge(scores, rows.labels[held_out])
    entry |= {"loss": float(losses.mean()), "accuracy": float(correct.mean())}
    return float(losses.mean())


def _why(title: str, loss: float) -> str:
    if loss == float("inf"):
        return f"{title}, as asked for; there are no validation rows to choose by"
    return f"{title}, as asked for: the better of two kinds, with a log loss of {loss:.3f} on the validation rows"
