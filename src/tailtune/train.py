"""From labelled texts to a run folder: read, split, tokens, backbone pass, method, bundle, and the test read once.

``learn`` is the part without files, for callers that hold their data; ``train`` is the whole of it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.bundle import Bundle
from tailtune.config import TrainConfig
from tailtune.data import catalog
from tailtune.data.chapter import chapter_split
from tailtune.data.check import check_dataset, require_trainable
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split, given_parts, leaked_test_rows, split_ids, without_unused
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.baselines import BaselineResult, fit_baselines, score_baselines
from tailtune.evaluate.metrics import correct_rows, score
from tailtune.evaluate.verdict import judge
from tailtune.features.backbone import Backbone, choose_device
from tailtune.features.store import Features, FeatureStore
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import probabilities, score_features
from tailtune.methods.tail import Epoch, Step, TailSettings
from tailtune.models.catalog import ResolvedModel, resolve
from tailtune.models.families import read_config
from tailtune.models.weights import fingerprint, load_decoder, read_json
from tailtune.predict import Predictor
from tailtune.progress import Progress, silent
from tailtune.report.markdown import model_card, render_report
from tailtune.runs import Run, Stopwatch, new_folder, peak_rss_mib, versions
from tailtune.storage import cache_home, canonical_json, writing_folder
from tailtune.text.tokenizer import Tokenizer, Tokens

Say = Callable[[str], None]
Event = Step | Epoch


def _ignore(note: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """A fitted classifier and how it came about; test labels have not been touched.

    Attributes:
        predictor: Ready to answer and to be saved.
        fitted: The choice and the way to it.
        features: Of all texts of the data set.
        labels: The classes.
        ids: [rows] class ids.
        events: Steps and epochs of a tail.
        model: Name, source and hash of the pretrained weights.
        blocks_total: Blocks of the pretrained model.
        tokens: Counts for metrics.json.
    """

    predictor: Predictor
    fitted: auto.Fitted
    features: Features
    labels: LabelSet
    ids: NDArray[np.int64]
    events: tuple[Event, ...]
    model: dict[str, str]
    blocks_total: int
    tokens: dict[str, int]


def train(
    config: TrainConfig,
    *,
    origins: Mapping[str, str] | None = None,
    command: str | None = None,
    progress: Progress = silent,
    say: Say = _ignore,
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
        if finding.kind != "classes":
            say(finding.message)
    used, parts = without_unused(dataset, split)
    with store_root(keep=config.cache) as root:
        learnt = learn(used, parts, config, store=root, watch=watch, progress=progress, say=say)
        metrics = {"data": _describe_data(dataset, split), **_describe(config, parts, learnt)}
        metrics |= _test(config, used, parts, learnt, watch=watch, progress=progress, say=say)
    metrics |= {"config": config.as_json(), "origins": dict(origins or {}), "command": command}
    with watch.stage("save"):
        _save(folder, metrics, learnt, split_ids(dataset, split), watch)
    return Run(folder=folder, metrics=metrics)


@contextlib.contextmanager
def store_root(*, keep: bool) -> Iterator[Path]:
    """Yield the folder of the feature stores: the one in the cache, or a temporary one when nothing is to be kept."""
    if keep:
        yield cache_home() / "features"
        return
    with tempfile.TemporaryDirectory(prefix="tailtune-features-") as temporary:
        yield Path(temporary)


def prepare(config: TrainConfig, progress: Progress = silent) -> tuple[Dataset, Split]:
    """Return the checked data and its split, as ``config`` asks for them.

    Raises:
        DataError: If the texts cannot be read, or no classifier can be trained on them.
        ConfigError: If flags contradict each other.
    """
    columns = {"text_column": config.text_column, "label_column": config.label_column}
    if config.recipe == "chapter":
        if config.validation or config.test:
            raise ConfigError("--recipe chapter makes its own split", hint="leave out --validation and --test")
        named = catalog.locate(config.data, progress)
        dataset, split = chapter_split(named.path, **columns, progress=progress)
        dataset = catalog.with_source(dataset, named)
    else:
        parts = [
            None if name is None else catalog.open_dataset(name, **columns, progress=progress)
            for name in (config.data, config.validation, config.test)
        ]
        assert parts[0] is not None
        dataset, split = given_parts(*parts, seed=config.seed, balance=config.balance)  # type: ignore[arg-type]
    require_trainable(dataset)
    _require_parts(dataset, split)
    return replace(dataset, findings=check_dataset(dataset)), split


def _require_parts(dataset: Dataset, split: Split) -> None:
    learnt = {dataset.labels[row] for row in split.train}
    if len(learnt) < 2:
        raise DataError(
            f"the training part holds {len(learnt)} class(es), expected at least two",
            path=dataset.source,
            hint="add rows that are not near-duplicates of each other",
        )
    if not len(split.test):
        raise DataError("no rows are left for the test part", path=dataset.source, hint="add rows, or give --test FILE")


def learn(
    dataset: Dataset,
    split: Split,
    config: TrainConfig,
    *,
    store: Path,
    watch: Stopwatch,
    progress: Progress = silent,
    say: Say = _ignore,
) -> Learnt:
    """Return a classifier fitted on the training rows and chosen on the held-out rows; labels of the test are not read.

    Args:
        dataset: The rows that serve a part; all of them go through the backbone.
        split: Which serve what; an empty test part is fine.
        config: What to do.
        store: Folder of the feature stores.
        watch: Given the seconds of each stage.
        progress: Told how far long stages are.
        say: Told what people should know.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with watch.stage("model"):
        model = resolve(config.model, progress=progress)
        shape = read_config(read_json(model.path / "config.json"))
        planned = auto.plan(config.method, config.depth, blocks=config.blocks, total=shape.blocks)
        weights = fingerprint(model.path)
        decoder = load_decoder(model.path, depth=max(*planned.depths, *planned.tails, planned.wanted.depth))
        backbone = Backbone(decoder, device=choose_device(config.device))
    with watch.stage("tokens"):
        tokenizer, tokens = _tokens(config, model, shape.context, dataset)
        _say_tokens(tokens, dataset, say)
    with watch.stage("backbone"):
        features = FeatureStore(store, {"weights": weights, "dtype": "float32"}).features(
            backbone, tokens, planned.wanted, progress=progress
        )
    say(_pass_note(features, planned))
    labels = LabelSet.of(dataset.labels)
    rows = _rows(labels.ids(dataset.labels), split, len(labels), balanced=config.balance == "weights")
    events: list[Event] = []
    with watch.stage("method"):
        fitted = auto.choose(
            planned,
            decoder,
            features,
            rows,
            pooling=config.pooling,
            settings=_tail_settings(config),
            progress=progress,
            happened=events.append,
        )
    say(f"chosen: {fitted.reason}")
    source = {"name": model.name, "source": model.source, "sha256": weights}
    bundle = Bundle(
        decoder=decoder.below(fitted.scorer.wanted.depth),
        scorer=fitted.scorer,
        tokenizer=tokenizer,
        labels=labels,
        about={"model": source, "data": {"source": dataset.source, "sha256": dataset.sha256}, "seed": config.seed},
    )
    return Learnt(
        predictor=Predictor(bundle, device=config.device),
        fitted=fitted,
        features=features,
        labels=labels,
        ids=rows.labels,
        events=tuple(events),
        model=source,
        blocks_total=shape.blocks,
        tokens=_token_counts(tokens, features),
    )


