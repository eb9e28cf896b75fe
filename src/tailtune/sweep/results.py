"""What a sweep came to: its trials as a table, the best settings as a file that train reads, what the best is worth."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailtune.config import TrainConfig, settings
from tailtune.evaluate.selection import best_of_rows
from tailtune.resolving import Resolved
from tailtune.sweep.judging import SMALLER_IS_BETTER, Judged, Objective
from tailtune.sweep.space import IDLE, Space
from tailtune.sweep.study import Study, Trial

# fANOVA's trees need some trials to tell settings apart.
FEWEST_FOR_IMPORTANCE = 8
# What best.toml leaves to the one who trains: where the run lies and what this machine does.
_OWN = ("out", "quiet", "threads", "device", "cache", "track")


def summary(
    study: Study, space: Space, resolved: Resolved, *, objective: Objective, groups: Any, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all that is told of a sweep, ready for JSON.

    Args:
        study: Open.
        space: What was varied.
        resolved: What was not.
        objective: What was judged by.
        groups: [validation rows] group ids.
        about: What else is known: data, study, rows.

    Returns:
        ``trials``, ``counts`` by state, ``given`` (nothing varied), ``best``, ``settings_compared``, ``worth`` (of the
        best, corrected for having been chosen), ``importance``, the space and the settings that were fixed.
    """
    trials, given = study.trials(), study.given
    complete = [trial for trial in trials if trial.judged is not None and trial.judged.state == "complete"]
    best = _best(complete, given, objective)
    return {
        **about,
        "objective": objective,
        "smaller_is_better": SMALLER_IS_BETTER[objective],
        "space": {name: domain.as_json() for name, domain in space.items()},
        "fixed": toml_values(resolved, {}),
        "trials": [_row(trial) for trial in trials],
        "counts": dict(Counter("interrupted" if t.judged is None else t.judged.state for t in trials)),
        "given": None if given is None else _told(given),
        "best": best,
        "settings_compared": len(complete) + (given is not None and given.state == "complete"),
        "worth": _worth(complete, given, objective, groups, seed=resolved.config.seed),
        "importance": _importance(study, complete, objective),
        "test_read": False,
    }


def best_config(config: TrainConfig, best: Mapping[str, Any]) -> TrainConfig:
    """Return ``config`` with the varied settings of ``best``."""
    from dataclasses import replace

    return replace(config, **best["varied"])


