"""What the answers are to achieve: read from the settings, checked against the labels, met on held-out rows.

Knows nothing about models or texts: it sees probabilities and true classes.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.config import TrainConfig
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.calibration import Calibration, calibrate
from tailtune.evaluate.decisions import (
    NEVER,
    Aim,
    abstain_above,
    choose_threshold,
    counted,
    labels_from,
    measure_rules,
    rows_needed,
)
from tailtune.evaluate.metrics import score
from tailtune.evaluate.reliability import calibration_intervals, reliability
from tailtune.labels import LabelSet
from tailtune.rules import Abstain, Costs, Doubles, Indices, Rules, Scaling, Step, Threshold

CostTable = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Aims:
    """What was asked for.

    Attributes:
        config: The settings that it was read from.
        labels: The classes.
        threshold: Aim of a threshold for one class.
        costs: [C][C], what calling the first class by the second costs.
        shares: [C] class shares that the probabilities are for; None for those of the validation rows.
        trained_shares: [C] class shares that training saw.
    """

    config: TrainConfig
    labels: LabelSet
    threshold: Aim | None
    costs: CostTable | None
    shares: tuple[float, ...] | None
    trained_shares: tuple[float, ...]

    def settle(self, probabilities: Doubles, true_ids: Indices, groups: Indices) -> Settled:
        """Return the rules that meet them on held-out rows, see the function of this name."""
        return settle(self, probabilities, true_ids, groups)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """The rules that meet the aims, and how they were found.

    Attributes:
        rules: For the bundle.
        about: For metrics.json: calibration, and decision, abstain, prevalence where asked for.
        notes: For people.
    """

    rules: Rules
    about: dict[str, Any]
    notes: tuple[str, ...]

    def score(self, raw: Doubles, true_ids: Indices, names: Sequence[str]) -> dict[str, Any]:
        """Return the scores of rows [n, C], n >= 1, by these rules, for metrics.json."""
        return score(true_ids, self.rules.apply(raw), names).as_json()


def aims_of(
    config: TrainConfig, labels: LabelSet, *, counts: Mapping[str, int], trained: Indices, validation: int
) -> Aims:
    """Return what ``config`` asks of the answers, before anything is computed.

    Args:
        config: The settings.
        labels: The classes.
        counts: Class -> rows of the data before balancing.
        trained: [rows] class ids of the training rows.
        validation: Validation rows.

    Raises:
        ConfigError: If a name is no class, a file of costs cannot be read, or settings contradict each other.
        DataError: If there are too few validation rows for what is asked.
    """
    asks_threshold = config.max_false_positives is not None or config.min_precision is not None
    if asks_threshold and config.costs:
        raise ConfigError("a threshold and --costs contradict each other", hint="leave one of them out")
    if config.abstain is not None and config.prevalence is not None:
        raise ConfigError(
            "--abstain and --prevalence contradict each other: a promise needs validation rows like the texts to come",
            hint="leave one of them out",
        )
    _require_rows(config, validation, asks_threshold)
    rows = np.bincount(trained, minlength=len(labels))
    trained_shares = np.full(len(labels), 1 / len(labels)) if config.balance == "weights" else _shares(rows)
    return Aims(
        config=config,
        labels=labels,
        threshold=_threshold(config, labels, counts) if asks_threshold else None,
        costs=read_costs(Path(config.costs), labels) if config.costs else None,
        shares=parse_prevalence(config.prevalence, labels, counts) if config.prevalence else None,
        trained_shares=tuple(trained_shares.tolist()),
    )


def _require_rows(config: TrainConfig, validation: int, asks_threshold: bool) -> None:
    if asks_threshold and not validation:
        raise DataError("a threshold is chosen on validation rows, and there are none", hint="add rows")
    if config.abstain is not None and (needed := math.ceil(1 / config.abstain - 1e-9) - 1) > validation:
        raise DataError(
            f"--abstain {config.abstain:g} needs at least {needed} validation rows to promise that, got {validation}",
            hint="add rows, or promise less",
        )


def _threshold(config: TrainConfig, labels: LabelSet, counts: Mapping[str, int]) -> Aim:
    return Aim(
        positive=positive_class(config.positive, labels, counts),
        max_false_positives=config.max_false_positives,
        min_precision=config.min_precision,
    )


def positive_class(given: str | None, labels: LabelSet, counts: Mapping[str, int]) -> int:
    """Return the id of the class that is to be found: the one given, else the rarer one of two.

    Raises:
        ConfigError: If it is no class, or is not given and there are more than two.
    """
    if given is not None:
        return _class(given, labels, "--positive")
    if len(labels) != 2:
        raise ConfigError(f"which of the {len(labels)} classes is the threshold for?", hint="name it: --positive NAME")
    return min(range(2), key=lambda number: counts.get(labels.names[number], 0))


def _class(name: str, labels: LabelSet, where: str) -> int:
    if name not in labels.names:
        known = ", ".join(map(repr, labels.names[:20]))
        raise ConfigError(f"{where}: {name!r} is no class", hint=f"the classes are {known}")
    return labels.names.index(name)


def parse_prevalence(text: str, labels: LabelSet, counts: Mapping[str, int]) -> tuple[float, ...]:
    """Return [C] class shares: those given, the rest to the other classes in proportion to ``counts``.

    Args:
        text: "data", or shares such as spam=0.134,news=0.2.
        labels: The classes.
        counts: Class -> rows of the data before balancing.

    Raises:
        ConfigError: If it cannot be read, a name is no class, or a class is left without a share.
    """
    rows = np.array([counts.get(name, 0) for name in labels.names], dtype=np.float64)
    if text == "data":
        return tuple(_shares(rows).tolist())
    given: dict[int, float] = {}
    for part in text.split(","):
        name, _, share = part.rpartition("=")
        try:
            given[_class(name.strip(), labels, "--prevalence")] = float(share)
        except ValueError:
            raise ConfigError(f"--prevalence {part!r} is no share", hint="write it as spam=0.134") from None
    others = [number for number in range(len(labels)) if number not in given]
    left = 1 - sum(given.values())
    possible = all(share > 0 for share in given.values()) and (left > 0 if others else abs(left) < 1e-6)
    if not possible:
        raise ConfigError(f"--prevalence {text}: shares must be above 0 and leave some for the classes not named")
    shares = np.zeros(len(labels))
    shares[list(given)] = list(given.values())
    shares[others] = left * rows[others] / rows[others].sum()
    return tuple(shares.tolist())


def read_costs(path: Path, labels: LabelSet) -> CostTable:
    """Return [C][C] costs, true class by the class it is called; pairs not named cost 0 when right, else 1.

    Args:
        path: TOML with a table per true class (``[ham]`` and ``spam = 10``), or CSV with the columns true, predicted,
            cost.
        labels: The classes.

    Raises:
        ConfigError: If it cannot be read, names something else than a class, or a cost is no number.
    """
    costs = 1 - np.eye(len(labels))
    for true, predicted, cost in _cost_rows(path):
        pair = _class(true, labels, f"--costs {path}"), _class(predicted, labels, f"--costs {path}")
        try:
            costs[pair] = float(cost)
        except (TypeError, ValueError):
            raise ConfigError(f"--costs {path}: {cost!r} is no cost of {true!r} called {predicted!r}") from None
    if not np.isfinite(costs).all():
        raise ConfigError(f"--costs {path}: costs must be finite")
    return tuple(tuple(row) for row in costs.tolist())


def _cost_rows(path: Path) -> list[tuple[str, str, Any]]:
    hint = "TOML tables like [ham] with spam = 10, or CSV with the columns true, predicted, cost"
    try:
        if path.suffix.casefold() == ".toml":
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
            return [(true, predicted, cost) for true, row in tables.items() for predicted, cost in row.items()]
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [(row["true"], row["predicted"], row["cost"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError, KeyError, csv.Error) as error:
        raise ConfigError(f"--costs {path}: cannot be read as costs: {error}", hint=hint) from error


def _shares(rows: Indices | Doubles) -> Doubles:
    """Return [C] shares, half a row added to each class so that none is 0."""
    return np.asarray((rows + 0.5) / (rows + 0.5).sum())


def settle(aims: Aims, probabilities: Doubles, true_ids: Indices, groups: Indices) -> Settled:
    """Return the rules that meet ``aims`` on held-out rows.

    Class shares are corrected twice where training was balanced: to those of the validation rows before calibration,
    which is fitted to them, and to those asked for after it. Calibration, threshold and promise see the same rows: a
    promise is exact for probabilities that do not depend on them, and calibration has a few parameters at most there.

    Args:
        aims: What was asked for.
        probabilities: float [n, C] of the validation rows, as the classifier gives them; n may be 0.
        true_ids: int [n].
        groups: int [n], the same number for near-duplicates.
    """
    config = aims.config
    here = (
        _shares(np.bincount(true_ids, minlength=len(aims.labels))) if len(true_ids) else np.array(aims.trained_shares)
    )
    steps: list[Step] = []
    if aims.shares is not None and config.balance != "none" and len(true_ids):
        steps.append(_moved(np.array(aims.trained_shares), here))
    calibration = calibrate(
        Rules(steps=tuple(steps)).apply(probabilities), true_ids, groups, method=config.calibration, seed=config.seed
    )
    steps += [calibration.step] if calibration.step is not None else []
    about: dict[str, Any] = {"calibration": calibration.as_json()}
    if aims.shares is not None:
        steps.append(_moved(here, np.array(aims.shares)))
        names = aims.labels.names
        about["prevalence"] = {
            "shares": dict(zip(names, aims.shares, strict=True)),
            "validation": dict(zip(names, here.tolist(), strict=True)),
        }
    rules = Rules(steps=tuple(steps))
    fitted = rules.apply(probabilities)
    weights = None if aims.shares is None else (np.array(aims.shares) / here)[true_ids]
    rules = replace(rules, decision=_decision(aims, fitted, true_ids, weights))
    rules = replace(rules, abstain=_abstain(config.abstain, rules, fitted, true_ids))
    about |= describe(rules, aims.labels.names)
    if aims.threshold is not None:
        bounds = {name: getattr(aims.threshold, name) for name in ("max_false_positives", "min_precision")}
        about["decision"]["aims"] = {name: bound for name, bound in bounds.items() if bound is not None}
    if len(true_ids):
        for part, measured in measure_rules(rules, fitted, true_ids).items():
            about[part]["validation"] = measured
    notes = [note_calibration(calibration), *_notes(aims, about)]
    return Settled(rules=rules, about=about, notes=tuple(notes))


def _moved(old: Doubles, new: Doubles) -> Scaling:
    """The step from probabilities for class shares ``old`` to those for ``new``."""
    return Scaling(scale=(1.0,) * len(old), shift=tuple(np.log(new / old).tolist()))


def _decision(aims: Aims, fitted: Doubles, true_ids: Indices, weights: Doubles | None) -> Threshold | Costs | None:
    if aims.costs is not None:
        return Costs(costs=aims.costs)
    return None if aims.threshold is None else choose_threshold(fitted, true_ids, aims.threshold, weights)


def _abstain(error: float | None, rules: Rules, fitted: Doubles, true_ids: Indices) -> Abstain | None:
    if error is None:
        return None
    decided, rows = rules.decide(fitted), np.arange(len(true_ids))
    return Abstain(
        error=error,
        above=abstain_above(fitted[rows, decided], decided == true_ids, error),
        labels_from=labels_from(fitted[rows, true_ids], error),
    )


def describe(rules: Rules, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return decision and abstaining of ``rules``, as far as there are any, for metrics.json; ``names`` in id order."""
    about: dict[str, dict[str, Any]] = {}
    if rules.decision is not None:
        about["decision"] = {"rule": rules.decision.say(names), **rules.decision.as_json()}
        if isinstance(rules.decision, Threshold):
            about["decision"]["positive"] = names[rules.decision.positive]
    if rules.abstain is not None:
        promise = (
            f"of all texts like the validation rows, on average at most {100 * rules.abstain.error:g} % are answered "
            f"wrongly; of the label sets on average at least {100 * (1 - rules.abstain.error):g} % hold the true label"
        )
        about["abstain"] = {**rules.abstain.as_json(), "promise": promise}
    return about