def _tokens(config: TrainConfig, model: ResolvedModel, context: int, dataset: Dataset) -> tuple[Tokenizer, Tokens]:
    if config.max_tokens is not None and config.max_tokens > context:
        raise ConfigError(f"--max-tokens {config.max_tokens}: the model reads at most {context} tokens")
    tokenizer = Tokenizer.load(model.path / "tokenizer.json", max_tokens=config.max_tokens or context)
    return tokenizer, tokenizer.encode(dataset.texts)


def _say_tokens(tokens: Tokens, dataset: Dataset, say: Say) -> None:
    cut = np.flatnonzero(tokens.truncated)
    if len(cut):
        named = ", ".join(str(dataset.rows[row]) for row in cut[:10]) + (", …" if len(cut) > 10 else "")
        say(f"{len(cut)} texts were longer than {int(tokens.lengths.max())} tokens and cut to that (rows {named})")


def _pass_note(features: Features, planned: auto.Plan) -> str:
    depth = planned.wanted.depth
    if not features.computed_texts:
        return f"backbone pass: nothing to compute, all {features.distinct_texts} distinct texts are in the store"
    return (
        f"backbone pass: computed {features.computed_texts} of {features.distinct_texts} distinct texts "
        f"({features.computed_tokens} tokens) through {depth} blocks"
    )


