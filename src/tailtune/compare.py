"""Finished runs side by side, and tested in pairs where they answered the same test rows.

Reads metrics.json and predictions.jsonl of each run folder; loads no model.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import BundleError, ConfigError
from tailtune.evaluate.intervals import mcnemar_p
from tailtune.evaluate.selection import best_of

_LEVEL = 0.05
_Z = 1.96
_NEEDED = ("rows", "accuracy", "accuracy_interval", "macro_f1", "log_loss")
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a run said on its test rows.

    Attributes:
        correct: bool [n].
        losses: float [n] log loss of each row, in nats.
    """

    correct: NDArray[np.bool_]
    losses: NDArray[np.float64]


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """Return ``runs``, the figures of each, and ``pairs``, every two of them tested against each other.

    ``readings`` says how often test rows that runs share were read; comparing reads recorded answers alone, which
    is no further reading.

    Two runs are paired where their test rows are the same texts with the same labels in the same order; else ``paired``
    is False and ``why`` says so: their intervals can be set beside each other, but no test is made.

    Args:
        folders: At least two run folders, each once.

    Raises:
        ConfigError: If there are fewer than two, or one is given twice.
        BundleError: If a folder is no run or cannot be read.
    """
    names = [str(folder) for folder in folders]
    if len(folders) < 2:
        raise ConfigError("one run is no comparison", hint="give two run folders or more")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is given twice", hint="give each run folder once")
    found = [_metrics(folder) for folder in folders]
    answers = [_answers(folder, metrics) for folder, metrics in zip(folders, found, strict=True)]
    pairs = []
    for a, b in itertools.combinations(range(len(folders)), 2):
        why = _why_not(found[a], found[b], [names[at] for at in (a, b) if answers[at] is None])
        first, second = answers[a], answers[b]
        tested = {"paired": False, "why": why} if why or not first or not second else _tested(first, second)
        pairs.append({"a": names[a], "b": names[b], **tested})
    return {
        "runs": [_figures(name, metrics) for name, metrics in zip(names, found, strict=True)],
        "pairs": pairs,
        "readings": _readings(names, found),
    }


def _metrics(folder: Path) -> Mapping[str, Any]:
    file = folder / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{file}: cannot be read: {error}", hint="give folders that `tailtune train` made") from error
    test = metrics.get("test") if isinstance(metrics, dict) else None
    if isinstance(test, dict) and test.get("micro_f1") is not None:
        raise BundleError(
            f"{folder}: its texts can have several labels, and runs of one label per text are compared",
            hint="set the micro F1 and its interval in the two reports beside each other",
        )
    if not isinstance(test, dict) or any(test.get(key) is None for key in _NEEDED):
        raise BundleError(f"{file}: holds no test result", hint="give folders that `tailtune train` made")
    found: Mapping[str, Any] = metrics
    return found


def _readings(names: Sequence[str], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often test rows that several of the runs share have been read, and what the best of them is worth.

    As far as the runs know: the latest one tells of earlier readings by others, and each given here is one at least.
    """
    by_part: dict[str, list[int]] = {}
    for at, metrics in enumerate(found):
        if part := (metrics.get("detail") or {}).get("test_sha256"):
            by_part.setdefault(str(part), []).append(at)
    told = []
    for sharing in (places for places in by_part.values() if len(places) > 1):
        tests = [found[at]["test"] for at in sharing]
        times, choices = (
            max(len(sharing), *((test.get("reading") or {}).get(name, 1) for test in tests))
            for name in ("nth", "choices")
        )
        best = max(tests, key=lambda test: float(test["accuracy"]))
        told.append(
            {
                "runs": [names[at] for at in sharing],
                "rows": best["rows"],
                "times": times,
                "best_of": best_of(round(best["accuracy"] * best["rows"]), best["rows"], choices),
            }
        )
    return told


def _figures(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    test, seconds = metrics["test"], metrics.get("seconds") or {}
    figures = {key: test.get(key) for key in ("rows", "accuracy", "accuracy_interval", "macro_f1", "log_loss", "ece")}
    about = {key: metrics.get(key) for key in ("method", "depth", "precision", "bundle_bytes")}
    model = (metrics.get("model") or {}).get("name")
    speed = (metrics.get("detail") or {}).get("milliseconds_per_text")
    return {"run": name, "model": model, **about, **figures, "milliseconds": speed, "seconds": seconds.get("total")}


def _answers(folder: Path, metrics: Mapping[str, Any]) -> Answers | None:
    """What stands in predictions.jsonl; None where the run has none, as those of earlier versions."""
    file = folder / "predictions.jsonl"
    if not file.is_file():
        return None
    correct, shares, labels = [], [], list(metrics.get("labels") or [])
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            # Accuracies are those of the likeliest class; earlier versions wrote it as ``predicted``.
            correct.append(row["label"] == row.get("likeliest", row["predicted"]))
            shares.append(float(row["probabilities"][labels.index(row["label"])]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BundleError(f"{file}:{number}: is no answer of this run: {error}", hint="train again") from error
    if len(correct) != metrics["test"].get("rows"):
        raise BundleError(f"{file}: {len(correct)} rows, got {metrics['test'].get('rows')} in metrics.json")
    return Answers(correct=np.array(correct, dtype=np.bool_), losses=-np.log(np.maximum(shares, _SMALLEST)))


def _why_not(a: Mapping[str, Any], b: Mapping[str, Any], silent: Sequence[str]) -> str:
    """Why two runs cannot be paired, empty where they can."""
    if silent:
        return f"no predictions.jsonl in {', '.join(silent)}: made by an earlier version"
    ours, theirs = ((metrics.get("detail") or {}).get("test_sha256") for metrics in (a, b))
    if not ours or ours != theirs:
        return "the test rows differ, so the two cannot be paired: only their intervals can be set beside each other"
    return ""


def _tested(a: Answers, b: Answers) -> dict[str, Any]:
    p_value = mcnemar_p(a.correct, b.correct)
    only_a, only_b = int((a.correct & ~b.correct).sum()), int((b.correct & ~a.correct).sum())
    gap = a.losses - b.losses
    half = _Z * float(gap.std(ddof=1)) / len(gap) ** 0.5 if len(gap) > 1 else float("inf")
    mean = float(gap.mean())
    better = "not distinguishable" if p_value >= _LEVEL else ("a" if only_a > only_b else "b")
    return {
        "paired": True,
        "rows": len(gap),
        "only_a_right": only_a,
        "only_b_right": only_b,
        "p_value": p_value,
        "more_accurate": better,
        "log_loss_difference": mean,
        "log_loss_interval": None if half == float("inf") else [mean - half, mean + half],
    }
