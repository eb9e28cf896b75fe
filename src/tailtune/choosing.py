"""From features to the classifier: what was asked for is fitted as it is, ``auto`` climbs the ladder.

What stands beside the language model is made here, once for the ladder and for the baselines of the report. Writes no
run and reads no test label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tailtune.config import TrainConfig
from tailtune.contradictions import OF_BLOCKS
from tailtune.data.dataset import Dataset
from tailtune.errors import ConfigError, SetupError
from tailtune.features.backbone import Wanted
from tailtune.features.cost import blocks_per_second
from tailtune.features.passes import Passes
from tailtune.features.store import Features
from tailtune.methods import auto
from tailtune.methods.climbing import Material, climb
from tailtune.methods.counted import fit_counted
from tailtune.methods.descent import Epoch, Step
from tailtune.methods.entrants import Counted, Embedded, Encoder, Entrant, Price
from tailtune.methods.ladder import Budget, Ladder
from tailtune.methods.mixing import OWN, joined
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Limits, Scan
from tailtune.methods.scorers import Kind, TailScorer
from tailtune.methods.trained import require_trainable
from tailtune.methods.words import WordScorer, method_of
from tailtune.models.int8 import Precision
from tailtune.models.sources.catalog import is_cached, pull
from tailtune.models.weights import fingerprint, load_decoder
from tailtune.preparing import Ready, descent_settings, lora_settings
from tailtune.progress import Progress, Say
from tailtune.runs import Stopwatch
from tailtune.settings import parse_seconds, parse_shares
from tailtune.text.tokenizer import Tokenizer

# Settings that a classifier without trained blocks refuses.
OF_TRAINING = ("loss", "focal_gamma", "label_smoothing", *OF_BLOCKS)
# What people use on a processor: 22 million weights, made for sentence embeddings.
MODEL = "minilm-l6"


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """What stands beside the language model; nothing of it is fitted before it is needed.

    Attributes:
        counted: Word and character n-grams.
        embedded: A probe on a small encoder; None where there is none.
    """

    counted: tuple[Counted, ...]
    embedded: Embedded | None

    def named(self) -> dict[str, Entrant]:
        """Return all of them by name, an encoder by each way to read it."""
        counted: dict[str, Entrant] = {entrant.name: entrant for entrant in self.counted}
        return counted if self.embedded is None else {**counted, **self.embedded.in_ways()}


def beside_of(
    config: TrainConfig, dataset: Dataset, rows: Rows, *, weights: str, store: Path, progress: Progress
) -> Beside:
    """Return what may stand beside the language model.

    The encoder is there where it was asked for as a baseline, or is in the cache and not the model itself.

    Args:
        config: Says which.
        dataset: Of the texts.
        rows: Which of them may be seen.
        weights: Hash of those of the language model.
        store: Folder of the feature stores.
        progress: Told tokens.
    """
    texts, asked = dataset.texts, config.asked_baselines
    counted = tuple(Counted(kind=kind, texts=texts, rows=rows, seed=config.seed) for kind in ("word", "char"))
    embedded = None
    if "minilm" in asked or ("tfidf" not in asked and is_cached(MODEL)):
        folder = pull(MODEL, progress=progress).path
        own = fingerprint(folder)
        if "minilm" in asked or own != weights:
            embedded = Embedded(
                open=lambda: encoder_of(folder, weights=own, store=store, device=config.device),
                base="minilm",
                texts=texts,
                rows=rows,
                progress=progress,
            )
    return Beside(counted=counted, embedded=embedded)


def encoder_of(folder: Path, *, weights: str, store: Path, device: str) -> Encoder:
    """Return the sentence encoder in ``folder``.

    Args:
        folder: Of its files.
        weights: Their hash.
        store: Folder of the feature stores.
        device: Where it computes.
    """
    decoder = load_decoder(folder)
    return Encoder(
        model=MODEL,
        tokenizer=Tokenizer.of_model(folder, max_tokens=decoder.config.context),
        passes=Passes(decoder, weights=weights, store=store, device=device),
    )


def budget_of(config: TrainConfig, watch: Stopwatch) -> Budget:
    """Return the time that was asked for, from when ``watch`` was started."""
    seconds = None if config.time is None else parse_seconds(config.time, "--time")
    return Budget(seconds=seconds, clock=watch.clock, started=watch.started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a choice is made of.

    Attributes:
        ready: The model and the texts.
        planned: Depths and tails.
        features: Hold what is planned.
        rows: What may be seen.
        config: The settings.
        found: The scan; None where the depth was asked for.
        limits: What the bundle may cost.
        precision: Of the frozen products.
        beside: What stands beside the language model.
        words: What the model's own head says of each label's words; None where it is not asked.
        budget: Of time.
        progress: Told settings and steps.
        say: Told each rung.
        happened: Told steps and epochs.
    """

    ready: Ready
    planned: auto.Plan
    features: Features
    rows: Rows
    config: TrainConfig
    found: Scan | None
    limits: Limits
    precision: Precision
    beside: Beside
    words: WordScorer | None
    budget: Budget
    progress: Progress
    say: Say
    happened: Callable[[Step | Epoch], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The classifier, and the features that it and what is looked at later read.

    Attributes:
        fitted: The classifier.
        features: Of all texts.
        ladder: The way up; None where none was climbed.
        precision: Of the frozen products; fp32 where none is frozen.
        settings: With which settings a run makes the same one without choosing again.
    """

    fitted: auto.Fitted
    features: Features
    precision: Precision
    ladder: Ladder | None
    settings: Mapping[str, Any] = field(default_factory=dict)


def choose(asked: Asked) -> Chosen:
    """Return the classifier that was asked for, or that held-out rows prefer.

    Raises:
        ConfigError: If something is to be shipped that is not there.
    """
    config, rows = asked.config, asked.rows
    parts, ladder = _parts(config, asked.beside), None
    if config.method == "auto":
        ladder = Ladder(budget=asked.budget, say=asked.say)
        given = _material(asked, alone=config.ship != "best")
        fitted = climb(given, ladder, progress=asked.progress, happened=asked.happened).fitted()
    else:
        fitted = _as_asked(asked)
    features = asked.features
    if fitted.trained is not None:
        features = _with_states(asked, fitted.trained.first)
    features = fitted.features(features)
    if parts:
        fitted = joined(fitted, parts, asked.beside.named(), rows, features)
    precision: Precision = asked.precision if fitted.backbone is None else "fp32"
    settings = _settings(config, fitted, precision)
    return Chosen(fitted=fitted, features=features, precision=precision, ladder=ladder, settings=settings)


def _parts(config: TrainConfig, beside: Beside) -> dict[str, float | None]:
    """Name -> weight of what is to be shipped, None where it is to be found; nothing where that is left open."""
    if config.ship in ("best", "language-model"):
        return {}
    parts = parse_shares(config.ship, "--ship")
    known = (OWN, *beside.named())
    for name in parts:
        if name not in known:
            hint = "tailtune models pull minilm-l6" if name == "minilm" else "best and language-model stand alone"
            raise ConfigError(f"--ship {config.ship}: no {name!r} here; there are {', '.join(known)}", hint=hint)
    return parts


def _as_asked(asked: Asked) -> auto.Fitted:
    ready, config = asked.ready, asked.config
    if config.method == "ngrams":
        return fit_counted(asked.beside.counted, asked.rows, texts=len(ready.reading.windows.lengths))
    if config.method == "zero-shot":
        assert asked.words is not None
        return auto.untrained(asked.words, asked.features, asked.rows)
    return auto.choose(
        *(asked.planned, ready.passes.decoder, asked.features, asked.rows),
        pooling=ready.pooling,
        settings=descent_settings(config),
        trained_pooling=ready.trained_pooling,
        lora=lora_settings(config),
        penalties=_penalties(asked),
        progress=asked.progress,
        happened=asked.happened,
        found=asked.found,
        words=asked.words,
    )


def _penalties(asked: Asked) -> tuple[float, ...]:
    given = asked.config.penalty
    return asked.rows.penalties if given == "auto" else (given,)


def _material(asked: Asked, *, alone: bool) -> Material:
    ready, passes = asked.ready, asked.ready.passes

    def speed() -> float:
        return blocks_per_second(passes.backbone("fp32"), ready.reading.tokens, clock=asked.budget.clock)

    return Material(
        planned=asked.planned,
        decoder=passes.decoder,
        features=asked.features,
        rows=asked.rows,
        pooling=ready.pooling,
        settings=descent_settings(asked.config),
        penalties=_penalties(asked),
        trained_pooling=ready.trained_pooling,
        lora=lora_settings(asked.config),
        found=asked.found,
        counted=() if alone else asked.beside.counted,
        embedded=None if alone else asked.beside.embedded,
        states=lambda first: _with_states(asked, first),
        refused=lambda kind, first: _refused(asked, kind, first),
        needs_model="--out-of-scope needs the language model" if asked.config.out_of_scope else "",
        limits=asked.limits,
        price=_price(asked.found),
        speed=speed,
    )


def _refused(asked: Asked, kind: Kind, first: int) -> str:
    """Why the model cannot be trained so, in words."""
    if kind == "full" and not first and asked.config.out_of_scope:
        return "--out-of-scope is of frozen blocks, and this leaves none"
    try:
        require_trainable(kind, asked.ready.passes.decoder.config, first=first, lora=lora_settings(asked.config))
    except (ConfigError, SetupError) as error:
        return error.message
    return ""


def _price(found: Scan | None) -> Price:
    """What the language model costs at the depth that was found."""
    if found is None:
        return Price()
    point = next(point for point in found.points if point.candidate.depth == found.chosen.depth)
    return Price(milliseconds=point.milliseconds, bytes=round(1e6 * point.megabytes))


def _with_states(asked: Asked, first: int) -> Features:
    """The features with token states at ``first`` too, from the store where they are there."""
    reading, wanted = asked.ready.reading, asked.planned.wanted | Wanted(states=(first,))
    if wanted == asked.planned.wanted:
        return asked.features
    return asked.ready.passes.features(
        reading.tokens, wanted, precision=asked.precision, windows=reading.windows, progress=asked.progress
    )


def _settings(config: TrainConfig, fitted: auto.Fitted, precision: Precision) -> dict[str, Any]:
    """What a run is to be told that makes the same classifier without choosing again."""
    if config.method == "ngrams":
        return {"method": "ngrams"}
    scorer = fitted.reads
    made: dict[str, Any] = {"method": method_of(scorer), "depth": scorer.depth, "precision": precision}
    if isinstance(scorer, TailScorer):
        blocks = scorer.depth - scorer.cut
        made |= {"blocks": blocks} if scorer.kind == "tail" else {"from_depth": scorer.cut, "blocks": 1}
        made |= fitted.rates
    penalties = [choice["penalty"] for choice in fitted.choices if choice.get("penalty") is not None]
    chosen = next((choice for choice in fitted.choices if choice["chosen"]), {})
    made["penalty"] = chosen.get("penalty", penalties[-1] if len(set(penalties)) == 1 else "auto")
    made["ship"] = shares_said(fitted)
    return made


def shares_said(fitted: auto.Fitted) -> str:
    """Return what is shipped as ``--ship`` has it: every part with its weight."""
    if fitted.blend is None:
        return OWN
    weights = zip((OWN, *fitted.parts), fitted.blend.weights, strict=True)
    return ",".join(f"{name}={weight:.6g}" for name, weight in weights if weight > 0)


def as_chosen(config: TrainConfig, chosen: Chosen) -> TrainConfig:
    """Return settings that make such a classifier from other rows without choosing again: for folds, within a time.

    Args:
        config: That led to it.
        chosen: The choice.
    """
    usual = {part.name: part.default for part in fields(config)}
    of_blocks = () if chosen.settings["method"] in ("tail", "lora", "full") else ("learning_rate", *OF_TRAINING)
    own = {name: usual[name] for name in ("time", "budget", "smaller_than", *of_blocks)}
    return replace(config, **own | dict(chosen.settings))
