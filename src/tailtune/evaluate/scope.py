"""How well texts of no class are told from others, and whether the promised share holds. Knows nothing about models."""

from __future__ import annotations

from typing import Any

import numpy as np

from tailtune.evaluate.curves import auroc, auroc_interval
from tailtune.evaluate.decisions import counted
from tailtune.evaluate.metrics import FloatArray

# Marking the strangest 5 % of texts like those of training is what is told; predict takes any share.
SHARE = 0.05


def marked(unlike: FloatArray, share: float = SHARE) -> dict[str, Any]:
    """Return how many texts reach 1 - ``share``, with the 95 % interval.

    Args:
        unlike: float [n] in 0..1, places among held-out texts.
        share: In (0, 1).
    """
    return counted(int((unlike >= 1 - share).sum()), len(unlike))


def told_apart(inside: FloatArray, outside: FloatArray) -> dict[str, Any]:
    """Return how well strangeness tells texts of no class: area under the ROC curve, and what passes at 95 % kept.

    Args:
        inside: float [n] strangeness of test texts, n >= 1.
        outside: float [m] of texts known to be of no class, m >= 1.

    Returns:
        ``auroc`` with DeLong's 95 % ``interval``: the chance that a text of no class is stranger than one of a class.
        ``passed``: texts of no class no stranger than 95 % of the test texts.
    """
    positive = np.r_[np.ones(len(outside), dtype=bool), np.zeros(len(inside), dtype=bool)]
    both = np.r_[outside, inside]
    bound = float(np.quantile(inside, 0.95))
    return {
        "auroc": auroc(positive, both),
        "interval": auroc_interval(positive, both),
        "passed": counted(int((outside <= bound).sum()), len(outside)),
    }
