"""What choosing the best of several by one test part does to its number. Knows nothing about runs."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from tailtune.evaluate.intervals import wilson


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
