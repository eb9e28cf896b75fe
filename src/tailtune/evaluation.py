"""A saved classifier judged on labelled texts it has not been trained on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tailtune.aims import describe
from tailtune.data.catalog import open_dataset
from tailtune.data.check import check_dataset
from tailtune.errors import DataError
from tailtune.evaluate.decisions import measure_rules
from tailtune.evaluate.metrics import score
from tailtune.evaluate.reliability import calibration_intervals, reliability
from tailtune.predict import Predictor
from tailtune.progress import Progress, silent


def evaluate_bundle(
    path: str | Path,
    data: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return the scores of a saved classifier on labelled texts, as in metrics.json.

    Args:
        path: A bundle or a run folder.
        data: File or name of a data set.
        text_column: Column with the texts, found by its name when not given.
        label_column: Column with the labels, found by its name when not given.
        progress: Told tokens done.

    Raises:
        BundleError: If the bundle cannot be used.
        DataError: If the data cannot be read, or holds a label that the classifier does not know.
    """
    predictor = Predictor.load(path)
    dataset = open_dataset(data, text_column=text_column, label_column=label_column, progress=progress)
    if not len(dataset):
        raise DataError("no rows with a text", path=dataset.source)
    unknown = [row for row, label in enumerate(dataset.labels) if label not in predictor.labels]
    if unknown:
        first = unknown[0]
        raise DataError(
            f"row {dataset.rows[first]}: label {dataset.labels[first]!r} is unknown to the classifier "
            f"({len(unknown)} such rows); it knows {', '.join(map(repr, predictor.labels[:20]))}",
            path=dataset.source,
        )
    truth = predictor.bundle.labels.ids(dataset.labels)
    rules, rows = predictor.bundle.rules, predictor.predict_proba(dataset.texts, progress=progress)
    scores = score(truth, rows, predictor.labels)
    about, measured = describe(rules, predictor.labels), measure_rules(rules, rows, truth)
    return {
        **{part: {**about[part], "test": found} for part, found in measured.items()},
        "data": {
            "source": dataset.source,
            "sha256": dataset.sha256,
            "rows": len(dataset),
            "findings": [asdict(finding) for finding in check_dataset(dataset)],
        },
        "bundle": str(path),
        "labels": list(predictor.labels),
        "test": scores.as_json() | calibration_intervals(truth, rows) | {"reliability": reliability(truth, rows)},
    }
