"""Texts of one given part that another one holds too. Knows nothing about how parts are drawn."""

from __future__ import annotations

import numpy as np

from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.data.groups import find_near


def leaks(known: Dataset, part: Dataset, *, known_as: str, part_as: str) -> tuple[Finding, ...]:
    """Return which rows of ``part`` repeat a text of ``known``: exactly, but for marks, or but for a word.

    Args:
        known: What is learnt from.
        part: What is tested with; the row numbers are those of its file.
        known_as: What people call the first, for example ``training``.
        part_as: What they call the second.
    """
    near = find_near(known.texts + part.texts)
    seen = np.zeros(near.distinct, dtype=bool)
    seen[near.folds[: len(known)]] = True
    sets = near.links.sets
    touching = np.bincount(sets, weights=seen[near.links.members], minlength=len(near.links)) > 0
    close = np.zeros(near.distinct, dtype=bool)
    close[near.links.members[touching[sets]]] = True
    texts = set(known.texts)
    folds = near.folds[len(known) :].tolist()
    exact, marks, word = [], [], []
    for row, text, fold in zip(part.rows, part.texts, folds, strict=True):
        if text in texts:
            exact.append(row)
        elif seen[fold]:
            marks.append(row)
        elif close[fold]:
            word.append(row)
    ways = (
        ("leaked_exact", "exactly", exact),
        ("leaked_marks", "but for case, digits, punctuation or blanks", marks),
        ("leaked_word", "but for a word, or a few in long texts", word),
    )
    return tuple(
        _finding(
            kind, f"{len(rows)} of {len(part)} {part_as} rows repeat a {known_as} text {how}", tuple(rows), part_as
        )
        for kind, how, rows in ways
        if rows
    )


def unknown_labels(known: Dataset, part: Dataset, *, part_as: str) -> tuple[Finding, ...]:
    """Return the rows of ``part`` whose label training does not have; training stops there."""
    names = set(known.classes)
    rows = tuple(row for row, own in zip(part.rows, part.members, strict=True) if not names.issuperset(own))
    if not rows:
        return ()
    lacking = ", ".join(map(repr, sorted(set(part.classes) - names)[:10]))
    message = f"{len(rows)} {part_as} rows have labels that training does not know ({lacking}): {name_rows(rows)}"
    mend = "correct the labels, or add such rows to training"
    means = "what was never shown cannot be learnt"
    return (Finding(kind="unknown_labels", message=message, rows=rows, severity="error", means=means, mend=mend),)


def _finding(kind: str, said: str, rows: tuple[int, ...], part_as: str) -> Finding:
    return Finding(
        kind=kind,
        message=f"{said}: {name_rows(rows)}",
        rows=rows,
        severity="warning",
        means="scores on texts that were learnt by heart flatter",
        mend=f"leave these rows out of {part_as}, or leave --{part_as} away: near duplicates then stay in one part",
    )
