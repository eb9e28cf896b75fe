"""From checked, split texts to a fitted classifier: tokens, backbone pass, method.

Reads no file of texts and writes no run.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.aims import Aims, Settled, aims_of
from tailtune.bundle import Bundle
from tailtune.class_values import class_weights
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.errors import ConfigError
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.features.store import Features
from tailtune.label_aims import LabelAims, LabelsSettled, label_aims_of
from tailtune.label_rules import AnyRules
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.familiar import fit_scope, require_rows
from tailtune.methods.losses import Objective
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Limits, Scan, scan
from tailtune.methods.scope import Scope
from tailtune.methods.scorers import Pooling, pooling_of, probabilities, score_features
from tailtune.methods.tail import Epoch, Step, TailSettings
from tailtune.models.int8 import Precision
from tailtune.models.parts import load_part, read_shape
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint
from tailtune.predict import Predictor
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.reading import Reading, long_note, pass_note, read, token_counts
from tailtune.report.losses import loss_line
from tailtune.rules import Doubles
from tailtune.runs import Stopwatch
from tailtune.settings import parse_milliseconds
from tailtune.storage import cache_home, parse_bytes, read_json

Event = Step | Epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """A fitted classifier and how it came about; test labels have not been touched.

    Attributes:
        predictor: Ready to answer and to be saved.
        fitted: The choice and the way to it.
        features: Of all texts of the data set.
        pooling: Which tokens a probe reads.
        labels: The classes.
        ids: [rows] class ids, or [rows, C] 0/1 where a text can have several.
        weights: [C] weights of the classes in what was fitted; None for equal ones.
        events: Steps and epochs of a tail.
        model: Name, source and hash of the pretrained weights.
        precision: Of the frozen products.
        scan: The depth curve; None where the depth was asked for.
        blocks_total: Blocks of the pretrained model.
        tokens: Counts for metrics.json.
        settled: The rules between the scorer's probabilities and the answers, and how they were found.
        strangeness: [rows] see ``Scope``, where it was asked for.
    """

    predictor: Predictor
    fitted: auto.Fitted
    features: Features
    pooling: Pooling
    labels: LabelSet
    ids: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    events: tuple[Event, ...]
    model: dict[str, str]
    precision: Precision
    scan: Scan | None
    blocks_total: int
    tokens: dict[str, Any]
    settled: Settled | LabelsSettled
    strangeness: Doubles | None = None

    def raw(self, texts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [texts, C] probabilities as the scorer gives them, before the rules."""
        scores = score_features(self.fitted.scorer, self.features, texts)
        return probabilities(scores, several=self.labels.several)


@contextlib.contextmanager
def store_root(*, keep: bool) -> Iterator[Path]:
    """Yield the folder of the feature stores: the one in the cache, or a temporary one when nothing is to be kept."""
    if keep:
        yield cache_home() / "features"
        return
    with tempfile.TemporaryDirectory(prefix="tailtune-features-") as temporary:
        yield Path(temporary)


