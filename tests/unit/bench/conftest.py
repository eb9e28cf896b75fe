"""Answers of single runs with round numbers in them, and one small training that several tests look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.texts import messages, write_csv

_SCORE = {"correct": 9, "tests": 10, "accuracy": 0.9}


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> dict[str, Any]:
    """A request for all rows of 120 messages and a tiny Llama."""
    file = write_csv(tmp_path_factory.mktemp("data") / "messages.csv", *messages(120))
    return {"data": str(file), "model": str(tiny_llama), "rows": None}


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory, asked: dict[str, Any]) -> Path:
    """A folder with the bundle ``same``, trained on what ``asked`` asks for, and the run's answer beside it."""
    from tailtune.bench import own

    folder = tmp_path_factory.mktemp("work")
    answer = own.run({**asked, "method": "same", "bundle": str(folder / "same")})
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def own_answer(work: Path) -> dict[str, Any]:
    """The answer of the training behind ``work``."""
    answer: dict[str, Any] = json.loads((work / "answer.json").read_text(encoding="utf-8"))
    return answer


def _loading(model: float) -> dict[str, Any]:
    return {"load": {"model": model, "tokens": 1.0, "total": model + 1.0}, "peak_mib": 100.0 + model}


def _own(method: str, seconds: float, **changes: Any) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "stages": {"backbone": seconds - 2, "method": 1.0, "total": seconds - 1},
        "tokens": 1000,
        "positions": 500.4,
        "losses": [0.7, 0.6, 0.5],
        "method": method,
        "depth": 4,
        "precision": "fp32",
        "reason": "as asked for",
        "score": _SCORE,
        "peak_mib": 80.0,
        **changes,
    }


@pytest.fixture
def training_answers() -> dict[str, Any]:
    """What ``summary.training`` is given when the loops were sampled: (a) takes 200 s, (b) 90, (c) 10, (d) 5."""
    chapter = {"steps": 100, "evaluation_batches": 10, "positions": 11_000}
    trainer = {"steps": 50, "evaluations": 5, "positions": 2_500}
    baseline = {"title": "word TF-IDF", "seconds": 0.5, "score": _SCORE, "peak_mib": 50.0}
    return {
        "chapter": [
            {**_loading(1.0), **chapter, "step_seconds": [1.8, 1.8, 9.0], "forward_seconds": [1.0]},
            {**_loading(5.0), **chapter, "step_seconds": [1.8, 2.0], "forward_seconds": [1.6, 3.0]},
        ],
        "trainer": [
            {**_loading(2.0), **trainer, "step_seconds": [0.5, 2.5], "evaluation_seconds": 1.0},
            {**_loading(4.0), **trainer, "step_seconds": [1.6, 1.8], "evaluation_seconds": 1.4},
        ],
        "own": {"same": _own("tail", 10.0), "auto": _own("probe", 5.0, positions=250.0)},
        "baselines": {"word": baseline},
        "oracle": {
            "losses": [0.7, 0.6001, 0.5],
            "score": {**_SCORE, "correct": 8},
            "seconds": {"model": 4.0, "method": 16.0, "total": 20.0},
            "positions": 900.0,
            "peak_mib": 120.0,
        },
    }


@pytest.fixture
def rounds() -> dict[str, list[dict[str, Any]]]:
    """Three rounds of each engine; all but the chosen classifier give nearly the same probabilities."""
    rates = {"pipeline": 4.0, "onnx-fp32": 3.0, "tailtune-equal": 2.0, "tailtune-chosen": 1.0}

    def answer(place: int, seconds: float, rate: float) -> dict[str, Any]:
        return {
            "load_seconds": 0.5,
            "single_seconds": [0.001 * rate, 0.002 * rate],
            "batched_seconds": seconds * rate,
            "texts": 10,
            "tokens": 200,
            "score": _SCORE,
            "probabilities": [[0.5 + 0.01 * place, 0.5 - 0.01 * place]] * 10,
            "peak_mib": 60.0 + seconds,
        }

    return {
        name: [answer(place, seconds, rate) for seconds in (1.0, 30.0, 2.0)]
        for place, (name, rate) in enumerate(rates.items())
    }


@pytest.fixture
def results(training_answers: dict[str, Any], rounds: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """All three parts as ``tailtune bench`` writes them, their keys in the order of a file."""
    from tailtune.bench import summary
    from tailtune.storage import canonical_json

    about: dict[str, Any] = {
        "quick": False,
        "machine": {"processor": "A processor", "cores": 2, "threads": 2, "versions": {"tailtune": "1", "torch": "2"}},
        "model": "a-model",
        "data": {"name": "some-data", "sha256": "0123456789abcdef", "training": 70, "validation": 10, "test": 20},
    }
    engines = {name: summary.engine(answers) for name, answers in rounds.items()}
    exported = {"seconds": 1.0, "bytes": {"fp32": 4, "int8": 1}}
    passed = {
        "shapes": [[96, 32]],
        "rows": 2000,
        "blocks": 3,
        "batches": 8,
        "tokens": 16_000,
        "seconds": 1.0,
        "pass_gflops": 80.0,
        "products_gflops": {"before": 100.0, "after": 90.0},
        "share": 0.8,
        "peak_mib": 100.0,
    }
    found = {
        "training": {**about, **summary.training(**training_answers)},
        "inference": {**about, **summary.inference(engines, skipped={"onnx-int8": "no room"}, exported=exported)},
        "pass": {**about, **passed},
    }
    return {part: json.loads(canonical_json(result)) for part, result in found.items()}
