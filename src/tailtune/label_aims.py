"""What is asked of labels of which a text can have several, met on held-out rows: calibration and thresholds.

The counterpart of ``tailtune.aims`` for one label per text. Knows nothing about models or texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tailtune.config import TrainConfig
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.calibration import Calibration, calibrate
from tailtune.evaluate.label_metrics import score_labels
from tailtune.evaluate.label_thresholds import HALFWAY, aimed_thresholds, f1_thresholds
from tailtune.label_rules import LabelRules, two_columns
from tailtune.labels import LabelSet
from tailtune.rules import Doubles, Indices

# A label with fewer held-out rows with it, or without it, is not calibrated unless a way is asked for.
FEWEST_ROWS = 10
# Settings that make sense for one label per text only, with the value that leaves each out, and what does the job.
_ONE_LABEL_ONLY = {
    "abstain": (None, "a threshold per label says which are given"),
    "costs": (None, "--min-precision and --max-false-positives hold for each label"),
    "balance": ("none", "thresholds are chosen for each label, rare ones too"),
    "positive": (None, "each label has a threshold of its own"),
    "prevalence": (None, ""),
    "measure_unused": (False, ""),
    "class_weights": (None, "thresholds are chosen for each label, rare ones too"),
    "loss": ("cross-entropy", ""),
    "label_smoothing": (0.0, ""),
    "folds": (None, ""),
    "out_of_scope": (False, ""),
    "relabel": (None, ""),
    "slice_by": (None, ""),
    "label_levels": (None, ""),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAims:
    """What was asked for.

    Attributes:
        config: The settings.
        labels: The labels.
    """

    config: TrainConfig
    labels: LabelSet

    def settle(self, probabilities: Doubles, truth: Indices, groups: Indices) -> LabelsSettled:
        """Return the calibration and the thresholds that these held-out rows support.

        Calibration and thresholds see the same rows: calibration has a few parameters per label at most.

        Args:
            probabilities: float [n, L] of the validation rows, as the classifier gives them; n may be 0.
            truth: 0/1 [n, L].
            groups: int [n], the same number for near-duplicates.
        """
        columns = zip(probabilities.T, truth.T, strict=True)
        found = [_calibrated(self.config, column, there, groups) for column, there in columns]
        plain = LabelRules.plain(len(found))
        rules = replace(plain, steps=tuple(each.step for each in found))
        rules = replace(rules, thresholds=self._thresholds(rules.apply(probabilities), truth))
        names = self.labels.names
        by_label = {
            name: {"threshold": rules.thresholds[at], "rows": int(truth[:, at].sum()), **_said(found[at])}
            for at, name in enumerate(names)
        }
        methods = [each.method for each in found]
        about = {
            "label_rules": {
                "rule": self._rule(len(truth)),
                "rows": len(truth),
                "calibrated": {name: methods.count(name) for name in sorted(set(methods))},
                "labels": by_label,
            }
        }
        return LabelsSettled(rules=rules, about=about, notes=_notes(about["label_rules"]))

    @property
    def aimed(self) -> bool:
        """Whether a share of false positives or a precision was asked for."""
        return self.config.max_false_positives is not None or self.config.min_precision is not None

    def _thresholds(self, fitted: Doubles, truth: Indices) -> tuple[float, ...]:
        if not self.aimed:
            return f1_thresholds(truth, fitted)
        bounds = {name: getattr(self.config, name) for name in ("max_false_positives", "min_precision")}
        return aimed_thresholds(truth, fitted, **bounds)

    def _rule(self, rows: int) -> str:
        """What the thresholds are, in words."""
        if self.aimed:
            aims = {"false positives at most": "max_false_positives", "precision at least": "min_precision"}
            values = {name: getattr(self.config, key) for name, key in aims.items()}
            said = " and ".join(f"{name} {100 * value:g} %" for name, value in values.items() if value is not None)
            return f"for each label the lowest threshold with {said} on the validation rows"
        if not rows:
            return "0.5 for each label: there are no validation rows"
        return (
            "for each label the threshold of best F1 on the validation rows, drawn towards the one of best micro F1 "
            f"over all labels where few rows have it ({HALFWAY} rows weigh as much as all labels together)"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelsSettled:
    """The rules that meet the aims, and how they were found.

    Attributes:
        rules: For the bundle.
        about: For metrics.json: ``label_rules``.
        notes: For people.
    """

    rules: LabelRules
    about: dict[str, Any]
    notes: tuple[str, ...]

    def score(self, raw: Doubles, truth: Indices, names: Sequence[str]) -> dict[str, Any]:
        """Return the scores of rows by these rules, for metrics.json.

        Args:
            raw: float [n, L] as the classifier gives them, n >= 1.
            truth: 0/1 [n, L].
            names: The labels.
        """
        rows = self.rules.apply(raw)
        return score_labels(truth, rows, self.rules.decide(rows), names)


def label_aims_of(config: TrainConfig, labels: LabelSet, *, validation: int) -> LabelAims:
    """Return what ``config`` asks of the labels, before anything is computed.

    Args:
        config: The settings.
        labels: The labels.
        validation: Validation rows.

    Raises:
        ConfigError: If a setting is for one label per text.
        DataError: If there are no validation rows for what is asked.
    """
    refuse_one_label_settings(config)
    aims = LabelAims(config=config, labels=labels)
    if aims.aimed and not validation:
        raise DataError("thresholds are chosen on validation rows, and there are none", hint="add rows")
    return aims


def refuse_one_label_settings(config: TrainConfig) -> None:
    """Refuse settings that make sense for one label per text only.

    Raises:
        ConfigError: It names the first.
    """
    if config.long == "windows":
        hint = "leave it away, or raise --max-tokens"
        raise ConfigError(
            "--long windows: these texts have lists of labels, and it is for one label per text", hint=hint
        )
    for name, (absent, instead) in _ONE_LABEL_ONLY.items():
        value = getattr(config, name)
        if value != absent:
            said = "" if value is True else f" {value:g}" if isinstance(value, float) else f" {value}"
            flag = f"--{name.replace('_', '-')}{said}"
            raise ConfigError(
                f"{flag}: these texts have lists of labels, and it is for one label per text",
                hint=instead or "leave it away",
            )


def _calibrated(config: TrainConfig, probabilities: Doubles, there: Indices, groups: Indices) -> Calibration:
    yes = int(there.sum())
    if min(yes, len(there) - yes) < FEWEST_ROWS and (config.calibration == "auto" or not 0 < yes < len(there)):
        reason = f"fewer than {FEWEST_ROWS} validation rows with it, or without"
        return Calibration(method="none", step=None, rows=len(there), reason=reason)
    rows = two_columns(probabilities)
    return calibrate(rows, there, groups, method=config.calibration, seed=config.seed)


def _said(calibration: Calibration) -> dict[str, Any]:
    step = calibration.step
    return {"calibration": calibration.method, "parameters": None if step is None else step.as_json()}


def _notes(about: dict[str, Any]) -> tuple[str, ...]:
    counts = ", ".join(f"{name} for {count}" for name, count in about["calibrated"].items())
    least = [each["threshold"] for each in about["labels"].values()]
    return (
        f"calibration: {counts} of {len(least)} labels, on {about['rows']} validation rows",
        f"thresholds from {min(least):.2f} to {max(np.minimum(least, 1)):.2f}: {about['rule']}",
    )
