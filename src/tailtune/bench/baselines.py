"""(e) The n-gram baselines on the same training texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailtune.bench.material import load_material
from tailtune.evaluate.baselines import fit_baselines
from tailtune.runs import peak_rss_mib


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seconds to fit each baseline, and its test accuracy.

    Args:
        request: That of ``load_material``.
    """
    material = load_material(request)
    train = material.parts.train
    fitted = fit_baselines(
        material.texts(train), material.ids[train], classes=len(material.labels), seed=material.config.seed
    )
    peak = peak_rss_mib()
    return {
        name: {
            "title": baseline.title,
            "seconds": baseline.seconds,
            "score": material.score(baseline.predict_proba(material.test_texts)),
            "peak_mib": peak,
        }
        for name, baseline in fitted.items()
        if name != "majority"  # it takes no time to speak of, and reads no text
    }