def judge(
    settled: Settled, raw: Doubles, true_ids: Indices, names: Sequence[str], *, seed: int
) -> tuple[Doubles, dict[str, Any]]:
    """Return the probabilities given out for rows kept apart, and what they come to, for metrics.json.

    Args:
        settled: The rules and how they were found.
        raw: float [n, C] of the test rows, as the classifier gives them, n >= 1.
        true_ids: int [n].
        names: The classes, in id order.
        seed: Of the bootstrap.
    """
    rows = settled.rules.apply(raw)
    test = score(true_ids, rows, names).as_json() | _calibrated(true_ids, rows, seed)
    before = score(true_ids, raw, names).as_json()
    kept = {name: before[name] for name in ("accuracy", "log_loss", "ece", "brier")}
    judged: dict[str, Any] = {"test": {**test, "raw": kept | _calibrated(true_ids, raw, seed)}}
    for part, measured in measure_rules(settled.rules, rows, true_ids).items():
        judged[part] = {**settled.about[part], "test": measured}
    if aims := judged.get("decision", {}).get("aims"):
        judged["decision"]["test"]["holds"] = _holds(aims, judged["decision"]["test"])
    return rows, judged


def _calibrated(true_ids: Indices, rows: Doubles, seed: int) -> dict[str, Any]:
    return calibration_intervals(true_ids, rows, seed=seed) | {"reliability": reliability(true_ids, rows)}


