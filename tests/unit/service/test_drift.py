"""Windows over answers: bounded, told only where it can be, begun anew for another version."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import probe_bundle
from tailtune.drift import Answered, Reference
from tailtune.errors import BundleError
from tailtune.predict import Prediction, Predictor
from tailtune.service.drift import Drift
from tailtune.service.served import Served


def spread(count: int, *, seed: int, a: float = 0.4) -> list[Prediction]:
    """Answers of a classifier of two labels."""
    random = np.random.default_rng(seed)
    found = []
    for spam, tokens in zip(random.beta(a, 1.2, count).tolist(), random.integers(3, 90, count).tolist(), strict=True):
        label = "spam" if spam > 0.5 else "ham"
        rows = {"ham": 1 - spam, "spam": spam}
        more = {"tokens": tokens, "tokens_total": tokens, "truncated": False, "windows": 1}
        found.append(Prediction(label=label, probabilities=rows, confidence=rows[label], **more))
    return found


def reference_of(predictions: list[Prediction]) -> Reference:
    rows = np.array([list(each.probabilities.values()) for each in predictions])
    lengths = np.array([each.tokens for each in predictions])
    found = Reference.of(Answered.of(("ham", "spam"), rows, rows.argmax(axis=1), lengths))
    assert found is not None
    return found


def test_told_once_there_is_enough_to_tell() -> None:
    """Nothing is said of a few answers; then that they look alike; then that they moved, and what did."""
    drift = Drift(reference_of(spread(400, seed=1)), window=500)
    drift.add(spread(20, seed=2))
    nothing = {"scores": None, "labels": None, "lengths": None}
    assert drift.as_json() == {"answers": 20, "psi": nothing, "reading": None, "said": None}
    drift.add(spread(80, seed=3))
    labels_only = drift.as_json()
    assert labels_only["psi"]["labels"] is not None
    assert (labels_only["psi"]["scores"], labels_only["reading"]) == (None, None)
    for part in range(8):
        drift.add(spread(50, seed=10 + part))
    alike = drift.as_json()
    assert alike["reading"] == "stable"
    assert alike["said"].startswith("The last 500 texts look like the validation rows (PSI: scores 0.0")
    for part in range(30):
        drift.add(spread(50, seed=100 + part, a=2.0))
    moved = drift.as_json()
    assert moved["reading"] == "drifted"
    assert "differ from the validation rows (PSI: scores " in moved["said"]
    assert moved["psi"]["lengths"] < 0.1
    for part in range(30):
        drift.add(spread(50, seed=200 + part))
    assert drift.as_json()["reading"] == "stable"


def test_a_window_is_bounded() -> None:
    """Between one and two windows of answers count, after however many."""
    drift = Drift(reference_of(spread(100, seed=1)), window=300)
    assert drift.compared()[0] == 0
    held = []
    for part in range(40):
        drift.add(spread(100, seed=part))
        held.append(drift.compared()[0])
    assert held[:4] == [100, 200, 300, 400]
    assert set(held[5:]) == {300, 400, 500}


def test_older_bundles_tell_nothing() -> None:
    """Without a reference no index, no reading, no sentence; and nothing is kept."""
    drift = Drift(None)
    drift.add(spread(1000, seed=1))
    psi = {"scores": None, "labels": None, "lengths": None}
    assert drift.as_json() == {"answers": 0, "psi": psi, "reading": None, "said": None}


def test_another_version_begins_anew(tiny_llama: Path, tmp_path: Path) -> None:
    """Answers of the old version do not count for the new one; a reference of other labels is refused."""
    rows = np.random.default_rng(1).dirichlet(np.ones(3), 60)
    reference = Reference.of(Answered.of(("ham", "other", "spam"), rows, rows.argmax(axis=1), np.arange(60)))
    assert reference is not None
    served = []
    for number in range(2):
        folder = tmp_path / str(number)
        extra = {"metrics.json": json.dumps({"drift": reference.as_json(), "number": number})}
        Predictor(probe_bundle(tiny_llama)).save(folder, extra=extra)
        served.append(Served.load("spam-filter", folder))
    served[0].drift.add(served[0].predictor.predict(["lunch?", "prize"]))
    assert [each.drift.as_json()["answers"] for each in served] == [2, 0]
    other = {**reference.as_json(), "scores": {"ham": reference.scores["ham"].as_json()}}
    Predictor(probe_bundle(tiny_llama)).save(tmp_path / "other", extra={"metrics.json": json.dumps({"drift": other})})
    with pytest.raises(BundleError, match="labels that are not those of the classifier"):
        Served.load("spam-filter", tmp_path / "other")
