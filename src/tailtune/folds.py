"""Every row tested once: classifiers made in the same way on all folds but one answer the rows of that one.

The features are those of the saved classifier's pass, so a fold costs its choices and fits. Knows nothing about files.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.aims import Settled
from tailtune.choosing import as_chosen
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.folds import draw_folds, fold_split
from tailtune.data.split import Split, without_unused
from tailtune.evaluate.baselines import BaselineResult, score_baselines
from tailtune.evaluate.decisions import measure_rules
from tailtune.evaluate.metrics import Scores, correct_rows, score
from tailtune.evaluate.reliability import calibration_intervals, reliability
from tailtune.evaluate.resampled import corrected_interval, summed
from tailtune.evaluate.verdict import judge
from tailtune.examine import Tested, sliced_by
from tailtune.labels import LabelSet
from tailtune.learn import Learnt, learn
from tailtune.ledger import record, with_worth
from tailtune.progress import Progress, Say, ignore
from tailtune.rivals import baselines_of
from tailtune.rules import Doubles, Indices
from tailtune.runs import Stopwatch

# Name -> the least and the most it can be.
MEASURES = {
    "accuracy": (0.0, 1.0),
    "macro_f1": (0.0, 1.0),
    "log_loss": (0.0, math.inf),
    "ece": (0.0, 1.0),
    "brier": (0.0, 1.0),
}
WHY = (
    "the interval of the test scores counts each row once (Wilson for the accuracy) and leaves out that other training "
    "rows would have made other classifiers: in simulated sets it held the truth in 92 to 95 of 100; the corrected "
    "interval of the mean over folds (Nadeau and Bengio 2003) in 97 to 99, about twice as wide"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """What one classifier said of the rows it had not seen.

    Attributes:
        rows: [n] positions in the data set, ascending.
        raw: float [n, C] probabilities as its scorer gives them.
        answers: float [n, C] after its rules.
        decided: int [n] ids of the labels given.
        lengths: int [n] tokens.
        longer: bool [n] whether a text was too long to be read at once.
        trained: Rows it learnt from and chose by.
        about: Method, depth, precision and calibration.
        measured: What its decision and its promise came to, as ``measure_rules`` has it.
        baselines: How those fared that were fitted on the same rows.
    """

    rows: Indices
    raw: Doubles
    answers: Doubles
    decided: Indices
    lengths: Indices
    longer: NDArray[np.bool_]
    trained: int
    about: dict[str, Any]
    measured: dict[str, dict[str, Any]]
    baselines: dict[str, BaselineResult]


def cross_validate(
    config: TrainConfig,
    dataset: Dataset,
    groups: Indices,
    saved: Learnt,
    *,
    store: Path,
    asked: Mapping[str, str],
    watch: Stopwatch,
    progress: Progress,
    say: Say,
) -> tuple[dict[str, Any], Tested]:
    """Return what goes into metrics.json for the test, and every row as it was answered out of fold.

    Args:
        config: What to do; ``folds`` says how many.
        dataset: All rows, those that balancing leaves out of training among them.
        groups: int64[rows] rows that stay together.
        saved: The classifier of all rows; its decision's words stand beside what the folds' own came to.
        store: Folder of the feature stores.
        asked: ``run`` and ``settings`` for the ledger.
        watch: Given the seconds.
        progress: Told how far long stages are.
        say: Told a line per fold.
    """
    assert config.folds is not None
    read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    say(f"the classifier to be saved is chosen; {len(dataset)} rows are tested in {config.folds} folds, {read_at}")
    reading = record(dataset.texts, dataset.labels, date=read_at, purpose="folds", **asked, say=say)
    labels = LabelSet.of(dataset.labels)
    truth, names = labels.ids(dataset.labels), labels.names
    fold = draw_folds(dataset, groups, folds=config.folds, seed=config.seed)
    # Within a time that was asked for the climb is not made again: the same rung is fitted on the rows of each fold.
    own = config if config.time is None else as_chosen(config, saved.chosen)
    folds, scores = [], []
    for number in range(config.folds):
        split = fold_split(dataset, groups, fold, number, seed=config.seed, balance=config.balance)
        with watch.stage("folds"):
            folds.append(_fold(own, dataset, split, truth, store=store, progress=progress))
        scores.append(score(truth[split.test], folds[-1].answers, names))
        say(_note(number, folds[-1], scores[-1], config.folds))
    raw, answers = (_joined(folds, [getattr(each, name) for each in folds]) for name in ("raw", "answers"))
    test = _pooled(answers, truth, names)
    results = {
        "test": {**test, "raw": _raw(raw, truth, names), "read_at": read_at, "reading": with_worth(reading, test)},
        "folds": _summary(folds, scores),
        **_measured(folds, saved),
    }
    if folds[0].baselines:
        results |= _beside(folds, truth, names, answers)
    part = Tested(
        rows=dataset.rows,
        texts=dataset.texts,
        truth=truth,
        probabilities=answers,
        decided=_joined(folds, [each.decided for each in folds]),
        lengths=_joined(folds, [each.lengths for each in folds]),
        longer=_joined(folds, [each.longer for each in folds]),
        names=tuple(names),
        folds=tuple((fold + 1).tolist()),
        columns=sliced_by(dataset, range(len(dataset)), dataset.texts, config),
    )
    return results, part


def _fold(
    config: TrainConfig, dataset: Dataset, split: Split, truth: Indices, *, store: Path, progress: Progress
) -> Fold:
    used, parts = without_unused(dataset, split)
    config = replace(config, out_of_scope=False)  # the saved classifier's alone
    learnt = learn(
        used,
        parts,
        config,
        store=store,
        watch=Stopwatch(),
        counts=Counter(dataset.labels),
        progress=progress,
        say=ignore,
    )
    raw = learnt.raw(parts.test)
    settled = learnt.settled
    assert isinstance(settled, Settled)  # of several labels per text no folds are made: see label_aims
    answers = settled.rules.apply(raw)
    fitted = baselines_of(config, used, parts, learnt, store=store, progress=progress)
    texts = [used.texts[row] for row in parts.test]
    return Fold(
        rows=split.test,
        raw=raw,
        answers=answers,
        decided=settled.rules.decide(answers),
        lengths=learnt.windows.lengths[parts.test],
        longer=learnt.windows.longer[parts.test],
        trained=len(parts.train) + len(parts.validation),
        about={
            "method": learnt.fitted.method,
            "depth": learnt.fitted.reads.depth,
            "precision": learnt.precision,
            "calibration": learnt.settled.about["calibration"]["method"],
        },
        measured=measure_rules(settled.rules, answers, truth[split.test]),
        baselines=score_baselines(fitted, texts, learnt.ids[parts.test], learnt.labels.names),
    )


def _note(number: int, fold: Fold, scores: Scores, of: int) -> str:
    made = f"{fold.about['method']} at depth {fold.about['depth']}" if fold.about["depth"] else fold.about["method"]
    return f"fold {number + 1} of {of}: {made}, {100 * scores.accuracy:.2f} % of {scores.rows:,} rows right"


def _joined(folds: Sequence[Fold], values: Sequence[Any]) -> Any:
    """The rows of all folds at their places in the data set."""
    places = np.concatenate([fold.rows for fold in folds])
    joined = np.concatenate(values)
    out = np.empty_like(joined)
    out[places] = joined
    return out


def _pooled(answers: Doubles, truth: Indices, names: Sequence[str]) -> dict[str, Any]:
    return {
        **score(truth, answers, names).as_json(),
        **calibration_intervals(truth, answers),
        "reliability": reliability(truth, answers),
    }


def _raw(raw: Doubles, truth: Indices, names: Sequence[str]) -> dict[str, Any]:
    before = _pooled(raw, truth, names)
    kept = ("accuracy", "log_loss", "ece", "brier", "ece_interval", "brier_interval", "reliability")
    return {name: before[name] for name in kept}


def _summary(folds: Sequence[Fold], scores: Sequence[Scores]) -> dict[str, Any]:
    """Means over the folds with corrected intervals, and how each fold came out."""
    ratio = _ratio(folds)
    measures = {}
    for name, within in MEASURES.items():
        values = [float(getattr(each, name)) for each in scores]
        bounds = corrected_interval(values, ratio, within=within)
        measures[name] = {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "interval": bounds}
    each = [
        {"fold": number, "rows": len(fold.rows), **{name: getattr(scored, name) for name in MEASURES}, **fold.about}
        for number, (fold, scored) in enumerate(zip(folds, scores, strict=True), start=1)
    ]
    return {"count": len(folds), "measures": measures, "each": each, "why": WHY}


def _ratio(folds: Sequence[Fold]) -> float:
    return float(np.mean([len(fold.rows) / fold.trained for fold in folds]))


def _measured(folds: Sequence[Fold], saved: Learnt) -> dict[str, Any]:
    """Decision and promise: the words of the saved classifier's, the counts of the folds' own added up."""
    weights = [len(fold.rows) for fold in folds]
    return {
        name: {**saved.settled.about[name], "test": summed([fold.measured[name] for fold in folds], weights)}
        for name in folds[0].measured
    }


def _beside(folds: Sequence[Fold], truth: Indices, names: Sequence[str], answers: Doubles) -> dict[str, Any]:
    """The baselines of all folds together, the verdict on all rows, and the difference fold by fold."""
    pooled = {name: _together(folds, name, truth, names) for name in folds[0].baselines}
    own = correct_rows(truth, answers)
    right = {name: correct_rows(truth, result.probabilities) for name, result in pooled.items()}
    verdict = judge(own, right)
    gaps = [float(np.mean(own[fold.rows])) - float(np.mean(right[verdict.against][fold.rows])) for fold in folds]
    return {
        "baselines": {name: result.as_json() for name, result in pooled.items()},
        "verdict": {**verdict.as_json(), "fold_interval": corrected_interval(gaps, _ratio(folds))},
    }


def _together(folds: Sequence[Fold], name: str, truth: Indices, names: Sequence[str]) -> BaselineResult:
    """One baseline on all rows: what the fits of all folds came to together."""
    results = [fold.baselines[name] for fold in folds]
    rows = _joined(folds, [result.probabilities for result in results])
    return BaselineResult(
        name=name,
        title=results[0].title,
        scores=score(truth, rows, names),
        seconds=sum(result.seconds for result in results),
        converged=all(result.converged for result in results),
        probabilities=rows,
    )
