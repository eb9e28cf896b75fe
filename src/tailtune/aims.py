"""What the answers are to achieve: read from the settings, checked against the labels, met on held-out rows.

Knows nothing about models or texts: it sees probabilities and true classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.class_values import CostTable, class_id, parse_prevalence, read_costs, shares_of
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
from tailtune.evaluate.shares import fitted_part
from tailtune.labels import LabelSet
from tailtune.report.losses import weights_line
from tailtune.rules import Abstain, Costs, Doubles, Indices, Rules, Scaling, Step, Threshold


@dataclass(frozen=True, kw_only=True, slots=True)
class Aims:
    """What was asked for.

    Attributes:
        config: The settings that it was read from.
        labels: The classes.
        threshold: Aim of a threshold for one class.
        costs: [C][C], what calling the first class by the second costs.
        shares: [C] class shares that the probabilities are for; None for those of the validation rows.
        trained_shares: [C] class shares that training saw, weights counted.
        weights: [C] class weights in training; None for equal ones.
    """

    config: TrainConfig
    labels: LabelSet
    threshold: Aim | None
    costs: CostTable | None
    shares: tuple[float, ...] | None
    trained_shares: tuple[float, ...]
    weights: tuple[float, ...] | None = None

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
        moved: From validation rows' probabilities [n, C] of another classifier of the same training rows, and their
            true classes [n], to the step that brings it to the class shares asked for; None where none were.
    """

    rules: Rules
    about: dict[str, Any]
    notes: tuple[str, ...]
    moved: Callable[[Doubles, Indices], Scaling] | None = None

    def score(self, raw: Doubles, true_ids: Indices, names: Sequence[str]) -> dict[str, Any]:
        """Return the scores of rows [n, C], n >= 1, by these rules, for metrics.json."""
        return score(true_ids, self.rules.apply(raw), names).as_json()


def aims_of(
    config: TrainConfig,
    labels: LabelSet,
    *,
    counts: Mapping[str, int],
    trained: Indices,
    validation: int,
    weights: Doubles | None = None,
) -> Aims:
    """Return what ``config`` asks of the answers, before anything is computed.

    Args:
        config: The settings.
        labels: The classes.
        counts: Class -> rows of the data before balancing.
        trained: [rows] class ids of the training rows.
        validation: Validation rows.
        weights: [C] class weights in training; None for equal ones.

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
    trained_shares = shares_of(rows if weights is None else rows * weights)
    return Aims(
        config=config,
        labels=labels,
        threshold=_threshold(config, labels, counts) if asks_threshold else None,
        costs=read_costs(Path(config.costs), labels) if config.costs else None,
        shares=parse_prevalence(config.prevalence, labels, counts) if config.prevalence else None,
        trained_shares=tuple(trained_shares.tolist()),
        weights=None if weights is None else tuple(weights.tolist()),
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
        return class_id(given, labels, "--positive")
    if len(labels) != 2:
        raise ConfigError(f"which of the {len(labels)} classes is the threshold for?", hint="name it: --positive NAME")
    return min(range(2), key=lambda number: counts.get(labels.names[number], 0))


def settle(aims: Aims, probabilities: Doubles, true_ids: Indices, groups: Indices) -> Settled:
    """Return the rules that meet ``aims`` on held-out rows.

    Class shares are corrected twice where training was balanced or weighed: to those of the validation rows before
    calibration, which is fitted to them, and after it to those asked for, or back to those that weights made: without
    the way there calibration would undo the weights. Calibration, threshold and promise see the same rows: a
    promise is exact for probabilities that do not depend on them, and calibration has a few parameters at most there.

    Args:
        aims: What was asked for.
        probabilities: float [n, C] of the validation rows, as the classifier gives them; n may be 0.
        true_ids: int [n].
        groups: int [n], the same number for near-duplicates.
    """
    config = aims.config
    here = (
        shares_of(np.bincount(true_ids, minlength=len(aims.labels))) if len(true_ids) else np.array(aims.trained_shares)
    )
    seen = _seen(aims, here, probabilities, true_ids)
    steps, calibration = _calibrated_steps(aims, probabilities, true_ids, groups, here=here, seen=seen)
    about: dict[str, Any] = {"calibration": calibration.as_json(), **_weights_told(aims, seen)}
    if aims.shares is not None:
        names = aims.labels.names
        about["prevalence"] = {
            "shares": dict(zip(names, aims.shares, strict=True)),
            "validation": dict(zip(names, here.tolist(), strict=True)),
        }
    rules = Rules(steps=steps)
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
    told = weights_line(about)
    notes = [*([told] if told else []), note_calibration(calibration), *_notes(aims, about)]
    moved = None if aims.shares is None else partial(_step_to_shares, aims, here)
    return Settled(rules=rules, about=about, notes=tuple(notes), moved=moved)


def _seen(aims: Aims, here: Doubles, probabilities: Doubles, true_ids: Indices) -> Doubles:
    """[C] class shares that these probabilities of the validation rows are for; ``here`` [C] are the rows' own."""
    trained = np.array(aims.trained_shares)
    if not len(true_ids):
        return trained
    if aims.weights is None:
        return trained if aims.config.balance == "undersample" else here
    away = np.log(trained / here)
    shares = here * np.exp(fitted_part(probabilities, true_ids, -away) * away)
    return np.asarray(shares / shares.sum())


def _step_to_shares(aims: Aims, here: Doubles, probabilities: Doubles, true_ids: Indices) -> Scaling:
    return _moved(_seen(aims, here, probabilities, true_ids), np.array(aims.shares))


def _calibrated_steps(
    aims: Aims, probabilities: Doubles, true_ids: Indices, groups: Indices, *, here: Doubles, seen: Doubles
) -> tuple[tuple[Step, ...], Calibration]:
    """The steps to the probabilities given out, and the calibration among them.

    ``here`` [C] are the class shares of the validation rows, ``seen`` [C] those that the probabilities are for.
    """
    config, wanted = aims.config, aims.shares
    if wanted is None and aims.weights is not None:
        wanted = tuple(seen.tolist())
    there = [_moved(seen, here)] if wanted is not None and len(true_ids) and not np.array_equal(seen, here) else []
    before = Rules(steps=tuple(there)).apply(probabilities)
    calibration = calibrate(before, true_ids, groups, method=config.calibration, seed=config.seed)
    if aims.shares is None and calibration.step is None:
        return (), calibration  # to the shares of the validation rows and back again is nothing
    fitted = [] if calibration.step is None else [calibration.step]
    onward = [] if wanted is None else [_moved(here, np.array(wanted))]
    return (*there, *fitted, *onward), calibration


def _weights_told(aims: Aims, seen: Doubles) -> dict[str, Any]:
    """Class weights, the class shares they make of the training rows, and those that probabilities turned out for."""
    if aims.weights is None:
        return {}
    named = {"weights": aims.weights, "training": aims.trained_shares, "shares": tuple(seen.tolist())}
    told: dict[str, Any] = {key: dict(zip(aims.labels.names, each, strict=True)) for key, each in named.items()}
    return {"class_weights": told | {"corrected": aims.shares is not None}}


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
