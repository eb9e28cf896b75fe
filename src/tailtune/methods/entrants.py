"""What stands beside the language model on the ladder: n-grams, and a probe on a second, small backbone.

Each is fitted on the training rows for the answer, and on parts of the rows for scores that can be compared. The same
fits are the baselines of the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from tailtune.evaluate.ngrams import fit_ngrams
from tailtune.features.backbone import Wanted
from tailtune.features.cost import blocks_per_second, middling, milliseconds, stored_bytes
from tailtune.features.passes import Passes
from tailtune.features.store import Features, Indices
from tailtune.methods.blend import Doubles, Member
from tailtune.methods.members import BackboneMember
from tailtune.methods.ngrams import NgramMember
from tailtune.methods.probe import Folds, HeldOut, Rows, choose_probe
from tailtune.methods.scorers import Pooling, ProbeScorer, pooling_of, score_features
from tailtune.progress import Progress, silent
from tailtune.text.ngrams import Kind, NgramModel
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import Windows

# Bytes of one n-gram beside its weights: its letters and where they end.
_NGRAM_BYTES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a classifier adds to the cost of the bundle.

    Attributes:
        milliseconds: For one text of median length, alone.
        bytes: Saved.
    """

    milliseconds: float = 0.0
    bytes: int = 0

    def __add__(self, other: Price) -> Price:
        return Price(milliseconds=self.milliseconds + other.milliseconds, bytes=self.bytes + other.bytes)


class Entrant(Protocol):
    """A classifier beside the language model."""

    @property
    def name(self) -> str:
        """For machines: word, char or minilm."""

    @property
    def title(self) -> str:
        """For people."""

    def seconds_foreseen(self, folds: Folds) -> float:
        """Return about how long ``held_out`` will take; measures what it needs for that."""

    def held_out(self, folds: Folds) -> Doubles:
        """Return [judged, C] scores of rows that it did not learn from, fold after fold."""

    def member(self) -> Member:
        """Return it as a part of a bundle, fitted on the training rows."""

    def scores(self, texts: Indices) -> Doubles:
        """Return [texts, C] scores of that one, for texts of the data set by their places."""

    def price(self) -> Price:
        """Return what it adds to the bundle."""


