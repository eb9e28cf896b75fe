"""From labelled texts to a run folder: read, split, tokens, backbone pass, method, bundle, and the test read once.

The part without files, for callers that hold their data, is ``tailtune.learn``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.aims import Settled, measure_spared
from tailtune.aims import judge as judge_rules
from tailtune.config import TrainConfig
from tailtune.data import catalog
from tailtune.data.chapter import chapter_split
from tailtune.data.check import check_dataset, require_trainable
from tailtune.data.dataset import Dataset
from tailtune.data.several import LabelForm
from tailtune.data.split import Split, given_parts, leaked_test_rows, split_ids, with_findings, without_unused
from tailtune.data.timed import split_by_time
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.baselines import Baseline, fit_baselines, score_baselines
from tailtune.evaluate.metrics import correct_rows
from tailtune.evaluate.verdict import judge
from tailtune.examine import Tested, tested
from tailtune.label_aims import LabelsSettled, refuse_one_label_settings
from tailtune.label_examine import TestedLabels, measure_labels
from tailtune.labels import SEVERAL
from tailtune.learn import Learnt, Say, ignore, learn, store_root
from tailtune.progress import Progress, silent
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.runs import Run, Stopwatch, new_folder, peak_rss_mib, versions
from tailtune.storage import canonical_json, folder_bytes, writing_folder


def train(
    config: TrainConfig,
    *,
    origins: Mapping[str, str] | None = None,
    command: str | None = None,
    progress: Progress = silent,
    say: Say = ignore,
) -> Run:
    """Return the finished run: a classifier trained, tested once and saved in a new folder.

    Args:
        config: What to do.
        origins: Where each value of ``config`` came from; recorded.
        command: How it was asked for; recorded.
        progress: Told how far long stages are.
        say: Told what people should know, a line at a time.

    Raises:
        TailtuneError: By who must act; nothing half-written is left, features already computed are kept.
    """
    watch = Stopwatch()
    folder = new_folder(config.out, config.data)
    with watch.stage("read"):
        dataset, split = prepare(config, progress)
    for finding in dataset.findings:
        if finding.kind != "class_counts":
            say(finding.message)
    used, parts = without_unused(dataset, split)
    with store_root(keep=config.cache) as root:
        learnt = learn(
            used,
            parts,
            config,
            store=root,
            watch=watch,
            counts=dataset.counts,
            progress=progress,
            say=say,
        )
        metrics = {"data": _describe_data(dataset, split), **_describe(config, parts, learnt)}
        results, part = _test(config, used, parts, learnt, watch=watch, progress=progress, say=say)
        with watch.stage("report"):
            metrics |= results | {"detail": part.detail(parts, learnt, balanced=config.balance == "weights")}
        if config.measure_unused and isinstance(learnt.settled, Settled):
            metrics |= _measure_unused(dataset, split, learnt, learnt.settled, watch=watch, progress=progress)
    metrics |= {"config": config.as_json(), "origins": dict(origins or {}), "command": command}
    _save(folder, metrics, learnt, split_ids(dataset, split), watch=watch, part=part)
    return Run(folder=folder, metrics=metrics)


def prepare(config: TrainConfig, progress: Progress = silent) -> tuple[Dataset, Split]:
    """Return the checked data and its split, as ``config`` asks for them.

    Raises:
        DataError: If the texts cannot be read, or no classifier can be trained on them.
        ConfigError: If flags contradict each other.
    """
    _require_one_split(config)
    dataset, split = (_chapter if config.recipe == "chapter" else _timed if config.time else _drawn)(config, progress)
    require_trainable(dataset)
    _require_parts(dataset, split)
    return replace(dataset, findings=check_dataset(dataset)), split


def _require_one_split(config: TrainConfig) -> None:
    """Refuse flags that ask for two splits at once."""
    given = {"--validation": config.validation, "--test": config.test, "--group": config.group, "--time": config.time}
    hash_split = config.split_by == "hash"
    if config.recipe == "chapter" and (config.label_separator or config.label_columns):
        raise ConfigError("--recipe chapter is for one label per text", hint="leave the recipe away")
    if config.recipe == "chapter" and (named := [flag for flag, value in given.items() if value]):
        raise ConfigError("--recipe chapter makes its own split", hint=f"leave out {' and '.join(named)}")
    if config.recipe == "chapter" and hash_split:
        raise ConfigError("--recipe chapter makes its own split", hint="leave out --split-by hash")
    if config.time and (config.validation or config.test or hash_split):
        hint = "leave out --validation, --test and --split-by hash, or --time"
        raise ConfigError(f"--time {config.time} makes its own split", hint=hint)


def _read(config: TrainConfig, name: str, others: tuple[str, ...], progress: Progress) -> Dataset:
    read = catalog.open_dataset(
        name,
        text_column=config.text_column,
        label_column=config.label_column,
        others=others,
        form=LabelForm.given(config.label_separator, config.label_columns),
        progress=progress,
    )
    _refuse_for_lists(config, read)
    return read


def _refuse_for_lists(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse settings for one label per text before anything is computed of texts that can have several."""
    if dataset.sets is not None:
        refuse_one_label_settings(config)


