"""What comes before the choice of a method: limits, rows, the model, the tokens, the depth where it is left open."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tailtune.class_values import class_weights
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.errors import ConfigError
from tailtune.features.passes import Passes
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.descent import TailSettings
from tailtune.methods.familiar import require_rows
from tailtune.methods.losses import Objective
from tailtune.methods.next_word import calibrate_prior, word_scorer
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Limits, Scan, scan
from tailtune.methods.scorers import Pooling, pooling_of
from tailtune.methods.words import WordScorer
from tailtune.models.int8 import Precision
from tailtune.models.lm_head import require_lm_head
from tailtune.models.parts import load_part, read_shape
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint
from tailtune.progress import Progress, Say
from tailtune.reading import Reading, long_note, read
from tailtune.runs import Stopwatch
from tailtune.settings import parse_milliseconds
from tailtune.storage import cache_home, parse_bytes, read_json
from tailtune.text.label_words import label_words


@contextlib.contextmanager
def store_root(*, keep: bool) -> Iterator[Path]:
    """Yield the folder of the feature stores: the one in the cache, or a temporary one when nothing is to be kept."""
    if keep:
        yield cache_home() / "features"
        return
    with tempfile.TemporaryDirectory(prefix="tailtune-features-") as temporary:
        yield Path(temporary)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The model and the texts before any pass."""

    folder: Path
    source: dict[str, str]
    blocks: int
    planned: auto.Plan
    pooling: Pooling
    reading: Reading
    passes: Passes


def make_ready(
    dataset: Dataset, config: TrainConfig, *, store: Path, watch: Stopwatch, progress: Progress, say: Say
) -> Ready:
    """Return the model and the tokens of all texts; each stage's seconds go to ``watch``, notes to ``say``."""
    with watch.stage("model"):
        model = resolve(config.model, progress=progress)
        for note in model.notes:
            say(note)
        shape = read_shape(read_json(model.path / "config.json"))
        if config.asks_lm_head:
            require_lm_head(model.path)
        planned = _planned(config, blocks=shape.blocks, causal=shape.causal)
        pooling = pooling_of(config.pooling, causal=shape.causal)
        weights = fingerprint(model.path)
    with watch.stage("tokens"):
        reading = read(dataset, model.path, config, context=shape.context)
        if note := long_note(reading, dataset):
            say(note)
    with watch.stage("model"):
        top_norm = bool(planned.tails) or config.asks_lm_head
        decoder = load_part(model.path, depth=planned.top, final_norm=top_norm)
    return Ready(
        folder=model.path,
        source={"name": model.name, "source": model.source, "sha256": weights},
        blocks=shape.blocks,
        planned=planned,
        pooling=pooling,
        reading=reading,
        passes=Passes(decoder, weights=weights, store=store, device=config.device),
    )


def _planned(config: TrainConfig, *, blocks: int, causal: bool) -> auto.Plan:
    """What to compute; the LM head belongs to the top, so that is the depth where none is named."""
    depth = "last" if config.asks_lm_head and config.depth == "auto" else config.depth
    if config.method != "zero-shot":
        return auto.plan(config.method, depth, blocks=config.blocks, total=blocks, causal=causal)
    planned = auto.plan("probe", depth, blocks=config.blocks, total=blocks, causal=causal)
    return replace(planned, depths=planned.cuts)


def words_of(ready: Ready, labels: LabelSet, config: TrainConfig) -> WordScorer | None:
    """Return what the model's own head says of each label's words, where that is asked for.

    Raises:
        ConfigError: If the words cannot be read, or nothing tells those of two labels apart.
        ModelError: If the head cannot be read.
    """
    if not config.asks_lm_head:
        return None
    words = label_words(config.label_words, labels.names)
    tokenizer = ready.reading.tokenizer
    scorer = word_scorer(ready.passes.decoder, ready.folder, tokenizer, words)
    if config.calibrate_prior:
        calibrate_prior(scorer, ready.passes.backbone(precision_of(config, None)), tokenizer)
    return scorer


def settle(
    ready: Ready, rows: Rows, *, config: TrainConfig, limits: Limits, progress: Progress, say: Say
) -> tuple[auto.Plan, Scan | None]:
    """Return the plan at one depth, and the scan that found it, where the depth was left open."""
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


def precision_of(config: TrainConfig, found: Scan | None) -> Precision:
    """Return the precision of the frozen products: what the scan found, or what was asked for."""
    if found is not None:
        return found.precision
    # Without a scan nothing compares the two, so the exact one is taken.
    return "fp32" if config.precision == "auto" else config.precision


def rows_of(labels: LabelSet, dataset: Dataset, split: Split, config: TrainConfig) -> Rows:
    """Return which rows may be seen, with their class ids and the weights of the classes."""
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


def descent_settings(config: TrainConfig) -> TailSettings:
    """Return how blocks are trained, as ``config`` has it."""
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
