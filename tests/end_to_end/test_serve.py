"""``tailtune serve`` as people start it: one classifier on loopback."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np

from support.serving import saved, serving
from tailtune.predict import Predictor


def test_serve(tiny_llama: Path, tmp_path: Path) -> None:
    """The answers are those of the predictor; it says where it listens, and goes when told to."""
    bundle = saved(tiny_llama, tmp_path / "spam-filter")
    texts = ["claim your prize now", "lunch at noon?"]
    with serving(bundle, log=tmp_path / "log") as server:
        answer = httpx.post(f"{server.url}/v1/classify", json={"texts": texts, "highlights": True})
        assert answer.status_code == 200
        found = answer.json()
        assert httpx.get(f"{server.url}/v1/model").json()["labels"] == ["ham", "other", "spam"]
        assert "spam-filter" in server.log.read_text()
    assert server.process.poll() is not None
    expected = Predictor.load(bundle)
    assert found["model"] == {"name": "spam-filter", "digest": expected.bundle.digest}
    rows = [list(result["probabilities"].values()) for result in found["results"]]
    assert np.abs(np.array(rows) - expected.predict_proba(texts)).max() < 1e-6
    assert [each["text"] for each in found["results"][1]["highlights"]] == ["lunch", "at", "noon?"]