def toml_values(resolved: Resolved, varied: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given by flag or file, and those ``varied``: name -> value."""
    told = {
        name: getattr(resolved.config, name)
        for name, origin in resolved.origins.items()
        if origin != "default" and not origin.startswith("recipe ") and name not in _OWN
    }
    return told | dict(varied)


def best_toml(resolved: Resolved, result: Mapping[str, Any]) -> str:
    """Return best.toml: ``tailtune train --config best.toml`` trains with the best settings."""
    best = result["best"]
    value = f"{result['objective']} {best['scores'][result['objective']]:.6g}"
    among = f"{result['settings_compared']} settings by a sweep on validation"
    where = "nothing varied" if best["trial"] is None else f"trial {best['trial']}"
    lines = [f"# The best of {among}: {where}, {value} there, which flatters. The test part was not read."]
    for name, each in toml_values(resolved, best["varied"]).items():
        if each is None and (str in settings()[name].types or not settings()[name].optional):
            continue
        lines.append(f"{name.replace('_', '-')} = {_toml(each)}")
    return "\n".join(lines) + "\n"


def trials_csv(result: Mapping[str, Any]) -> str:
    """Return trials.csv: a row per trial, a column per setting that was varied."""
    file = io.StringIO()
    scores = ("log-loss", "accuracy", "macro-f1")
    varied = list(result["space"])
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("trial", "state", *scores, *varied, "steps", "seconds", "reason"))
    for trial in result["trials"]:
        writer.writerow(
            (
                *(trial["trial"], trial["state"]),
                *(trial["scores"].get(name, "") for name in scores),
                *(_shown(trial["varied"].get(name, "")) for name in varied),
                *(trial["steps"], round(trial["seconds"], 3), trial["reason"]),
            )
        )
    return file.getvalue()


def swept(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run trained with the best settings records of the sweep: ``sweep`` of its metrics.json."""
    keys = ("study", "objective", "counts", "worth", "best")
    return {
        "settings": result["settings_compared"],
        "varied": list(result["space"]),
        "chosen_on": "validation",
        **{key: result[key] for key in keys},
    }


def _best(complete: Sequence[Trial], given: Judged | None, objective: Objective) -> dict[str, Any] | None:
    """The best settings; of equal ones the first, and what there was before any trial."""
    entries: list[tuple[int | None, dict[str, Any], Judged]] = []
    if given is not None and given.state == "complete":
        entries.append((None, {}, given))
    entries += [(trial.number, trial.varied, trial.judged) for trial in complete if trial.judged is not None]
    if not entries:
        return None
    sign = 1 if SMALLER_IS_BETTER[objective] else -1
    number, varied, judged = min(entries, key=lambda entry: sign * entry[2].scores[objective])
    return {"trial": number, "varied": varied, **_told(judged)}


def _worth(
    complete: Sequence[Trial], given: Judged | None, objective: Objective, groups: Any, *, seed: int
) -> dict[str, Any] | None:
    """The best one's score without what it owes to having been chosen by these rows; None where no mean of rows."""
    before = [given] if given is not None and given.state == "complete" else []
    judged = [*before, *(trial.judged for trial in complete if trial.judged is not None)]
    rows = [each.rows for each in judged if each.rows is not None]
    if len(rows) < 2 or len(rows) < len(judged):
        return None
    found = best_of_rows(np.stack(rows), groups, smaller=SMALLER_IS_BETTER[objective], seed=seed)
    if found is not None and not before:
        found = {key: value for key, value in found.items() if not key.startswith("gain")}
    return found


def _importance(study: Study, complete: Sequence[Trial], objective: Objective) -> dict[str, Any] | None:
    """How much each setting matters, over the largest set of trials that vary the same ones."""
    sets = Counter(tuple(trial.varied) for trial in complete)
    if not sets:
        return None
    names, count = sets.most_common(1)[0]
    alike = [trial for trial in complete if tuple(trial.varied) == names]
    values = {trial.judged.scores[objective] for trial in alike if trial.judged is not None}
    if count < FEWEST_FOR_IMPORTANCE or len(values) < 2:
        return None
    shares = study.importance([trial.number for trial in alike])
    return {"trials": count, "shares": {name: float(shares[name]) for name in sorted(shares, key=lambda n: -shares[n])}}


def _told(judged: Judged) -> dict[str, Any]:
    return {
        "state": judged.state,
        "scores": judged.scores,
        "chosen": judged.chosen,
        "reason": judged.reason,
        "steps": judged.steps,
        "seconds": judged.seconds,
    }


def _row(trial: Trial) -> dict[str, Any]:
    interrupted = {"state": "interrupted", "scores": {}, "chosen": {}, "reason": "", "steps": 0, "seconds": 0.0}
    told = interrupted if trial.judged is None else _told(trial.judged)
    return {"trial": trial.number, "varied": trial.varied, **told, "losses": trial.losses}


def _shown(value: Any) -> Any:
    return "none" if value is None else value


def _toml(value: Any) -> str:
    """One value as TOML; its strings are escaped as JSON's are."""
    if value is None:
        return '"none"'
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def made_with(served: str, space: Space, resolved: Resolved, objective: Objective) -> dict[str, Any]:
    """Return what must stay the same for trials to be comparable: name -> value.

    Args:
        served: Hash of texts, labels and parts.
        space: What is varied.
        resolved: What is not.
        objective: What is judged by.
    """
    idle = IDLE.union(_OWN, space)
    fixed = {name: value for name, value in resolved.config.as_json().items() if name not in idle}
    varied = {f"space of {name}": domain.as_json() for name, domain in space.items()}
    return {"texts": served, "objective": objective, **fixed, **varied}