@dataclass(kw_only=True, slots=True)
class Counted:
    """Word or character n-grams.

    Attributes:
        kind: Which.
        texts: All texts of the data set.
        rows: Which may be seen.
        seed: Handed to the solver.
        converged: Whether the solver of the final fit did.
        seconds: That the final fit took.
    """

    kind: Kind
    texts: Sequence[str]
    rows: Rows
    seed: int
    converged: bool = True
    seconds: float = 0.0
    _final: NgramModel | None = None

    @property
    def name(self) -> str:
        """For machines."""
        return self.kind

    @property
    def title(self) -> str:
        """For people."""
        return NgramMember(self.final()).name

    def final(self) -> NgramModel:
        """Return the one fitted on the training rows, once."""
        if self._final is None:
            started = time.perf_counter()
            self._final, self.converged = self._fit(self.rows.train)
            self.seconds = time.perf_counter() - started
        return self._final

    def seconds_foreseen(self, folds: Folds) -> float:
        """Return about how long ``held_out`` will take, after the fit on the training rows, which is a baseline too."""
        self.final()
        return self.seconds * (len(folds) if len(folds) > 1 else 0)

    def held_out(self, folds: Folds) -> Doubles:
        """Return [judged, C] scores of rows that it did not learn from."""
        return np.concatenate([self._fitted_on(learn).scores(self._texts(judge)) for learn, judge in folds])

    def member(self) -> Member:
        """Return it as a part of a bundle."""
        return NgramMember(self.final())

    def scores(self, texts: Indices) -> Doubles:
        """Return [texts, C] scores."""
        return self.final().scores(self._texts(texts))

    def price(self) -> Price:
        """Return what it adds: counting takes no time beside a model's blocks."""
        model = self.final()
        letters = sum(len(ngram) for ngram in model.vocabulary)
        arrays = model.weight.nbytes + model.rarity.nbytes + model.bias.nbytes
        return Price(bytes=arrays + letters + _NGRAM_BYTES * len(model.vocabulary))

    def _fitted_on(self, learn: Indices) -> NgramModel:
        return self.final() if learn is self.rows.train else self._fit(learn)[0]

    def _fit(self, learn: Indices) -> tuple[NgramModel, bool]:
        rows = self.rows
        texts, ids = self._texts(learn), rows.labels[learn]
        return fit_ngrams(self.kind, texts, ids, classes=rows.classes, weights=rows.weights, seed=self.seed)

    def _texts(self, places: Indices) -> list[str]:
        return [self.texts[place] for place in places.tolist()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A small pretrained model and how it reads texts.

    Attributes:
        model: What people call it.
        tokenizer: Its own.
        passes: Of it.
    """

    model: str
    tokenizer: Tokenizer
    passes: Passes

    @property
    def depth(self) -> int:
        """All its blocks."""
        return len(self.passes.decoder.blocks)

    def features(self, texts: Sequence[str], depths: Sequence[int], progress: Progress = silent) -> Features:
        """Return pooled vectors of texts at some depths, from the store where they are there."""

        def told(stage: str, done: int, total: int, unit: str) -> None:
            progress(f"{stage}, sentence embeddings", done, total, unit)

        tokens, windows = self.tokenizer.read(texts)
        wanted = Wanted(pooled=tuple(depths))
        return self.passes.features(tokens, wanted, precision="fp32", windows=windows, progress=told)


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to read an encoder, fitted.

    Attributes:
        depths: Averaged.
        pooling: Of their states.
        penalty: That held-out rows preferred.
        scorer: Fitted on the training rows.
        seconds: That took.
    """

    depths: tuple[int, ...]
    pooling: Pooling
    penalty: float
    scorer: ProbeScorer
    seconds: float


@dataclass(kw_only=True, slots=True)
class Embedded:
    """A probe on an encoder: at the mean of its top, as sentence embeddings are made, or on all depths averaged.

    Attributes:
        open: Returns the encoder; called when it is first needed.
        base: Its name for machines.
        texts: All texts of the data set.
        rows: Which may be seen.
        progress: Told tokens.
    """

    open: Callable[[], Encoder]
    base: str
    texts: Sequence[str]
    rows: Rows
    progress: Progress = silent
    _encoder: Encoder | None = None
    _features: Features | None = None
    _ways: dict[str, Way] = field(default_factory=dict)
    _chosen: str = "top"

    @property
    def name(self) -> str:
        """For machines: as it is read at the top, or with all its depths."""
        return self.base if self._chosen == "top" else f"{self.base}-all"

    def in_ways(self) -> dict[str, Embedded]:
        """Return it by the names of the ways to read it."""
        ways = (replace(self, _chosen=way) for way in ("top", "all"))
        return {each.name: each for each in ways}

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.encoder.model} with a probe"

    @property
    def encoder(self) -> Encoder:
        """What reads."""
        if self._encoder is None:
            self._encoder = self.open()
        return self._encoder

    def _read(self, depths: Sequence[int]) -> Features:
        """The features of all texts at these depths, those of all depths once they were asked for."""
        if self._features is None or not set(depths) <= set(self._features.pooled_depths):
            self._features = self.encoder.features(self.texts, depths, self.progress)
        return self._features

    @property
    def _depths(self) -> tuple[int, ...]:
        return tuple(range(1, self.encoder.depth + 1))

    def way(self, name: str) -> Way:
        """Return one way to read it, "top" or "all", fitted once."""
        if name not in self._ways:
            started = time.perf_counter()
            depths = self._depths[-1:] if name == "top" else self._depths
            causal = self.encoder.passes.decoder.config.causal
            pooling: Pooling = "mean" if name == "top" else pooling_of("auto", causal=causal)
            scorer, candidate, _ = choose_probe(
                *(self._read(depths), self.rows),
                depths=depths,
                pooling=pooling,
                penalties=self.rows.penalties,
                progress=self.progress,
            )
            seconds = time.perf_counter() - started
            self._ways[name] = Way(
                depths=depths, pooling=pooling, penalty=candidate.penalty, scorer=scorer, seconds=seconds
            )
        return self._ways[name]

    def seconds_foreseen(self, folds: Folds) -> float:
        """Return about how long the pass will take: next to it the fits are short."""
        encoder = self.encoder
        tokens = encoder.tokenizer.encode(self.texts)
        return int(tokens.offsets[-1]) * encoder.depth / blocks_per_second(encoder.passes.backbone("fp32"), tokens)

    def held_out(self, folds: Folds) -> Doubles:
        """Return [judged, C] scores of rows that it did not learn from, read in the way that these rows prefer."""
        labels = self.rows.labels[np.concatenate([judge for _, judge in folds])]
        self._read(self._depths)
        scores = {name: self._held_out(self.way(name), folds) for name in ("top", "all")}
        losses = {name: float(self.rows.task.judge(each, labels)[0].mean()) for name, each in scores.items()}
        self._chosen = min(losses, key=lambda name: losses[name])
        return scores[self._chosen]

    def _held_out(self, way: Way, folds: Folds) -> Doubles:
        held = HeldOut(self._read(way.depths), self.rows, way.pooling, folds=folds)
        return held.scores(way.depths, way.penalty)

    @property
    def chosen(self) -> Way:
        """The way that the held-out rows prefer; at the top where none were asked."""
        return self.way(self._chosen)

    def member(self) -> Member:
        """Return it as a part of a bundle."""
        scorer, encoder = self.chosen.scorer, self.encoder
        return BackboneMember(
            model=encoder.model,
            decoder=encoder.passes.below(scorer.depth, "fp32"),
            precision="fp32",
            scorer=scorer,
            tokenizer=encoder.tokenizer,
        )

    def scores(self, texts: Indices) -> Doubles:
        """Return [texts, C] scores."""
        return score_features(self.chosen.scorer, self._read(self.chosen.depths), texts).astype(np.float64)

    def price(self) -> Price:
        """Return what it adds."""
        encoder = self.encoder
        tokens = encoder.tokenizer.encode(self.texts)
        text, count = middling(tokens, Windows.whole(tokens.lengths))
        backbone, depth = encoder.passes.backbone("fp32"), encoder.depth
        stored = stored_bytes(backbone, [depth])[depth] + len(encoder.tokenizer.json_bytes)
        return Price(milliseconds=count * milliseconds(backbone, text, [depth])[depth], bytes=stored)
