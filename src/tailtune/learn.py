"""From checked, split texts to a fitted classifier: tokens, backbone pass, method.

Reads no file of texts and writes no run.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.bundle import Bundle
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.errors import ConfigError
from tailtune.features.backbone import Backbone, choose_device
from tailtune.features.store import Features, FeatureStore
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.probe import Rows
from tailtune.methods.tail import Epoch, Step, TailSettings
from tailtune.models.catalog import ResolvedModel, resolve
from tailtune.models.families import read_config
from tailtune.models.weights import fingerprint, load_decoder, read_json
from tailtune.predict import Predictor
from tailtune.progress import Progress, silent
from tailtune.runs import Stopwatch
from tailtune.storage import cache_home
from tailtune.text.tokenizer import Tokenizer, Tokens

Say = Callable[[str], None]
Event = Step | Epoch


def ignore(note: str) -> None:
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
    with watch.stage("tokens"):
        tokenizer, tokens = _tokens(config, model, shape.context, dataset)
        _say_tokens(tokens, dataset, say)
    planned = auto.affordable(planned, tokens=int(tokens.offsets[-1]), width=shape.width)
    with watch.stage("model"):
        decoder = load_decoder(model.path, depth=planned.top)
    with watch.stage("backbone"):
        backbone = Backbone(decoder, device=choose_device(config.device))
        features = FeatureStore(store, {"weights": weights, "dtype": "float32"}).features(
            backbone, tokens, planned.wanted, progress=progress
        )
    say(_pass_note(features, planned))
    labels = LabelSet.of(dataset.labels)
    rows = _rows(labels, dataset, split, config)
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
    about = {"model": source, "data": {"source": dataset.source, "sha256": dataset.sha256}, "seed": config.seed}
    below = decoder.below(fitted.scorer.wanted.depth)
    bundle = Bundle(decoder=below, scorer=fitted.scorer, tokenizer=tokenizer, labels=labels, about=about)
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
        longest = int(tokens.lengths.max())
        say(f"texts longer than {longest} tokens, cut to that: {len(cut)} (row {named})")


def _pass_note(features: Features, planned: auto.Plan) -> str:
    depth = planned.wanted.depth
    if not features.computed_texts:
        return f"backbone pass: nothing to compute, all {features.distinct_texts} distinct texts are in the store"
    return (
        f"backbone pass: computed {features.computed_texts} of {features.distinct_texts} distinct texts "
        f"({features.computed_tokens} tokens) through {depth} blocks"
    )


def _rows(labels: LabelSet, dataset: Dataset, split: Split, config: TrainConfig) -> Rows:
    return Rows(
        train=split.train,
        validation=split.validation,
        labels=labels.ids(dataset.labels),
        groups=split.groups,
        classes=len(labels),
        balanced=config.balance == "weights",
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