def _chapter(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    named = catalog.locate(config.data, progress)
    columns = {"text_column": config.text_column, "label_column": config.label_column}
    dataset, split = chapter_split(named.path, **columns, progress=progress)
    _refuse_for_lists(config, dataset)
    return catalog.with_source(dataset, named), split


def _timed(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    assert config.time is not None
    dataset = _read(config, config.data, (config.time, *([config.group] if config.group else [])), progress)
    require_trainable(dataset)
    split = split_by_time(
        dataset,
        config.time,
        seed=config.seed,
        balance=config.balance,
        alike=config.near_duplicates,
        group=config.group,
    )
    return with_findings(dataset, split), split


def _drawn(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    """The split drawn from one file, or the parts that were given."""
    dataset = _read(config, config.data, (config.group,) if config.group else (), progress)
    parts = (config.validation, config.test)
    if parts == (None, None) and config.split_by != "hash":
        parts = catalog.published_parts(config.data)
    validation, test = (None if name is None else _read(config, name, (), progress) for name in parts)
    if config.split_by == "hash":
        require_trainable(dataset)  # said before what the hash makes of too few rows
    return given_parts(
        dataset,
        validation,
        test,
        seed=config.seed,
        balance=config.balance,
        alike=config.near_duplicates,
        group=config.group,
        by=config.split_by,
    )


def _require_parts(dataset: Dataset, split: Split) -> None:
    members = dataset.members
    learnt = {name for row in split.train for name in members[row]}
    if dataset.sets is None and len(learnt) < 2:
        raise DataError(
            f"the training part holds {len(learnt)} class(es), expected at least two",
            path=dataset.source,
            hint="add rows that are not near-duplicates of each other",
        )
    if not len(split.test):
        hint = "add rows, give --test FILE, or set --near-duplicates marks"
        raise DataError("no rows are left for the test part", path=dataset.source, hint=hint)


def _describe_data(dataset: Dataset, split: Split) -> dict[str, Any]:
    counts = dataset.counts
    return {
        "source": dataset.source,
        "sha256": dataset.sha256,
        "rows": len(dataset),
        "classes": {name: counts[name] for name in dataset.classes},
        "split": split.kind,
        "parts": {name: len(getattr(split, name)) for name in ("train", "validation", "test", "unused")},
        "duplicates": len(dataset) - len(np.unique(split.groups)),
        "leaked_test_rows": leaked_test_rows(dataset, split),
        "findings": [asdict(finding) for finding in dataset.findings],
    }


def _describe(config: TrainConfig, split: Split, learnt: Learnt) -> dict[str, Any]:
    """What is known of the classifier before the test is read."""
    names = learnt.labels.names
    metrics: dict[str, Any] = {
        "model": learnt.model,
        "method": learnt.fitted.method,
        "requested_method": config.method,
        "depth": learnt.fitted.scorer.depth,
        "cut": learnt.fitted.scorer.wanted.depth,
        "blocks_total": learnt.blocks_total,
        "precision": learnt.precision,
        "depth_scan": learnt.scan.as_json() if learnt.scan else None,
        "pooling": config.pooling if learnt.fitted.method == "probe" else "last",
        "labels": list(names),
        **({"problem_type": SEVERAL} if learnt.labels.several else {}),
        "reason": learnt.fitted.reason,
        "choices": learnt.fitted.choices,
        "curves": learnt.fitted.curves,
        "tokens": learnt.tokens,
        "seed": config.seed,
    }
    if len(split.validation):
        held_out = split.validation
        metrics["validation"] = learnt.settled.score(learnt.raw(held_out), learnt.ids[held_out], names)
    return metrics | learnt.settled.about


def _test(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    *,
    watch: Stopwatch,
    progress: Progress,
    say: Say,
) -> tuple[dict[str, Any], Tested | TestedLabels]:
    """Read the test part: everything is chosen by now, and nothing is changed after."""
    fitted: dict[str, Baseline] = {}
    with watch.stage("baselines"):
        if config.baselines:
            fitted = fit_baselines(
                [dataset.texts[row] for row in split.train],
                learnt.ids[split.train],
                classes=len(learnt.labels),
                weights="balanced" if config.balance == "weights" else None,
                seed=config.seed,
                progress=progress,
            )
    with watch.stage("test"):
        read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        say(f"everything is chosen; the test part ({len(split.test)} rows) is read now, {read_at}")
        settled = learnt.settled
        metrics, part = (
            measure_labels(dataset, split, learnt, settled, fitted, seed=config.seed)
            if isinstance(settled, LabelsSettled)
            else _measure(dataset, split, learnt, settled, fitted, seed=config.seed)
        )
    metrics["test"]["read_at"] = read_at
    return metrics, part


def _measure(
    dataset: Dataset, split: Split, learnt: Learnt, settled: Settled, fitted: Mapping[str, Baseline], *, seed: int
) -> tuple[dict[str, Any], Tested]:
    """The scores of the test part, where each text has one label; the counterpart of ``measure_labels``."""
    truth, names = learnt.ids[split.test], learnt.labels.names
    rows, judged = judge_rules(settled, learnt.raw(split.test), truth, names, seed=seed)
    results = score_baselines(fitted, [dataset.texts[row] for row in split.test], truth, names)
    metrics: dict[str, Any] = {**judged, "baselines": {name: result.as_json() for name, result in results.items()}}
    if results:
        baselines = {name: correct_rows(truth, result.probabilities) for name, result in results.items()}
        metrics["verdict"] = judge(correct_rows(truth, rows), baselines).as_json()
    return metrics, tested(dataset, split, learnt, rows)


def _measure_unused(
    dataset: Dataset, split: Split, learnt: Learnt, settled: Settled, *, watch: Stopwatch, progress: Progress
) -> dict[str, Any]:
    """Errors on the rows that undersampling left out, near-duplicates of training rows aside.

    Only when asked: they are no test part, and cost a backbone pass of their own (the chapter's 4,078 rows are three
    times those that are used).
    """
    spared = split.unused[~np.isin(split.groups[split.unused], split.groups[split.train])]
    if not len(spared):
        return {}
    with watch.stage("unused"):
        rows = learnt.predictor.predict_proba([dataset.texts[row] for row in spared], progress=progress)
    truth = learnt.labels.ids(dataset.labels[row] for row in spared)
    return {"unused": measure_spared(settled.rules, rows, truth, learnt.labels.names)}


def _save(
    folder: Path,
    metrics: dict[str, Any],
    learnt: Learnt,
    rows: Mapping[str, Any],
    *,
    watch: Stopwatch,
    part: Tested | TestedLabels,
) -> None:
    """Write the run folder, whole or not at all; adds versions, memory and seconds to ``metrics``."""
    metrics |= {"versions": versions()}
    with writing_folder(folder) as temporary:
        extra = {"metrics.json": canonical_json(metrics), "README.md": model_card(metrics)}
        # Nearly all of saving is the bundle; the rest comes after the seconds are written down.
        with watch.stage("save"):
            learnt.predictor.save(temporary / "bundle", extra=extra)
        metrics["bundle_bytes"] = folder_bytes(temporary / "bundle")
        metrics |= {"peak_rss_mib": peak_rss_mib(), "seconds": watch.as_json()}
        events = [{"event": type(event).__name__.lower(), **asdict(event)} for event in learnt.events]
        files = {
            "metrics.json": canonical_json(metrics),
            "report.md": render_report(metrics),
            # Texts of users stand here and nowhere else in a run; the bundle, which is passed on, has none.
            "report.html": render_page(metrics, part.worst()),
            "predictions.jsonl": "".join(line + "\n" for line in part.lines()),
            "config.json": canonical_json({"config": metrics["config"], "origins": metrics["origins"]}),
            "split.json": canonical_json(dict(rows)),
            "events.jsonl": "".join(json.dumps(event) + "\n" for event in events),
        }
        for name, content in files.items():
            (temporary / name).write_text(content, encoding="utf-8")