def _holds(aims: Mapping[str, float], measured: Mapping[str, Any]) -> dict[str, bool]:
    """Whether the 95 % intervals of the test rows leave room for each aim."""
    holds = {}
    if (most := aims.get("max_false_positives")) is not None:
        interval = measured["false_positives"]["interval"]
        holds["max_false_positives"] = interval is None or interval[0] <= most
    if (least := aims.get("min_precision")) is not None:
        interval = measured["precision"]["interval"]
        holds["min_precision"] = interval is None or interval[1] >= least
    return holds


def measure_spared(rules: Rules, rows: Doubles, true_ids: Indices, names: Sequence[str]) -> dict[str, Any]:
    """Return how often rows that balancing spared training are called by a wrong class, and by which.

    Args:
        rules: Of the classifier.
        rows: float [n, C] probabilities after the steps of ``rules``, n >= 1.
        true_ids: int [n].
        names: The classes, in id order.
    """
    decided = rules.decide(rows)
    wrong = decided != true_ids
    called = {name: counted(int((wrong & (decided == number)).sum()), len(wrong)) for number, name in enumerate(names)}
    return {
        "rows": len(wrong),
        "wrong": counted(int(wrong.sum()), len(wrong)),
        "wrongly_called": {name: each for name, each in called.items() if each["count"]},
    }


