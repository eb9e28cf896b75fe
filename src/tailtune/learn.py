"""From checked, split texts to a fitted classifier: tokens, backbone pass, method.

Reads no file of texts and writes no run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.aims import Aims, Settled, aims_of
from tailtune.bundle import Bundle
from tailtune.choosing import Asked, Beside, Chosen, beside_of, budget_of, choose
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.features.backbone import Wanted
from tailtune.features.store import Features
from tailtune.label_aims import LabelAims, LabelsSettled, label_aims_of
from tailtune.label_levels import with_levels
from tailtune.label_rules import AnyRules
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.descent import Epoch, Step
from tailtune.methods.familiar import fit_scope
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Scan
from tailtune.methods.scope import Scope
from tailtune.methods.scorers import NoScorer, Pooling, probabilities
from tailtune.methods.words import WordScorer, method_of
from tailtune.models.int8 import Precision
from tailtune.models.parts import empty_part
from tailtune.predict import Predictor
from tailtune.preparing import Ready, limits_of, make_ready, precision_of, rows_of, settle, words_of
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.reading import pass_note, token_counts
from tailtune.report.losses import loss_line
from tailtune.rules import Doubles
from tailtune.runs import Stopwatch
from tailtune.text.tokenizer import ANY_LENGTH
from tailtune.text.windows import Windows

Event = Step | Epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """A fitted classifier and how it came about; test labels have not been touched.

    Attributes:
        predictor: Ready to answer and to be saved.
        language_model: The language model's part of it alone, where it has one; else what it would have been.
        chosen: The classifier, the features of all texts of the data set, and the way to both.
        beside: What stands beside the language model, fitted as far as it was needed.
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
    language_model: Predictor
    chosen: Chosen
    beside: Beside
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

    @property
    def fitted(self) -> auto.Fitted:
        """The choice and the way to it."""
        return self.chosen.fitted

    @property
    def features(self) -> Features:
        """Of all texts of the data set."""
        return self.chosen.features

    @property
    def windows(self) -> Windows:
        """How the texts of the data set are read by what answers: n-grams alone read them whole."""
        windows, limit = self.features.windows, self.predictor.bundle.tokenizer.max_tokens
        return Windows.whole(windows.full_lengths) if limit == ANY_LENGTH else windows

    def raw(self, texts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return [texts, C] probabilities as the scorer or the blend gives them, before the rules."""
        return probabilities(self.fitted.scores(self.features, texts), several=self.labels.several)

    @property
    def blend(self) -> dict[str, Any] | None:
        """What answers together and with which weights, for metrics.json; None where one answers alone."""
        blend, scorer = self.fitted.blend, self.fitted.scorer
        if blend is None:
            return None
        own = f"{self.model['name']} {method_of(scorer)} at depth {scorer.depth}"
        names = [own, *(member.name for member in blend.members)]
        parts = [{"name": name, "weight": weight} for name, weight in zip(names, blend.weights, strict=True) if weight]
        return {"said": blend.said(own), "parts": parts, "language_model": blend.own}


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
    happened: Callable[[Event], None] = lambda event: None,
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
        happened: Told every step and epoch of a tail as it happens; what it raises ends the training.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    limits_of(config)  # said before anything is computed
    labels = with_levels(dataset.label_set, config.label_levels)
    rows = rows_of(labels, dataset, split, config)
    aims = _aims(config, labels, rows, counts or dataset.counts)
    ready = make_ready(dataset, config, store=store, watch=watch, progress=progress, say=say)
    with watch.stage("model"):
        words = words_of(ready, labels, config)
    beside = beside_of(config, dataset, rows, weights=ready.source["sha256"], store=store, progress=progress)
    events: list[Event] = []
    found, chosen = _chosen(
        *(ready, rows, config, beside, words),
        watch=watch,
        progress=progress,
        say=say,
        happened=_both(events.append, happened),
    )
    fitted, features, precision = chosen.fitted, chosen.features, chosen.precision
    with watch.stage("calibration"):
        settled = _settled(aims, fitted, features, rows)
    for note in (f"chosen: {fitted.reason}", *_loss_notes(config, events), *settled.notes):
        say(note)
    scope, strangeness = _scope(ready, rows, config, fitted, precision=precision, watch=watch, progress=progress)
    about = {"data": {"source": dataset.source, "sha256": dataset.sha256}, "seed": config.seed}
    alone = _bundle(ready, fitted, labels, precision, settled.rules, about=about, scope=scope)
    predictor = Predictor(_shipped(alone, fitted), device=config.device)
    return Learnt(
        predictor=predictor,
        language_model=predictor if fitted.reader is None else Predictor(alone, device=config.device),
        chosen=chosen,
        beside=beside,
        pooling=ready.pooling,
        labels=labels,
        ids=rows.labels,
        weights=rows.weights,
        events=tuple(events),
        model=ready.source,
        precision=precision,
        scan=found,
        blocks_total=ready.blocks,
        tokens=token_counts(ready.reading, ready.passes.done),
        settled=settled,
        strangeness=strangeness,
    )


def _both(first: Callable[[Event], None], second: Callable[[Event], None]) -> Callable[[Event], None]:
    def told(event: Event) -> None:
        first(event)
        second(event)

    return told


def _chosen(
    ready: Ready,
    rows: Rows,
    config: TrainConfig,
    beside: Beside,
    words: WordScorer | None,
    *,
    watch: Stopwatch,
    progress: Progress,
    say: Say,
    happened: Callable[[Event], None],
) -> tuple[Scan | None, Chosen]:
    """The scan where the depth was left open, and the classifier."""
    reading, passes, budget = ready.reading, ready.passes, budget_of(config, watch)
    with watch.stage("scan"):
        limits = replace(limits_of(config), besides=len(reading.tokenizer.json_bytes))
        planned, found = settle(*(ready, rows), config=config, limits=limits, budget=budget, progress=progress, say=say)
    precision = precision_of(config, found)
    with watch.stage("backbone"):
        features = passes.features(
            reading.tokens, planned.wanted, precision=precision, windows=reading.windows, progress=progress
        )
    for done in passes.done:
        say(pass_note(done, reading))
    asked = Asked(
        ready=ready,
        planned=planned,
        features=features,
        rows=rows,
        config=config,
        found=found,
        limits=limits,
        precision=precision,
        beside=beside,
        words=words,
        budget=budget,
        progress=progress,
        say=say,
        happened=happened,
    )
    with watch.stage("method"):
        return found, choose(asked)


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
        given = probabilities(fitted.scores(features, held_out), several=aims.labels.several)
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
    cut = fitted.reads.wanted.depth
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
    """The language model's part alone."""
    decoder = fitted.backbone
    if isinstance(fitted.reads, NoScorer):
        decoder = empty_part(ready.passes.decoder.config)
    return Bundle(
        decoder=decoder or ready.passes.below(fitted.reads.wanted.depth, precision),
        precision=precision,
        scorer=fitted.reads,
        tokenizer=ready.reading.tokenizer,
        labels=labels,
        about={"model": ready.source, **about},
        rules=rules,
        scope=scope,
    )


def _shipped(alone: Bundle, fitted: auto.Fitted) -> Bundle:
    """What answers: with the other parts, and without the language model where it has none."""
    if fitted.reader is None or alone.scope is not None:  # which tells strange texts all the same
        return replace(alone, blend=fitted.blend)
    nothing = empty_part(alone.decoder.config)
    # What is cut is told by the language model's limit, unless nothing is left that has one.
    tokenizer = alone.tokenizer.unlimited() if fitted.method == "ngrams" else alone.tokenizer
    made = replace(alone, decoder=nothing, scorer=fitted.scorer, precision="fp32", tokenizer=tokenizer)
    return replace(made, blend=fitted.blend)
