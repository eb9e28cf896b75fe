"""From labelled texts to a run folder: read, split, tokens, backbone pass, method, bundle, and the test read once.

The part without files, for callers that hold their data, is ``tailtune.learn``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.aims import Settled, measure_spared
from tailtune.aims import judge as judge_rules
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.marks import marks_by_part
from tailtune.data.read import read_texts
from tailtune.data.split import (
    PARTS,
    Split,
    split_ids,
    without_unused,
)
from tailtune.drift import Answered, Reference
from tailtune.errors import ConfigError
from tailtune.evaluate.baselines import Baseline, score_baselines
from tailtune.evaluate.metrics import correct_rows
from tailtune.evaluate.verdict import judge, with_decided
from tailtune.examine import Tested, examine_scope, folds_of, tested
from tailtune.folds import cross_validate
from tailtune.label_aims import LabelsSettled
from tailtune.label_examine import TestedLabels, measure_labels
from tailtune.labels import SEVERAL
from tailtune.learn import Learnt, learn
from tailtune.ledger import SEEN, bundle_record, record, settings_hash, with_worth
from tailtune.methods.adapter import write_adapter
from tailtune.parts import describe_data, prepare
from tailtune.preparing import store_root
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.quoted import Quoted, quote
from tailtune.report.markdown import model_card, render_report
from tailtune.report.page import render_page
from tailtune.rivals import baselines_of, fetch_rivals
from tailtune.runs import Run, Stopwatch, new_folder, peak_rss_mib, versions
from tailtune.storage import canonical_json, folder_bytes, writing_folder
from tailtune.teaching import teach
from tailtune.tracking import record_of, required, tell


def train(
    config: TrainConfig,
    *,
    origins: Mapping[str, str] | None = None,
    command: str | None = None,
    swept: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    say: Say = ignore,
) -> Run:
    """Return the finished run: a classifier trained, tested once and saved in a new folder.

    Args:
        config: What to do.
        origins: Where each value of ``config`` came from; recorded.
        command: How it was asked for; recorded.
        swept: How a sweep chose the settings, where one did; recorded, and said in the report.
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
        fetch_rivals(config, progress=progress)
    for finding in dataset.findings:
        if finding.kind != "class_counts":
            say(finding.message)
    used, parts = without_unused(dataset, split)
    with store_root(keep=config.cache) as root:
        taught = teach(config, used, parts, watch=watch, progress=progress, say=say)
        about: Any = {"store": root, "watch": watch, "progress": progress, "say": say}
        learnt = learn(taught.dataset, taught.split, config, counts=dataset.counts, **about)
        metrics = {"data": describe_data(dataset, split), **_describe(config, parts, learnt)}
        asked = {"run": folder.name, "settings": settings_hash(config.as_json(), dataset.sha256)}
        results, part = _answered(config, (dataset, split), (used, parts), learnt, asked=asked, **about)
        with watch.stage("report"):
            metrics |= with_decided(results) | {"detail": part.detail(parts, learnt)}
            metrics |= examine_scope(parts, learnt, outside) | taught.tested(parts.test, learnt.ids[parts.test])
        quoted = (
            quote(part, used, parts, learnt, config, watch=watch, say=say)
            if isinstance(part, Tested)
            else Quoted(worst=part.worst())
        )
        metrics |= quoted.about
        if config.measure_unused and isinstance(learnt.settled, Settled):
            metrics |= _measure_unused(dataset, split, learnt, learnt.settled, watch=watch, progress=progress)
    metrics |= {"config": config.as_json(), "origins": dict(origins or {}), "command": command}
    metrics |= {} if swept is None else {"sweep": dict(swept)}
    seen = marks_by_part(taught.dataset.texts, {name: getattr(taught.split, name) for name in PARTS})
    rows = split_ids(dataset, split) | (folds_of(part) if isinstance(part, Tested) else {})
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
    file = Path(config.out_of_scope_texts)
    return read_texts(file, text_column=config.text_column, template=config.made_by, progress=progress).texts


def _describe(config: TrainConfig, split: Split, learnt: Learnt) -> dict[str, Any]:
    """What is known of the classifier before the test is read."""
    names = learnt.labels.names
    metrics: dict[str, Any] = {
        "model": learnt.model,
        "method": learnt.fitted.method,
        "requested_method": config.method,
        "depth": learnt.fitted.reads.depth,
        "cut": learnt.fitted.reads.wanted.depth,
        "blocks_total": learnt.blocks_total,
        "precision": learnt.precision,
        "depth_scan": learnt.scan.as_json() if learnt.scan else None,
        "pooling": learnt.fitted.reads.pooling,
        **({"trained": learnt.fitted.trained.as_json()} if learnt.fitted.trained else {}),
        "labels": list(names),
        **({"problem_type": SEVERAL} if learnt.labels.several else {}),
        **({"blend": learnt.blend} if learnt.blend else {}),
        "reason": learnt.fitted.reason,
        "choices": learnt.fitted.choices,
        "choice": dict(learnt.chosen.settings),
        **({} if learnt.chosen.ladder is None else {"ladder": learnt.chosen.ladder.as_json()}),
        "curves": learnt.fitted.curves,
        **({"learning_rate": learnt.fitted.rate.as_json()} if learnt.fitted.rate else {}),
        "tokens": learnt.tokens,
        "seed": config.seed,
    }
    if template := learnt.predictor.bundle.tokenizer.template:
        metrics["template"] = template.spelled
    if len(split.validation):
        held_out = split.validation
        metrics["validation"] = learnt.settled.score(learnt.raw(held_out), learnt.ids[held_out], names)
    return metrics | learnt.settled.about | _spread(learnt, split.validation)


