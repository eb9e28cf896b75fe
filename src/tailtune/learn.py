"""From checked, split texts to a fitted classifier: tokens, backbone pass, method.

Reads no file of texts and writes no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.aims import Aims, Settled, aims_of
from tailtune.bundle import Bundle
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.features.backbone import Wanted
from tailtune.features.store import Features
from tailtune.label_aims import LabelAims, LabelsSettled, label_aims_of
from tailtune.label_rules import AnyRules
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.descent import Epoch, Step
from tailtune.methods.familiar import fit_scope
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Scan
from tailtune.methods.scope import Scope
from tailtune.methods.scorers import Pooling, probabilities, score_features
from tailtune.models.int8 import Precision
from tailtune.predict import Predictor
from tailtune.preparing import (
    Ready,
    descent_settings,
    limits_of,
    lora_settings,
    make_ready,
    precision_of,
    rows_of,
    settle,
)
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.reading import pass_note, token_counts
from tailtune.report.losses import loss_line
from tailtune.rules import Doubles
from tailtune.runs import Stopwatch

Event = Step | Epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """A fitted classifier and how it came about; test labels have not been touched.

    Attributes:
        predictor: Ready to answer and to be saved.
        fitted: The choice and the way to it.
        features: Of all texts of the data set.
        pooling: Which tokens a probe reads, whatever was chosen.
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
    rows = rows_of(labels, dataset, split, config)
    aims = _aims(config, labels, rows, counts or dataset.counts)
    ready = make_ready(dataset, config, store=store, watch=watch, progress=progress, say=say)
    reading, passes = ready.reading, ready.passes
    with watch.stage("scan"):
        sized = replace(limits, besides=len(reading.tokenizer.json_bytes))
        planned, found = settle(ready, rows, config=config, limits=sized, progress=progress, say=say)
    precision = precision_of(config, found)
    with watch.stage("backbone"):
        features = passes.features(
            reading.tokens, planned.wanted, precision=precision, windows=reading.windows, progress=progress
        )
    for done in passes.done:
        say(pass_note(done, reading))
    events: list[Event] = []
    with watch.stage("method"):
        fitted = _choose(ready, planned, features, rows, config=config, found=found, progress=progress, events=events)
        features = fitted.features(features)
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


def _choose(
    ready: Ready,
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
        settings=descent_settings(config),
        trained_pooling=ready.trained_pooling,
        lora=lora_settings(config),
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
    ready: Ready,
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
    ready: Ready,
    fitted: auto.Fitted,
    labels: LabelSet,
    precision: Precision,
    rules: AnyRules,
    *,
    about: Mapping[str, Any],
    scope: Scope | None,
) -> Bundle:
    return Bundle(
        decoder=fitted.backbone or ready.passes.below(fitted.scorer.wanted.depth, precision),
        precision=precision,
        scorer=fitted.scorer,
        tokenizer=ready.reading.tokenizer,
        labels=labels,
        about={"model": ready.source, **about},
        rules=rules,
        scope=scope,
    )
