"""Where a classifier does better and where worse: its scores on parts of the test rows, and the rows it got most wrong.

Knows nothing about models or files; texts are not needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.evaluate.curves import mean_interval, row_losses
from tailtune.evaluate.intervals import wilson
from tailtune.evaluate.metrics import FloatArray, IdArray

WORST = 10


# Of a column with more values the most frequent are shown by themselves, the others together.
_MOST_VALUES = 20


def slices_by(true_ids: IdArray, probabilities: FloatArray, values: Sequence[str]) -> list[dict[str, Any]]:
    """Return the scores by value, the most frequent first: each part's rows, accuracy and log loss.

    Args:
        true_ids: int [n], n >= 1.
        probabilities: float [n, C].
        values: [n].
    """
    correct, losses = probabilities.argmax(axis=1) == true_ids, row_losses(true_ids, probabilities)
    counts = Counter(values)
    shown = sorted(counts, key=lambda value: (-counts[value], value))
    first = shown if len(shown) <= _MOST_VALUES + 1 else shown[:_MOST_VALUES]
    place = {value: number for number, value in enumerate(first)}
    places = np.array([place.get(value, len(first)) for value in values])
    titles = [value or "(blank)" for value in first] + [f"{len(shown) - len(first)} other values"]
    return [
        {"name": titles[number], **part_scores(correct[places == number], losses[places == number])}
        for number in np.unique(places).tolist()
    ]


def slices(
    true_ids: IdArray, probabilities: FloatArray, lengths: IdArray, names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the scores by quartile of the length and by true class: each part's rows, accuracy and log loss.

    Args:
        true_ids: int [n], n >= 1.
        probabilities: float [n, C].
        lengths: int [n], tokens of each text.
        names: C class names, in id order.
    """
    correct, losses = probabilities.argmax(axis=1) == true_ids, row_losses(true_ids, probabilities)
    by_class = [(name, true_ids == number) for number, name in enumerate(names)]
    return {
        name: [{"name": title, **part_scores(correct[rows], losses[rows])} for title, rows in parts if rows.any()]
        for name, parts in (("length", _quartiles(lengths)), ("class", by_class))
    }


def part_scores(correct: NDArray[np.bool_], losses: FloatArray) -> dict[str, Any]:
    """Return rows, accuracy and log loss, with intervals, of a part of the test rows.

    Args:
        correct: bool [n], n >= 1.
        losses: float [n] log losses, in nats.
    """
    hits = int(np.count_nonzero(correct))
    return {
        "rows": len(correct),
        "accuracy": hits / len(correct),
        "interval": list(wilson(hits, len(correct))),
        "log_loss": float(losses.mean()),
        "log_loss_interval": mean_interval(losses),
    }


def _quartiles(lengths: IdArray) -> list[tuple[str, NDArray[np.bool_]]]:
    """Bounds are lengths that occur, so texts of one length stay together; with few lengths there are fewer parts."""
    tops = np.unique(np.quantile(lengths, (0.25, 0.5, 0.75, 1.0), method="inverted_cdf"))
    parts, low = [], int(lengths.min())
    for top in tops.astype(int).tolist():
        title = f"{low} to {top} tokens" if low < top else f"{top} token{'s' if top > 1 else ''}"
        parts.append((title, (lengths >= low) & (lengths <= top)))
        low = top + 1
    return parts


def worst_rows(true_ids: IdArray, probabilities: FloatArray, count: int = WORST) -> list[int]:
    """Return the places of the rows with the highest loss, the highest first.

    Args:
        true_ids: int [n].
        probabilities: float [n, C].
        count: How many, where there are so many.
    """
    losses = row_losses(true_ids, probabilities)
    order: list[int] = np.argsort(-losses, kind="stable")[:count].tolist()
    return order
