"""What choosing the best of several by one part does to its number. Knows nothing about runs."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from tailtune.evaluate.intervals import wilson
from tailtune.evaluate.metrics import FloatArray, IdArray

DRAWS = 1000


def expected_best(choices: int) -> float:
    """Return by how many standard errors the best of ``choices`` equally good ones is overrated on average.

    The mean of the largest of k standard normal numbers, Blom's approximation (1958): within 5 % for two, 1 % from ten.

    Args:
        choices: k, at least 1.
    """
    return NormalDist().inv_cdf((choices - 0.375) / (choices + 0.25)) if choices > 1 else 0.0


def best_of(correct: int, rows: int, choices: int) -> dict[str, Any]:
    """Return what the accuracy of the best of ``choices`` classifiers is worth, all read on the same rows.

    Args:
        correct: Rows that the best one had right.
        rows: All rows, at least 1.
        choices: Classifiers that were compared, this one included.

    Returns:
        ``optimism``: the accuracy is too high by up to about so much on average, a fraction: as for equally good
        classifiers that err on different rows; less where they err on the same ones or differ in worth. ``interval``:
        Wilson's at a level of 1 - 0.05 / choices. By Bonferroni all intervals hold at once in 19 of 20 cases, whatever
        the classifiers have in common, so that of the best one holds too.
    """
    # Agresti and Coull's middle: of rows that are all right the standard error is not 0.
    share = (correct + 2) / (rows + 4)
    return {
        "choices": choices,
        "optimism": expected_best(choices) * math.sqrt(share * (1 - share) / rows),
        "interval": list(wilson(correct, rows, level=1 - 0.05 / choices)),
    }


def best_of_rows(
    rows: FloatArray, groups: IdArray, *, smaller: bool, seed: int, draws: int = DRAWS
) -> dict[str, Any] | None:
    """Return what the best of several classifiers, chosen by these rows, is worth on other rows.

    The bootstrap of Tsamardinos, Greasidou and Borboudakis (2018): groups of rows are drawn with replacement, the best
    classifier on those drawn is taken, and judged on those that were not. It sees how much the classifiers differ and
    have in common. It errs to the careful side: a draw holds 63 % of the groups, and chooses a little worse than all.

    Args:
        rows: float [classifiers, rows], of which a classifier's score is the mean; the first is what there was before.
        groups: int [rows]; near-duplicates share one, and are drawn together.
        smaller: Whether smaller scores are better.
        seed: Of the draws.
        draws: How many.

    Returns:
        ``apparent``: the best mean. ``corrected``: the mean over the draws of what the chosen one scored on the rows
        left out, with the ``interval`` that holds 95 % of them. ``optimism``: by how much the first is better than the
        second, 0 or more. ``gain``: corrected, by how much the chosen ones were better than the first classifier on the
        rows left out, with ``gain_interval``. None where there are not two groups.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < 2 or not len(rows):
        return None
    sign = 1.0 if smaller else -1.0
    counts = np.bincount(numbers).astype(np.float64)
    sums = np.stack([np.bincount(numbers, weights=sign * each) for each in rows.astype(np.float64)])
    random, scored, gained = np.random.default_rng(seed), [], []
    for _ in range(draws):
        drawn = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
        left = (drawn == 0).astype(np.float64)
        if left.any():
            outside = (sums @ left) / (counts @ left)
            best = int((sums @ drawn).argmin())
            scored.append(outside[best])
            gained.append(outside[0] - outside[best])
    apparent, corrected = float((sums.sum(axis=1) / counts.sum()).min()), float(np.mean(scored))
    bounds = sorted(sign * float(bound) for bound in np.quantile(scored, (0.025, 0.975)))
    return {
        "classifiers": len(rows),
        "apparent": sign * apparent,
        "corrected": sign * corrected,
        "interval": bounds,
        "optimism": max(0.0, corrected - apparent),
        "gain": float(np.mean(gained)),
        "gain_interval": [float(bound) for bound in np.quantile(gained, (0.025, 0.975))],
    }
