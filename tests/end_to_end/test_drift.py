"""From training to service: the validation rows are kept as bins, and what comes later is compared with them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.serving import client_of, service_of
from support.texts import messages, tagged, write_csv, write_tagged
from tailtune.drift import NO_LABEL, Answered, Reference
from tailtune.predict import Predictor
from tailtune.resolving import resolve
from tailtune.service.limits import Limits
from tailtune.train import train

FAST = {"method": "probe", "depth": 2, "baselines": False, "cache": False}


def trained(data: Path, model: Path, out: Path) -> dict[str, Any]:
    """Metrics of a run in ``out``."""
    return dict(train(resolve({"data": str(data), "model": str(model), "out": str(out), **FAST}).config).metrics)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> tuple[Path, list[str], dict[str, Any]]:
    """A run, the texts of its validation rows, and its metrics; read it only."""
    folder = tmp_path_factory.mktemp("drift")
    texts, labels = messages(1200)
    metrics = trained(write_csv(folder / "messages.csv", texts, labels), tiny_llama, folder / "run")
    rows = json.loads((folder / "run" / "split.json").read_text())["validation"]
    return folder / "run", [texts[row - 1] for row in rows], metrics


def test_the_bundle_holds_how_its_validation_rows_were_spread(run: tuple[Path, list[str], dict[str, Any]]) -> None:
    """Counted as the saved classifier answers the same rows; numbers alone, no text."""
    folder, held_out, metrics = run
    predictor = Predictor.load(folder)
    predictions = predictor.predict(held_out)
    saved = json.loads((folder / "bundle" / "metrics.json").read_text())["drift"]
    assert saved == metrics["drift"]
    reference = Reference.from_json(saved, predictor.labels)
    assert reference.rows == len(held_out) == sum(reference.labels.values())
    for label in predictor.labels:
        assert reference.labels[label] == sum(each.label == label for each in predictions)
        assert reference.scores[label].rows.sum() == len(held_out)
    lengths = np.array([each.tokens for each in predictions], float)
    again = np.bincount(np.searchsorted(reference.lengths.edges, lengths), minlength=len(reference.lengths.rows))
    assert again.tolist() == reference.lengths.rows.tolist()
    confidence = np.array([each.confidence for each in predictions])
    found = np.bincount(
        np.searchsorted(reference.confidence.edges, confidence), minlength=len(reference.confidence.rows)
    )
    assert np.abs(found - reference.confidence.rows).sum() <= 2  # other batches, other last digits
    assert len(reference.confidence.rows) >= 4


def test_texts_like_before_and_others(run: tuple[Path, list[str], dict[str, Any]]) -> None:
    """The validation rows again are stable; longer texts of one kind have drifted, and the service says so."""
    folder, held_out, _ = run
    service = service_of(folder, limits=Limits(texts=2_000, tokens=1_000_000, waiting_tokens=1_000_000))

    async def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        async with client_of(service) as client:
            told = []
            for texts in (held_out * 4, [f"{held_out[0]} and so on and so on {number}" for number in range(600)]):
                assert (await client.post("/v1/classify", json={"texts": texts})).status_code == 200
                told.append((await client.get("/v1/model")).json()["drift"])
            return told[0], told[1]

    alike, moved = asyncio.run(ask())
    assert alike["answers"] == 4 * len(held_out)
    assert alike["reading"] == "stable"
    assert max(alike["psi"].values()) < 0.01
    assert alike["said"].startswith(f"The last {alike['answers']} texts look like the validation rows")
    assert moved["reading"] == "drifted"
    assert moved["psi"]["lengths"] > 0.25
    assert "differ from the validation rows" in moved["said"]


def test_several_labels_and_few_rows(tiny_llama: Path, tmp_path: Path) -> None:
    """Labels of their own are kept each; where validation rows are too few nothing is kept, and nothing is told."""
    several = trained(write_tagged(tmp_path / "tagged.jsonl", *tagged(800)), tiny_llama, tmp_path / "several")
    reference = Reference.from_json(several["drift"], ("anger", "joy", "love"))
    assert list(reference.labels) == ["anger", "joy", "love", NO_LABEL]
    predictor = Predictor.load(tmp_path / "several")
    texts = tagged(800)[0]
    rows = json.loads((tmp_path / "several" / "split.json").read_text())["validation"]
    predictions = predictor.predict([texts[row - 1] for row in rows])
    again = Answered(
        names=predictor.labels,
        scores=np.array([list(each.probabilities.values()) for each in predictions]),
        confidence=np.array([each.confidence for each in predictions]),
        given=[each.given for each in predictions],
        lengths=np.array([each.tokens for each in predictions]),
    )
    assert reference.labels == again.label_counts()
    few = trained(write_csv(tmp_path / "few.csv", *messages(100)), tiny_llama, tmp_path / "few")
    assert "drift" not in few

    async def ask() -> Any:
        async with client_of(service_of(tmp_path / "few")) as client:
            await client.post("/v1/classify", json={"texts": texts[:100]})
            return (await client.get("/v1/model")).json()["drift"]

    told = asyncio.run(ask())
    assert told == {"answers": 0, "psi": dict.fromkeys(("scores", "labels", "lengths")), "reading": None, "said": None}
