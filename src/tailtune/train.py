"""From labelled texts to a run folder: read, split, tokens, backbone pass, method, bundle, and the test read once.

The part without files, for callers that hold their data, is ``tailtune.learn``.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.aims import judge as judge_rules
from tailtune.aims import measure_spared
from tailtune.config import TrainConfig
from tailtune.data import catalog
from tailtune.data.chapter import chapter_split
from tailtune.data.check import check_dataset, require_trainable
from tailtune.data.corrections import relabelled
from tailtune.data.dataset import Dataset
from tailtune.data.folds import split_for_folds
from tailtune.data.marks import marks_by_part
from tailtune.data.read import read_texts
from tailtune.data.scripts import require_languages
from tailtune.data.split import (
    PARTS,
    Split,
    given_parts,
    leaked_test_rows,
    split_ids,
    with_findings,
    without_unused,
)
from tailtune.data.timed import split_by_time
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.metrics import correct_rows, score
from tailtune.evaluate.verdict import judge
from tailtune.examine import Tested, examine, examine_scope, folds_of, prediction_lines, tested
from tailtune.folds import baselines_beside, cross_validate
from tailtune.learn import Learnt, learn, store_root
from tailtune.ledger import SEEN, bundle_record, record, settings_hash, with_worth
from tailtune.methods.scorers import probabilities, score_features
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.quoted import Quoted, quote
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.rules import Doubles, Indices
from tailtune.runs import Run, Stopwatch, new_folder, peak_rss_mib, versions
from tailtune.storage import canonical_json, folder_bytes, writing_folder
from tailtune.tracking import record_of, required, tell


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
    folder, trackers = new_folder(config.out, config.data), required(config.track)
    with watch.stage("read"):
        dataset, split = prepare(config, progress)
        outside = _outside(config, progress)
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
            counts=Counter(dataset.labels),
            progress=progress,
            say=say,
        )
        metrics = {"data": _describe_data(dataset, split), **_describe(config, parts, learnt)}
        asked = {"run": folder.name, "settings": settings_hash(config.as_json(), dataset.sha256)}
        if config.folds:
            results, part = cross_validate(
                *(config, dataset, split.groups, learnt),
                store=root,
                asked=asked,
                watch=watch,
                progress=progress,
                say=say,
            )
        else:
            results, part = _test(config, used, parts, learnt, asked=asked, watch=watch, progress=progress, say=say)
        with watch.stage("report"):
            metrics |= results | {"detail": examine(part, parts, learnt)}
            metrics |= examine_scope(parts, learnt, outside)
        quoted = quote(part, used, parts, learnt, config, watch=watch, say=say)
        metrics |= quoted.about
        if config.measure_unused:
            metrics |= _measure_unused(dataset, split, learnt, watch=watch, progress=progress)
    metrics |= {"config": config.as_json(), "origins": dict(origins or {}), "command": command}
    seen = marks_by_part(used.texts, {name: getattr(parts, name) for name in PARTS})
    rows = split_ids(dataset, split) | folds_of(part)
    _save(folder, metrics, learnt, rows, watch=watch, part=part, quoted=quoted, seen=seen)
    tell(trackers, record_of(folder, metrics, learnt.events), say)
    return Run(folder=folder, metrics=metrics)


def _outside(config: TrainConfig, progress: Progress) -> tuple[str, ...]:
    """Texts known to be of no class, where a file of them is given."""
    if config.out_of_scope_texts is None:
        return ()
    if not config.out_of_scope or config.folds:
        hint = "leave out --folds, or measure later" if config.folds else "add --out-of-scope"
        raise ConfigError("--out-of-scope-texts needs --out-of-scope and a test part", hint=hint)
    return read_texts(Path(config.out_of_scope_texts), text_column=config.text_column, progress=progress).texts


def prepare(config: TrainConfig, progress: Progress = silent) -> tuple[Dataset, Split]:
    """Return the checked data and its split, as ``config`` asks for them.

    Raises:
        DataError: If the texts cannot be read, or no classifier can be trained on them.
        ConfigError: If flags contradict each other.
    """
    _require_one_split(config)
    if config.slices_by_language:
        require_languages()
    dataset, split = (_chapter if config.recipe == "chapter" else _timed if config.time else _drawn)(config, progress)
    if config.relabel:
        dataset = relabelled(dataset, split, Path(config.relabel))
    require_trainable(dataset)
    _require_parts(dataset, split, config.folds)
    return replace(dataset, findings=check_dataset(dataset)), split


def _require_one_split(config: TrainConfig) -> None:
    """Refuse flags that ask for two splits at once."""
    given = {"--validation": config.validation, "--test": config.test, "--group": config.group, "--time": config.time}
    hash_split = config.split_by == "hash"
    elsewhere = [config.validation, config.test, config.time, hash_split, config.recipe == "chapter"]
    if config.folds and any(elsewhere):
        hint = "leave out --validation, --test, --time, --split-by hash and --recipe chapter, or --folds"
        raise ConfigError(f"--folds {config.folds} makes its own parts", hint=hint)
    if config.recipe == "chapter" and (named := [flag for flag, value in given.items() if value]):
        raise ConfigError("--recipe chapter makes its own split", hint=f"leave out {' and '.join(named)}")
    if config.recipe == "chapter" and config.slice_columns:
        raise ConfigError("--recipe chapter reads texts and labels alone", hint="leave out the columns of --slice-by")
    if config.recipe == "chapter" and hash_split:
        raise ConfigError("--recipe chapter makes its own split", hint="leave out --split-by hash")
    if config.time and (config.validation or config.test or hash_split):
        hint = "leave out --validation, --test and --split-by hash, or --time"
        raise ConfigError(f"--time {config.time} makes its own split", hint=hint)


def _read(config: TrainConfig, name: str, also: tuple[str | None, ...], progress: Progress) -> Dataset:
    others = tuple(dict.fromkeys(column for column in (*also, *config.slice_columns) if column))
    return catalog.open_dataset(
        name, text_column=config.text_column, label_column=config.label_column, others=others, progress=progress
    )


def _chapter(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    named = catalog.locate(config.data, progress)
    columns = {"text_column": config.text_column, "label_column": config.label_column}
    dataset, split = chapter_split(named.path, **columns, progress=progress)
    return catalog.with_source(dataset, named), split


def _timed(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    assert config.time is not None
    dataset = _read(config, config.data, (config.time, config.group), progress)
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
    dataset = _read(config, config.data, (config.group,), progress)
    validation, test = (
        None if name is None else _read(config, name, (), progress) for name in (config.validation, config.test)
    )
    if config.folds:
        require_trainable(dataset)
        return split_for_folds(
            dataset,
            folds=config.folds,
            seed=config.seed,
            balance=config.balance,
            alike=config.near_duplicates,
            group=config.group,
        )
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


def _require_parts(dataset: Dataset, split: Split, folds: int | None) -> None:
    learnt = {dataset.labels[row] for row in split.train}
    if len(learnt) < 2:
        raise DataError(
            f"the training part holds {len(learnt)} class(es), expected at least two",
            path=dataset.source,
            hint="add rows that are not near-duplicates of each other",
        )
    if not len(split.test) and not folds:
        hint = "add rows, give --test FILE, or set --near-duplicates marks"
        raise DataError("no rows are left for the test part", path=dataset.source, hint=hint)


def _describe_data(dataset: Dataset, split: Split) -> dict[str, Any]:
    counts = Counter(dataset.labels)
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
        "reason": learnt.fitted.reason,
        "choices": learnt.fitted.choices,
        "curves": learnt.fitted.curves,
        "tokens": learnt.tokens,
        "seed": config.seed,
    }
    if len(split.validation):
        rows = learnt.settled.rules.apply(_raw(learnt, split.validation))
        metrics["validation"] = score(learnt.ids[split.validation], rows, names).as_json()
    return metrics | learnt.settled.about


def _raw(learnt: Learnt, positions: Indices) -> Doubles:
    """Probabilities as the scorer gives them, before the rules."""
    return probabilities(score_features(learnt.fitted.scorer, learnt.features, positions))


def _test(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    *,
    asked: Mapping[str, str],
    watch: Stopwatch,
    progress: Progress,
    say: Say,
) -> tuple[dict[str, Any], Tested]:
    """Read the test part: everything is chosen by now, and nothing is changed after."""
    truth, names = learnt.ids[split.test], learnt.labels.names
    texts = [dataset.texts[row] for row in split.test]
    with watch.stage("baselines"):
        results = baselines_beside(config, dataset, split, learnt, progress=progress)
    with watch.stage("test"):
        read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        say(f"everything is chosen; the test part ({len(truth)} rows) is read now, {read_at}")
        labels = [dataset.labels[row] for row in split.test]
        reading = record(texts, labels, date=read_at, purpose="train", **asked, say=say)
        rows, judged = judge_rules(learnt.settled, _raw(learnt, split.test), truth, names, seed=config.seed)
    metrics: dict[str, Any] = {
        **judged,
        "test": {**judged["test"], "read_at": read_at, "reading": with_worth(reading, judged["test"])},
        "baselines": {name: result.as_json() for name, result in results.items()},
    }
    if results:
        baselines = {name: correct_rows(truth, result.probabilities) for name, result in results.items()}
        metrics["verdict"] = judge(correct_rows(truth, rows), baselines).as_json()
    return metrics, tested(dataset, split, learnt, rows, config)


def _measure_unused(
    dataset: Dataset, split: Split, learnt: Learnt, *, watch: Stopwatch, progress: Progress
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
    return {"unused": measure_spared(learnt.settled.rules, rows, truth, learnt.labels.names)}


def _save(
    folder: Path,
    metrics: dict[str, Any],
    learnt: Learnt,
    rows: Mapping[str, Any],
    *,
    watch: Stopwatch,
    part: Tested,
    seen: Mapping[str, Any],
    quoted: Quoted,
) -> None:
    """Write the run folder, whole or not at all; adds versions, memory and seconds to ``metrics``."""
    metrics |= {"versions": versions()}
    with writing_folder(folder) as temporary:
        extra = {"metrics.json": canonical_json(metrics), "README.md": model_card(metrics)}
        # Nearly all of saving is the bundle; the rest comes after the seconds are written down.
        with watch.stage("save"):
            learnt.predictor.save(temporary / "bundle", extra=extra, about={"reading": bundle_record(metrics)})
        metrics["bundle_bytes"] = folder_bytes(temporary / "bundle")
        metrics |= {"peak_rss_mib": peak_rss_mib(), "seconds": watch.as_json()}
        events = [{"event": type(event).__name__.lower(), **asdict(event)} for event in learnt.events]
        files = {
            "metrics.json": canonical_json(metrics),
            "report.md": render_report(metrics),
            # Texts of users stand in these and nowhere else in a run; the bundle, which is passed on, has none.
            "report.html": render_page(metrics, quoted.worst, quoted.doubtful),
            **quoted.files,
            "predictions.jsonl": "".join(line + "\n" for line in prediction_lines(part)),
            "config.json": canonical_json({"config": metrics["config"], "origins": metrics["origins"]}),
            "split.json": canonical_json(dict(rows)),
            SEEN: json.dumps(seen) + "\n",
            "events.jsonl": "".join(json.dumps(event) + "\n" for event in events),
        }
        for name, content in files.items():
            (temporary / name).write_text(content, encoding="utf-8")
