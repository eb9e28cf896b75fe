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
from tailtune.features.backbone import Wanted
from tailtune.features.cost import blocks_per_second
from tailtune.features.passes import Passes
from tailtune.labels import LabelSet
from tailtune.methods import auto
from tailtune.methods.adapter import require_keepable
from tailtune.methods.descent import TailSettings
from tailtune.methods.familiar import require_rows
from tailtune.methods.ladder import Budget
from tailtune.methods.lora import LoraSettings
from tailtune.methods.losses import Objective
from tailtune.methods.next_word import calibrate_prior, word_scorer
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Limits, Scan, scan, within_time
from tailtune.methods.scorers import Pooling, pooling_of
from tailtune.methods.trained import require_trainable
from tailtune.methods.words import WordScorer
from tailtune.models.int8 import Precision
from tailtune.models.lm_head import require_lm_head
from tailtune.models.parts import Part, Shape, empty_part, load_part, read_shape
from tailtune.models.random_weights import random_fingerprint, random_part
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint
from tailtune.progress import Progress, Say
from tailtune.reading import Reading, long_note, read
from tailtune.runs import Stopwatch
from tailtune.settings import parse_milliseconds
from tailtune.storage import cache_home, parse_bytes, read_json
from tailtune.text.label_words import label_words
from tailtune.text.tokenizer import ANY_LENGTH

# Part of the time left after the scan that reading all texts may take: the rest is for what is done with them.
PASS_SHARE = 0.5


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
    trained_pooling: Pooling
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
        planned = _plan(shape, config)
        poolings = [pooling_of(config.pooling, causal=shape.causal, trained=trained) for trained in (False, True)]
        drawn = config.weights == "random"
        weights = random_fingerprint(shape, config.seed) if drawn else fingerprint(model.path)
    with watch.stage("tokens"):
        counted = config.method == "ngrams"
        reading = read(dataset, model.path, config, context=ANY_LENGTH if counted else shape.context)
        if note := long_note(reading, dataset):
            say(note)
    with watch.stage("model"):
        depth, final_norm = planned.top, bool(planned.tails) or config.asks_lm_head
        decoder: Part
        if counted:
            decoder = empty_part(shape)
        elif drawn:
            decoder = random_part(shape, depth=depth, seed=config.seed, final_norm=final_norm)
        else:
            decoder = load_part(model.path, depth=depth, final_norm=final_norm)
    origin = f"random weights of seed {config.seed} in its shape, {model.source}" if drawn else model.source
    return Ready(
        folder=model.path,
        source={"name": model.name, "source": origin, "sha256": weights},
        blocks=shape.blocks,
        planned=planned,
        pooling=poolings[0],
        trained_pooling=poolings[1],
        reading=reading,
        passes=Passes(decoder, weights=weights, store=store, device=config.device),
    )


def _plan(shape: Shape, config: TrainConfig) -> auto.Plan:
    """What to compute; the LM head belongs to the top, so that is the depth where none is named."""
    planned = auto.plan(
        "probe" if config.method == "zero-shot" else config.method,
        "last" if config.asks_lm_head and config.depth == "auto" else config.depth,
        blocks=config.blocks,
        total=shape.blocks,
        causal=shape.causal,
        from_depth=config.from_depth,
    )
    if config.method == "zero-shot":
        planned = replace(planned, depths=planned.cuts)
    if planned.tails:
        require_trainable(planned.trains, shape, first=config.from_depth, lora=lora_settings(config))
    if config.keep_adapter:
        require_keepable(shape, pooling_of(config.pooling, causal=shape.causal, trained=True))
    return planned


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
    ready: Ready,
    rows: Rows,
    *,
    config: TrainConfig,
    limits: Limits,
    budget: Budget,
    progress: Progress,
    say: Say,
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
    width = passes.decoder.config.width
    validation, total = len(rows.validation), int(reading.tokens.offsets[-1])
    if budget.given:
        speed = blocks_per_second(passes.backbone(found.precision), reading.tokens, clock=budget.clock)
        wanted = Wanted(pooled=found.chosen.depths)
        lacking = passes.lacking_tokens(reading.tokens, wanted, precision=found.precision)
        deepest = PASS_SHARE * budget.left * speed / max(1, lacking)
        why = f"a deeper one would take more than {100 * PASS_SHARE:g} % of the time that is left"
        found = within_time(found, deepest=deepest, why=why)
    say(f"depth scan: {found.reason}")
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
        targets=dataset.targets(labels),
    )


def descent_settings(config: TrainConfig) -> TailSettings:
    """Return how blocks are trained, as ``config`` has it; without a learning rate where it is to be found."""
    return TailSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        accumulation=config.accumulation,
        learning_rate=None if isinstance(config.learning_rate, str) else config.learning_rate,
        layer_decay=config.layer_decay,
        head_factor=config.head_rate_factor,
        weight_decay=config.weight_decay,
        decayed=config.weight_decay_of,
        clip_norm=config.clip_norm,
        warmup_fraction=config.warmup_fraction,
        schedule=config.schedule,
        patience=config.patience,
        ema=config.ema,
        average_last=config.average_last,
        seed=config.seed,
        objective=Objective(loss=config.loss, focal_gamma=config.focal_gamma, label_smoothing=config.label_smoothing),
    )


def lora_settings(config: TrainConfig) -> LoraSettings:
    """Return what LoRA adds, as ``config`` has it."""
    return LoraSettings(
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        targets=config.lora_targets,
        kind=config.lora_kind,
    )