def learn(
    dataset: Dataset,
    split: Split,
    config: TrainConfig,
    *,
    store: Path,
    watch: Stopwatch,
    counts: Mapping[str, int] | None = None,
    progress: Progress = silent,
    say: Say = ignore,
) -> Learnt:
    """Return a classifier fitted on the training rows and chosen on the held-out rows; labels of the test are not read.

    Args:
        dataset: The rows that serve a part; all of them go through the backbone.
        split: Which serve what; an empty test part is fine.
        config: What to do.
        store: Folder of the feature stores.
        watch: Given the seconds of each stage.
        counts: Class -> rows of the data before balancing; default: those of ``dataset``.
        progress: Told how far long stages are.
        say: Told what people should know.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    limits = limits_of(config)
    labels = dataset.label_set
    rows = _rows(labels, dataset, split, config)
    aims = _aims(config, labels, rows, counts or dataset.counts)
    ready = _ready(dataset, config, store=store, watch=watch, progress=progress, say=say)
    reading, passes = ready.reading, ready.passes
    with watch.stage("scan"):
        sized = replace(limits, besides=len(reading.tokenizer.json_bytes))
        planned, found = _settle(ready, rows, config=config, limits=sized, progress=progress, say=say)
    precision = _precision(config, found)
    with watch.stage("backbone"):
        features = passes.features(
            reading.tokens, planned.wanted, precision=precision, windows=reading.windows, progress=progress
        )
    for done in passes.done:
        say(pass_note(done, reading))
    events: list[Event] = []
    with watch.stage("method"):
        fitted = _choose(ready, planned, features, rows, config=config, found=found, progress=progress, events=events)
    with watch.stage("calibration"):
        settled = _settled(aims, fitted, features, rows)
    for note in (f"chosen: {fitted.reason}", *_loss_notes(config, events), *settled.notes):
        say(note)
    scope, strangeness = _scope(ready, rows, config, fitted, precision=precision, watch=watch, progress=progress)
    about = {"data": {"source": dataset.source, "sha256": dataset.sha256}, "seed": config.seed}
    bundle = _bundle(ready, fitted, labels, precision, settled.rules, about=about, scope=scope)
    return Learnt(
        predictor=Predictor(bundle, device=config.device),
        fitted=fitted,
        features=features,
        pooling=ready.pooling,
        labels=labels,
        ids=rows.labels,
        weights=rows.weights,
        events=tuple(events),
        model=ready.source,
        precision=precision,
        scan=found,
        blocks_total=ready.blocks,
        tokens=token_counts(reading, passes.done),
        settled=settled,
        strangeness=strangeness,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """The model and the texts before any pass."""

    source: dict[str, str]
    blocks: int
    planned: auto.Plan
    pooling: Pooling
    reading: Reading
    passes: Passes


def _ready(
    dataset: Dataset, config: TrainConfig, *, store: Path, watch: Stopwatch, progress: Progress, say: Say
) -> _Ready:
    with watch.stage("model"):
        model = resolve(config.model, progress=progress)
        for note in model.notes:
            say(note)
        shape = read_shape(read_json(model.path / "config.json"))
        planned = auto.plan(config.method, config.depth, blocks=config.blocks, total=shape.blocks, causal=shape.causal)
        pooling = pooling_of(config.pooling, causal=shape.causal)
        weights = fingerprint(model.path)
    with watch.stage("tokens"):
        reading = read(dataset, model.path, config, context=shape.context)
        if note := long_note(reading, dataset):
            say(note)
    with watch.stage("model"):
        decoder = load_part(model.path, depth=planned.top, final_norm=bool(planned.tails))
    return _Ready(
        source={"name": model.name, "source": model.source, "sha256": weights},
        blocks=shape.blocks,
        planned=planned,
        pooling=pooling,
        reading=reading,
        passes=Passes(decoder, weights=weights, store=store, device=config.device),
    )


def _settle(
    ready: _Ready, rows: Rows, *, config: TrainConfig, limits: Limits, progress: Progress, say: Say
) -> tuple[auto.Plan, Scan | None]:
    """The plan at one depth, and the scan that found it, where the depth was left open."""
    planned, reading, passes = ready.planned, ready.reading, ready.passes
    if not planned.open:
        return planned, None
    found = scan(
        passes,
        reading.tokens,
        rows,
        depths=planned.cuts,
        states=planned.wanted.states,
        precision=config.precision,
        pooling=ready.pooling,
        limits=limits,
        windows=reading.windows,
        progress=progress,
    )
    say(f"depth scan: {found.reason}")
    width = passes.decoder.config.width
    validation, total = len(rows.validation), int(reading.tokens.offsets[-1])
    return auto.settled(planned, found, validation=validation, tokens=total, width=width), found


def _choose(
    ready: _Ready,
    planned: auto.Plan,
    features: Features,
    rows: Rows,
    *,
    config: TrainConfig,
    found: Scan | None,
    progress: Progress,
    events: list[Event],
) -> auto.Fitted:
    return auto.choose(
        planned,
        ready.passes.decoder,
        features,
        rows,
        pooling=ready.pooling,
        settings=_tail_settings(config),
        penalties=rows.penalties if config.penalty == "auto" else (config.penalty,),
        progress=progress,
        happened=events.append,
        found=found,
    )


def _loss_notes(config: TrainConfig, events: list[Event]) -> list[str]:
    """Whether the loss that was asked for was made smaller at all: a probe has its own."""
    told = loss_line(config.as_json())
    effect = "of the tail alone, a probe has the plain cross-entropy" if events else "no tail was trained: no effect"
    return [f"{told}; {effect}"] if told else []


def _aims(config: TrainConfig, labels: LabelSet, rows: Rows, counts: Mapping[str, int]) -> Aims | LabelAims:
    validation = len(rows.validation)
    if labels.several:
        return label_aims_of(config, labels, validation=validation)
    trained = rows.labels[rows.train]
    return aims_of(config, labels, counts=counts, trained=trained, validation=validation, weights=rows.weights)


def _settled(aims: Aims | LabelAims, fitted: auto.Fitted, features: Features, rows: Rows) -> Settled | LabelsSettled:
    held_out = rows.validation
    if len(held_out):
        scores = score_features(fitted.scorer, features, held_out)
        given = probabilities(scores, several=aims.labels.several)
    else:
        given = np.empty((0, rows.classes))
    return aims.settle(given, rows.labels[held_out], rows.groups[held_out])


def _scope(
    ready: _Ready,
    rows: Rows,
    config: TrainConfig,
    fitted: auto.Fitted,
    *,
    precision: Precision,
    watch: Stopwatch,
    progress: Progress,
) -> tuple[Scope | None, Doubles | None]:
    """What tells strange texts and how strange each text is, where it was asked for."""
    if not config.out_of_scope:
        return None, None
    cut = fitted.scorer.wanted.depth
    with watch.stage("scope"):
        wanted = Wanted(pooled=(cut,))
        features = ready.passes.features(ready.reading.tokens, wanted, precision=precision, progress=progress)
        scope = fit_scope(features, rows, cut)
        return scope, scope.strangeness(features.pooled(cut))


def _bundle(
    ready: _Ready,
    fitted: auto.Fitted,
    labels: LabelSet,
    precision: Precision,
    rules: AnyRules,
    *,
    about: Mapping[str, Any],
    scope: Scope | None,
) -> Bundle:
    return Bundle(
        decoder=ready.passes.below(fitted.scorer.wanted.depth, precision),
        precision=precision,
        scorer=fitted.scorer,
        tokenizer=ready.reading.tokenizer,
        labels=labels,
        about={"model": ready.source, **about},
        rules=rules,
        scope=scope,
    )


def limits_of(config: TrainConfig) -> Limits:
    """Return what the classifier may cost, as ``config`` spells it.

    Raises:
        ConfigError: If a limit cannot be read, or stands beside a fixed depth.
    """
    given = config.budget or config.smaller_than
    if given and config.depth != "auto":
        raise ConfigError(f"a limit ({given}) and --depth {config.depth} contradict each other", hint="leave one out")
    return Limits(
        milliseconds=parse_milliseconds(config.budget, "--budget") if config.budget else None,
        bytes=parse_bytes(config.smaller_than, "--smaller-than") if config.smaller_than else None,
    )


def _precision(config: TrainConfig, found: Scan | None) -> Precision:
    if found is not None:
        return found.precision
    # Without a scan nothing compares the two, so the exact one is taken.
    return "fp32" if config.precision == "auto" else config.precision


def _rows(labels: LabelSet, dataset: Dataset, split: Split, config: TrainConfig) -> Rows:
    if config.out_of_scope:
        require_rows(len(split.validation))
    ids = dataset.ids(labels)
    return Rows(
        train=split.train,
        validation=split.validation,
        labels=ids,
        groups=split.groups,
        classes=len(labels),
        weights=None if labels.several else class_weights(config.weighting, labels, ids[split.train]),
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
        objective=Objective(loss=config.loss, focal_gamma=config.focal_gamma, label_smoothing=config.label_smoothing),
    )