def _rows(ids: NDArray[np.int64], split: Split, classes: int, *, balanced: bool) -> Rows:
    return Rows(
        train=split.train,
        validation=split.validation,
        labels=ids,
        groups=split.groups,
        classes=classes,
        balanced=balanced,
    )


def _tail_settings(config: TrainConfig) -> TailSettings:
    return TailSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        warmup_fraction=config.warmup_fraction,
        schedule=config.schedule,
        patience=config.patience,
        seed=config.seed,
    )


def _token_counts(tokens: Tokens, features: Features) -> dict[str, int]:
    return {
        "texts": len(tokens),
        "distinct_texts": features.distinct_texts,
        "total": int(tokens.offsets[-1]),
        "computed": features.computed_tokens,
        "computed_texts": features.computed_texts,
        "longest": int(tokens.lengths.max()),
        "truncated_texts": int(tokens.truncated.sum()),
    }


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
        "pooling": config.pooling if learnt.fitted.method == "probe" else "last",
        "labels": list(names),
        "reason": learnt.fitted.reason,
        "choices": learnt.fitted.choices,
        "curves": learnt.fitted.curves,
        "tokens": learnt.tokens,
        "seed": config.seed,
    }
    if len(split.validation):
        rows = probabilities(score_features(learnt.fitted.scorer, learnt.features, split.validation))
        metrics["validation"] = score(learnt.ids[split.validation], rows, names).as_json()
    return metrics


def _test(
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    *,
    watch: Stopwatch,
    progress: Progress,
    say: Say,
) -> dict[str, Any]:
    """Read the test part: everything is chosen by now, and nothing is changed after."""
    results: dict[str, BaselineResult] = {}
    truth, names = learnt.ids[split.test], learnt.labels.names
    texts = [dataset.texts[row] for row in split.test]
    with watch.stage("baselines"):
        if config.baselines:
            fitted = fit_baselines(
                [dataset.texts[row] for row in split.train],
                learnt.ids[split.train],
                classes=len(names),
                weights="balanced" if config.balance == "weights" else None,
                seed=config.seed,
                progress=progress,
            )
            results = score_baselines(fitted, texts, truth, names)
    with watch.stage("test"):
        read_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        say(f"everything is chosen; the test part ({len(truth)} rows) is read now, {read_at}")
        rows = probabilities(score_features(learnt.fitted.scorer, learnt.features, split.test))
        scores = score(truth, rows, names).as_json()
    metrics: dict[str, Any] = {
        "test": {**scores, "read_at": read_at},
        "baselines": {name: result.as_json() for name, result in results.items()},
    }
    if results:
        baselines = {name: correct_rows(truth, result.probabilities) for name, result in results.items()}
        metrics["verdict"] = judge(correct_rows(truth, rows), baselines).as_json()
    return metrics


def _save(folder: Path, metrics: dict[str, Any], learnt: Learnt, rows: Mapping[str, Any], watch: Stopwatch) -> None:
    """Write the run folder, whole or not at all; adds versions, memory and seconds to ``metrics``."""
    metrics |= {"versions": versions()}
    with writing_folder(folder) as temporary:
        extra = {"metrics.json": canonical_json(metrics), "README.md": model_card(metrics)}
        learnt.predictor.save(temporary / "bundle", extra=extra)
        metrics |= {"peak_rss_mib": peak_rss_mib(), "seconds": watch.as_json()}
        events = [{"event": type(event).__name__.lower(), **asdict(event)} for event in learnt.events]
        files = {
            "metrics.json": canonical_json(metrics),
            "report.md": render_report(metrics),
            "config.json": canonical_json({"config": metrics["config"], "origins": metrics["origins"]}),
            "split.json": canonical_json(dict(rows)),
            "events.jsonl": "".join(json.dumps(event) + "\n" for event in events),
        }
        for name, content in files.items():
            (temporary / name).write_text(content, encoding="utf-8")