def note_calibration(calibration: Calibration) -> str:
    """Return one line on what was done to the probabilities."""
    if calibration.step is None:
        return f"calibration: none ({calibration.reason}, {calibration.rows} rows)"
    gains = [one.gain for one in calibration.candidates if one.method == calibration.method]
    gain = f", held-out log loss lower by {gains[0]:.4f}" if gains else ""
    return f"calibration: {calibration.method} on {calibration.rows} validation rows{gain}"


def _notes(aims: Aims, about: Mapping[str, Any]) -> list[str]:
    """What a threshold can and cannot claim, in words."""
    if aims.threshold is None:
        return []
    decision, name = about["decision"], aims.labels.names[aims.threshold.positive]
    if decision["threshold"] == NEVER:
        return [f"decision: no threshold for {name} meets the aim on the validation rows, so it is never called"]
    measured = decision["validation"]["false_positives"]
    said = f"decision: {decision['rule']}; {measured['count']} false positives in {measured['of']} validation rows"
    aim = aims.threshold.max_false_positives
    if aim is None or measured["upper_bound"] is None or measured["upper_bound"] <= aim:
        return [said]
    return [
        f"{said}, which shows at most {100 * measured['upper_bound']:.2f} % with 95 % confidence; to show "
        f"{100 * aim:g} % takes {rows_needed(aim):,} rows without one"
    ]
