"""A saved classifier judged on labelled texts it has not been trained on."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tailtune.aims import describe
from tailtune.bundle import Bundle
from tailtune.data.catalog import open_dataset
from tailtune.data.check import check_dataset
from tailtune.data.dataset import Dataset
from tailtune.data.groups import group_rows
from tailtune.data.several import ONE_NAME_OR_LIST, LabelForm
from tailtune.errors import DataError
from tailtune.evaluate.decisions import measure_rules
from tailtune.evaluate.label_intervals import Draws, scored_labels
from tailtune.evaluate.levels import level_scores
from tailtune.evaluate.metrics import score
from tailtune.evaluate.reliability import calibration_intervals, reliability
from tailtune.label_levels import levels_of
from tailtune.label_rules import LabelRules
from tailtune.labels import SEVERAL, LabelSet
from tailtune.ledger import overlap, record, settings_hash, with_worth
from tailtune.predict import Predictor
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.rules import Doubles, Indices, Rules


def evaluate_bundle(
    path: str | Path,
    data: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    form: LabelForm = ONE_NAME_OR_LIST,
    progress: Progress = silent,
    say: Say = ignore,
) -> dict[str, Any]:
    """Return the scores of a saved classifier on labelled texts, as in metrics.json.

    Args:
        path: A bundle or a run folder.
        data: File or name of a data set.
        text_column: Column with the texts, found by its name when not given.
        label_column: Column with the labels, found by its name when not given.
        form: How labels are written; lists of names are seen without being told.
        progress: Told tokens done.
        say: Told what people should know.

    Raises:
        BundleError: If the bundle cannot be used.
        DataError: If the data cannot be read, or holds a label that the classifier does not know.
    """
    predictor = Predictor.load(path)
    dataset = open_dataset(data, text_column=text_column, label_column=label_column, form=form, progress=progress)
    if not len(dataset):
        raise DataError("no rows with a text", path=dataset.source)
    _require_known(dataset, predictor.labels)
    truth = dataset.ids(predictor.bundle.labels)
    rows = predictor.predict_proba(dataset.texts, progress=progress)
    rules, names = predictor.bundle.rules, predictor.labels
    if isinstance(rules, LabelRules):
        scores = _of_labels(rules, rows, truth, names, groups=group_rows(dataset).ids)
    else:
        scores = _of_label(rules, rows, truth, predictor.bundle.labels)
    read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    reading = record(
        dataset.texts,
        dataset.labels,
        date=read_at,
        purpose="evaluate",
        run=_run_name(Path(path).resolve()),
        settings=_settings(predictor.bundle),
        say=say,
    )
    scores["test"] |= {"read_at": read_at, "reading": with_worth(reading, scores["test"])}
    return {
        **scores,
        "data": {
            "source": dataset.source,
            "sha256": dataset.sha256,
            "rows": len(dataset),
            "findings": [asdict(finding) for finding in check_dataset(dataset)],
        },
        "bundle": str(path),
        "labels": list(names),
        "overlap": overlap(Path(path), dataset.texts),
    }


def _require_known(dataset: Dataset, names: Sequence[str]) -> None:
    unknown = [row for row, own in enumerate(dataset.members) if not set(own) <= set(names)]
    if unknown:
        first = unknown[0]
        label = next(name for name in dataset.members[first] if name not in names)
        raise DataError(
            f"row {dataset.rows[first]}: label {label!r} is unknown to the classifier "
            f"({len(unknown)} such rows); it knows {', '.join(map(repr, names[:20]))}",
            path=dataset.source,
        )


def _of_label(rules: Rules, rows: Doubles, truth: Indices, labels: LabelSet) -> dict[str, Any]:
    names, levels = labels.names, level_scores(truth, rows, levels_of(labels))
    about, measured = describe(rules, names), measure_rules(rules, rows, truth)
    test = score(truth, rows, names).as_json() | calibration_intervals(truth, rows)
    return {
        **{part: {**about[part], "test": found} for part, found in measured.items()},
        "test": test | {"reliability": reliability(truth, rows)} | ({"levels": levels} if levels else {}),
    }


def _of_labels(
    rules: LabelRules, rows: Doubles, truth: Indices, names: Sequence[str], *, groups: Indices
) -> dict[str, Any]:
    return {
        "problem_type": SEVERAL,
        "thresholds": dict(zip(names, rules.thresholds, strict=True)),
        "test": scored_labels(truth, rows, rules.decide(rows), names, Draws.of(groups, seed=0)),
    }


def _run_name(folder: Path) -> str:
    return folder.parent.name if folder.name == "bundle" else folder.name


def _settings(bundle: Bundle) -> str:
    """What was tried: evaluating a run on its own test rows is no further choice."""
    own = bundle.about.get("reading")
    if isinstance(own, Mapping) and isinstance(own.get("settings"), str):
        return str(own["settings"])
    return settings_hash({"about": dict(bundle.about), "golden": [list(row) for _, row in bundle.golden]})
