"""A saved classifier judged on labelled texts it has not been trained on."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tailtune.aims import describe
from tailtune.bundle import Bundle
from tailtune.data.catalog import open_dataset
from tailtune.data.check import check_dataset
from tailtune.errors import DataError
from tailtune.evaluate.decisions import measure_rules
from tailtune.evaluate.metrics import score
from tailtune.evaluate.reliability import calibration_intervals, reliability
from tailtune.ledger import overlap, record, settings_hash, with_worth
from tailtune.predict import Predictor
from tailtune.progress import Progress, Say, ignore, silent


def evaluate_bundle(
    path: str | Path,
    data: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    progress: Progress = silent,
    say: Say = ignore,
) -> dict[str, Any]:
    """Return the scores of a saved classifier on labelled texts, as in metrics.json.

    Args:
        path: A bundle or a run folder.
        data: File or name of a data set.
        text_column: Column with the texts, found by its name when not given.
        label_column: Column with the labels, found by its name when not given.
        progress: Told tokens done.
        say: Told what people should know.

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
    scores = score(truth, rows, predictor.labels).as_json()
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
        "overlap": overlap(Path(path), dataset.texts),
        "test": {
            **scores,
            **calibration_intervals(truth, rows),
            "reliability": reliability(truth, rows),
            "read_at": read_at,
            "reading": with_worth(reading, scores),
        },
    }


def _run_name(folder: Path) -> str:
    return folder.parent.name if folder.name == "bundle" else folder.name


def _settings(bundle: Bundle) -> str:
    """What was tried: evaluating a run on its own test rows is no further choice."""
    own = bundle.about.get("reading")
    if isinstance(own, Mapping) and isinstance(own.get("settings"), str):
        return str(own["settings"])
    return settings_hash({"about": dict(bundle.about), "golden": [list(row) for _, row in bundle.golden]})
