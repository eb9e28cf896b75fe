"""Answers of single runs put together: medians, a whole from its sample, ratios. Nothing is measured here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Answer = dict[str, Any]


def training(
    *,
    chapter: Sequence[Answer],
    trainer: Sequence[Answer],
    own: Mapping[str, Answer],
    baselines: Mapping[str, Answer],
    oracle: Answer,
) -> Answer:
    """Return runs by name, the ratios of their seconds and how well our own agree with the oracle.

    Args:
        chapter: One whole run, or samples.
        trainer: The same.
        own: Of ``same`` and ``auto``.
        baselines: By name.
        oracle: Of the unpadded reference run.
    """
    runs = {"chapter": chapter_run(chapter), "trainer": trainer_run(trainer)}
    runs |= {name: _own_run(answer) for name, answer in own.items()}
    runs |= {name: _baseline_run(answer) for name, answer in baselines.items()}
    runs["oracle"] = _oracle_run(oracle)
    tokens = own["same"]["tokens"]
    for found in runs.values():
        found["tokens_per_second"] = round(tokens / found["seconds"], 1)
    theirs, ours = np.array(oracle["losses"]), np.array(own["same"]["losses"])
    return {
        "tokens": tokens,
        "runs": runs,
        "ratios": {
            name: {other: round(runs[other]["seconds"] / runs[name]["seconds"], 2) for other in ("chapter", "trainer")}
            for name in own
        },
        "agreement": {
            "steps": len(ours),
            "largest_loss_difference": float(np.abs(ours - theirs).max()),
            "test_rows_apart": abs(own["same"]["score"]["correct"] - oracle["score"]["correct"]),
        },
    }


def _loaded(answers: Sequence[Answer]) -> dict[str, float]:
    """Seconds of loading, the median of all processes."""
    return {stage: statistics.median(answer["load"][stage] for answer in answers) for stage in ("model", "tokens")}


def _run(stages: Mapping[str, float], answers: Sequence[Answer], **extra: Any) -> Answer:
    positions = answers[0].get("positions")  # n-grams have none
    return {
        "seconds": round(sum(stages.values()), 3),
        "stages": {name: round(seconds, 3) for name, seconds in stages.items()},
        "positions": None if positions is None else round(positions),
        "peak_mib": max(answer["peak_mib"] for answer in answers),
        **extra,
    }


def chapter_run(answers: Sequence[Answer]) -> Answer:
    """Return the chapter's loop: sampled steps and forward batches times their numbers, or what the whole loop took.

    Args:
        answers: Of ``tailtune.bench.chapter``.
    """
    first = answers[0]
    if "seconds" in first:
        return _run({**_loaded(answers), **first["seconds"]}, answers, score=first["score"], sample=None)
    steps = [seconds for answer in answers for seconds in answer["step_seconds"]]
    forwards = [seconds for answer in answers for seconds in answer["forward_seconds"]]
    stages = {
        **_loaded(answers),
        "steps": first["steps"] * statistics.median(steps),
        "evaluations": first["evaluation_batches"] * statistics.median(forwards),
    }
    sample = {
        "steps": first["steps"],
        "step_seconds": _rounded(steps),
        "median_step_seconds": round(statistics.median(steps), 4),
        "evaluation_batches": first["evaluation_batches"],
        "evaluation_batch_seconds": _rounded(forwards),
    }
    return _run(stages, answers, score=None, sample=sample)


def trainer_run(answers: Sequence[Answer]) -> Answer:
    """Return the usual trainer: the mean of sampled steps (short and long batches alike) times their number.

    Args:
        answers: Of ``tailtune.bench.trainer``.
    """
    first = answers[0]
    if "seconds" in first:
        return _run({**_loaded(answers), **first["seconds"]}, answers, score=first["score"], sample=None)
    steps = [seconds for answer in answers for seconds in answer["step_seconds"]]
    evaluations = [answer["evaluation_seconds"] for answer in answers]
    stages = {
        **_loaded(answers),
        "steps": first["steps"] * statistics.mean(steps),
        "evaluations": first["evaluations"] * statistics.median(evaluations),
    }
    sample = {
        "steps": first["steps"],
        "step_seconds": _rounded(steps),
        "mean_step_seconds": round(statistics.mean(steps), 4),
        "evaluations": first["evaluations"],
        "evaluation_seconds": _rounded(evaluations),
    }
    return _run(stages, answers, score=None, sample=sample)


def _own_run(answer: Answer) -> Answer:
    stages = {name: seconds for name, seconds in answer["stages"].items() if name != "total"}
    kept = {name: answer[name] for name in ("method", "depth", "precision", "reason")}
    # The sum of the stages leaves out what lies between them.
    return {**_run(stages, [answer], score=answer["score"], **kept), "seconds": round(answer["seconds"], 3)}


def _baseline_run(answer: Answer) -> Answer:
    return _run({"fit": answer["seconds"]}, [answer], score=answer["score"], title=answer["title"])


def _oracle_run(answer: Answer) -> Answer:
    stages = {name: seconds for name, seconds in answer["seconds"].items() if name != "total"}
    return _run(stages, [answer], score=answer["score"])


def engine(answers: Sequence[Answer]) -> Answer:
    """Return one engine over all rounds.

    Args:
        answers: Of ``tailtune.bench.engines``.
    """
    single = [1e3 * seconds for answer in answers for seconds in answer["single_seconds"]]
    seconds = [answer["batched_seconds"] for answer in answers]
    last = answers[-1]
    return {
        "load_seconds": round(statistics.median(answer["load_seconds"] for answer in answers), 3),
        "single_ms": {
            "texts": len(single),
            "median": round(statistics.median(single), 2),
            "p95": round(float(np.percentile(single, 95)), 2),
        },
        "batched": {
            "texts": last["texts"],
            "seconds": _rounded(seconds),
            "texts_per_second": round(last["texts"] / statistics.median(seconds), 2),
            "tokens_per_second": round(last["tokens"] / statistics.median(seconds), 1),
        },
        "score": last["score"],
        "probabilities": last["probabilities"],
        "peak_mib": max(answer["peak_mib"] for answer in answers),
    }


def inference(engines: Mapping[str, Answer], *, skipped: Mapping[str, str], exported: Answer) -> Answer:
    """Return engines by name, how far their probabilities lie from Tailtune's, and ratios of texts per second.

    Args:
        engines: Of ``engine``; not changed.
        skipped: Why some were left out.
        exported: Of ``tailtune.bench.export``.
    """
    ours = np.array(engines["tailtune-equal"]["probabilities"])
    found: dict[str, Answer] = {name: {"skipped": why} for name, why in skipped.items()}
    for name, answer in engines.items():
        found[name] = {key: value for key, value in answer.items() if key != "probabilities"}
        if name != "tailtune-chosen":  # another classifier
            found[name]["largest_difference"] = float(np.abs(np.array(answer["probabilities"]) - ours).max())
    rates = {name: answer["batched"]["texts_per_second"] for name, answer in engines.items()}
    ratios = {name: round(rate / rates["pipeline"], 2) for name, rate in rates.items()}
    return {"engines": found, "against_pipeline": ratios, "export": exported}


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in seconds]
