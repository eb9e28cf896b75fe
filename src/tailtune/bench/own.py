"""(c) and (d) Tailtune itself, as a user calls it: the recipe's maths, or ``auto`` without what may stand beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.bench.material import load_material
from tailtune.learn import learn
from tailtune.methods.descent import Step
from tailtune.resolving import resolve
from tailtune.runs import Stopwatch, peak_rss_mib

METHODS: Mapping[str, Mapping[str, Any]] = {
    "same": {"method": "tail", "depth": "last", "precision": "fp32"},
    "auto": {"method": "auto", "ship": "language-model"},
}
"""What a run is told besides data, model and recipe."""


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds per stage, losses and test accuracy of one training into an empty feature store.

    Args:
        request: That of ``load_material``; ``method`` is a key of METHODS, ``bundle`` where to save the classifier.
    """
    material, watch = load_material(request), Stopwatch()
    given = {"data": request["data"], "model": request["model"], "recipe": "chapter", **METHODS[request["method"]]}
    with tempfile.TemporaryDirectory(prefix="tailtune-store-") as store:
        started = time.perf_counter()
        learnt = learn(material.seen, material.parts, resolve(given).config, store=Path(store), watch=watch)
        seconds = time.perf_counter() - started
        peak = peak_rss_mib()
    learnt.predictor.save(request["bundle"])
    return {
        "seconds": seconds,
        "stages": watch.as_json(),
        "tokens": learnt.tokens["total"],
        "positions": sum(
            done["computed_tokens"] * done["depth"] / learnt.blocks_total for done in learnt.tokens["passes"]
        ),
        "losses": [event.loss for event in learnt.events if isinstance(event, Step)],
        "method": learnt.fitted.method,
        "depth": learnt.fitted.scorer.depth,
        "precision": learnt.precision,
        "reason": learnt.fitted.reason,
        "score": material.score(learnt.predictor.predict_proba(material.test_texts)),
        "peak_mib": peak,
    }