def _spread(learnt: Learnt, held_out: NDArray[np.int64]) -> dict[str, Any]:
    """How the validation rows were answered, for those who watch the classifier in service; empty for too few rows."""
    rules = learnt.settled.rules
    rows = rules.apply(learnt.raw(held_out)) if len(held_out) else np.empty((0, len(learnt.labels)))
    lengths = learnt.windows.lengths[held_out]
    reference = Reference.of(Answered.of(learnt.labels.names, rows, rules.decide(rows), lengths))
    return {} if reference is None else {"drift": reference.as_json()}


def _answered(
    config: TrainConfig,
    whole: tuple[Dataset, Split],
    served: tuple[Dataset, Split],
    learnt: Learnt,
    *,
    store: Path,
    asked: Mapping[str, str],
    watch: Stopwatch,
    progress: Progress,
    say: Say,
) -> tuple[dict[str, Any], Tested | TestedLabels]:
    """The scores of rows that had no part in what answers them: of all rows in folds, or of the test part."""
    if config.folds:
        return cross_validate(
            *(config, whole[0], whole[1].groups, learnt),
            store=store,
            asked=asked,
            watch=watch,
            progress=progress,
            say=say,
        )
    return _test(config, *served, learnt, store=store, asked=asked, watch=watch, progress=progress, say=say)


def _test(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    *,
    store: Path,
    asked: Mapping[str, str],
    watch: Stopwatch,
    progress: Progress,
    say: Say,
) -> tuple[dict[str, Any], Tested | TestedLabels]:
    """Read the test part: everything is chosen by now, and nothing is changed after."""
    with watch.stage("baselines"):
        fitted = baselines_of(config, dataset, split, learnt, store=store, progress=progress)
    with watch.stage("test"):
        read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        say(f"everything is chosen; the test part ({len(split.test)} rows) is read now, {read_at}")
        texts, labels = ([values[row] for row in split.test] for values in (dataset.texts, dataset.labels))
        reading = record(texts, labels, date=read_at, purpose="train", **asked, say=say)
        settled = learnt.settled
        metrics, part = (
            measure_labels(dataset, split, learnt, settled, fitted, seed=config.seed)
            if isinstance(settled, LabelsSettled)
            else _measure(config, dataset, split, learnt, settled=settled, fitted=fitted)
        )
    metrics["test"] |= {"read_at": read_at, "reading": with_worth(reading, metrics["test"])}
    return metrics, part


def _measure(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    *,
    settled: Settled,
    fitted: Mapping[str, Baseline],
) -> tuple[dict[str, Any], Tested]:
    """The scores of the test part, where each text has one label; the counterpart of ``measure_labels``."""
    truth, names = learnt.ids[split.test], learnt.labels.names
    rows, judged = judge_rules(settled, learnt.raw(split.test), truth, names, seed=config.seed)
    results = score_baselines(fitted, [dataset.texts[row] for row in split.test], truth, names)
    metrics: dict[str, Any] = {**judged, "baselines": {name: result.as_json() for name, result in results.items()}}
    if results:
        baselines = {name: correct_rows(truth, result.probabilities) for name, result in results.items()}
        metrics["verdict"] = judge(correct_rows(truth, rows), baselines).as_json()
    return metrics, tested(dataset, split, learnt, (rows, settled.rules.decide(rows)), config)


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
            if metrics["config"]["keep_adapter"] and (trained := learnt.fitted.trained) and trained.adapter:
                write_adapter(trained.adapter, temporary / "adapter", model=learnt.model["name"])
        metrics["bundle_bytes"] = folder_bytes(temporary / "bundle")
        metrics |= {"peak_rss_mib": peak_rss_mib(), "seconds": watch.as_json()}
        events = [{"event": type(event).__name__.lower(), **asdict(event)} for event in learnt.events]
        files = {
            "metrics.json": canonical_json(metrics),
            "report.md": render_report(metrics),
            # Texts of users stand in these and nowhere else in a run; the bundle, which is passed on, has none.
            "report.html": render_page(metrics, quoted.worst, quoted.doubtful),
            **quoted.files,
            "predictions.jsonl": "".join(line + "\n" for line in part.lines()),
            "config.json": canonical_json({"config": metrics["config"], "origins": metrics["origins"]}),
            "split.json": canonical_json(dict(rows)),
            SEEN: json.dumps(seen) + "\n",
            "events.jsonl": "".join(json.dumps(event) + "\n" for event in events),
        }
        for name, content in files.items():
            (temporary / name).write_text(content, encoding="utf-8")
