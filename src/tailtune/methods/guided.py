"""A probe on top of what a language model says of each label's words: where it knows nothing, the words count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tailtune.features.store import Features
from tailtune.methods.probe import PENALTIES, PENALTY_WORK, Candidate, HeldOut, Rows, averaged, best_linears
from tailtune.methods.scorers import Pooling
from tailtune.methods.words import GuidedProbe, WordScorer
from tailtune.progress import Progress, silent


def choose_guided(
    words: WordScorer,
    features: Features,
    rows: Rows,
    *,
    depths: Sequence[int],
    pooling: Pooling,
    penalties: Sequence[float] = PENALTIES,
    progress: Progress = silent,
) -> tuple[GuidedProbe, Candidate, list[Candidate]]:
    """Return the probe that adds to the scores of ``words``, chosen and fitted as by ``choose_probe``.

    Args:
        words: Reads one of the depths.
        features: As for ``choose_probe``.
        rows: As for ``choose_probe``; each text has one label.
        depths: As for ``choose_probe``.
        pooling: As for ``choose_probe``.
        penalties: As for ``choose_probe``.
        progress: As for ``choose_probe``.
    """
    given = words.score(features.pooled(words.depth))
    held_out = HeldOut(features, rows, pooling, work=PENALTY_WORK if len(penalties) > 1 else 0.0, given=given)
    linears, chosen, tried = best_linears(held_out, depths, penalties, progress)
    strength = float(np.mean([linear.strength for linear in linears]))
    return GuidedProbe(probe=averaged(linears, chosen.depths, pooling), words=words, strength=strength), chosen, tried
