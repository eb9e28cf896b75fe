"""The depth scan: a sample of the texts goes through the blocks at full height, the rest only as far as is worth it.

On a sample every depth is probed and priced; the shallowest depth within one standard error of the best is
where the backbone is cut. Where this processor multiplies int8 faster, the scan runs in int8, and half of the sample
is run in fp32 too: int8 stays unless the held-out rows prefer fp32 noticeably. Which texts are sampled depends on
their contents, rare classes aside, never on seeds or the order of rows: a second run finds their features in the
store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tailtune.errors import ConfigError
from tailtune.evaluate.intervals import wilson
from tailtune.features.backbone import Wanted
from tailtune.features.cost import middling, milliseconds, stored_bytes
from tailtune.features.passes import Passes
from tailtune.features.segments import Keys
from tailtune.features.store import Indices, text_keys, whole_keys
from tailtune.methods.probe import Candidate, HeldOut, Rows, one_standard_error, steady
from tailtune.methods.scorers import Pooling
from tailtune.models.decoder import Decoder
from tailtune.models.int8 import Precision, int8_is_faster
from tailtune.models.parts import Shape
from tailtune.progress import Progress, silent
from tailtune.text.tokenizer import Tokens
from tailtune.text.windows import Windows

# Rows of the scan: enough for a standard error of about 0.006 at 98 % accuracy, and ten per class.
SAMPLE = 512
SAMPLE_PER_CLASS = 10
# Of very many rows so much of them, at most; the scan then costs less than a tenth of the pass.
SAMPLE_SHARE = 1 / 20
LARGEST_SAMPLE = 4096
_BOTH: tuple[Precision, ...] = ("int8", "fp32")
# What int8 may cost in held-out log loss, in nats: half a percent of the probability of the right class. Without such a
# margin the choice turned on differences of 0.002 nats, and with twenty rows added it turned back.
MARGIN = 0.005
# Most bytes of token states that the scan keeps for a tail.
STATES_LIMIT = 512 * 1024**2
# Where rows are too few to tell: with 8 to 64 per class depth 9 of 30 was better than 3 and 15 on SMS and SNIPS, or as
# good (bench/few_labels.py). An encoder's top was not made to predict the next token, see ``auto.HIGHEST``.
USUAL_SHARE = 0.3
# Of a latency limit this much may be spent in the blocks; the rest is for the tokenizer and the head.
BLOCKS_SHARE = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a person allows the classifier to cost on this machine.

    Attributes:
        milliseconds: Most for one text of median length, alone; None for any.
        bytes: Most for the saved classifier; None for any.
        besides: Bytes of it that do not depend on the depth, the tokenizer's.
    """

    milliseconds: float | None = None
    bytes: int | None = None
    besides: int = 0

    def allow(self, milliseconds: float, stored: int) -> bool:
        """Return whether a backbone of that cost keeps within them."""
        slow = self.milliseconds is not None and milliseconds > BLOCKS_SHARE * self.milliseconds
        large = self.bytes is not None and stored + self.besides > self.bytes
        return not (slow or large)

    def refusal(self, least: Point, precision: Precision) -> ConfigError:
        """Return the error that says what the shallowest depth costs."""
        return ConfigError(
            f"no depth keeps within the limits: depth {least.candidate.depth} in {precision} takes "
            f"{least.milliseconds:.1f} ms for one text and {least.megabytes + self.besides / 1e6:.0f} MB",
            hint="raise --budget or --smaller-than, try --precision int8, or take a smaller --model",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One depth of the curve.

    Attributes:
        candidate: Its probe, with scores on the sampled rows.
        milliseconds: For one text of median length, alone, on this machine.
        megabytes: 10^6 bytes of the embeddings and blocks that are kept.
        within: Whether the limits allow it.
    """

    candidate: Candidate
    milliseconds: float
    megabytes: float
    within: bool

    def as_json(self) -> dict[str, Any]:
        """Return the point for metrics.json."""
        correct = self.candidate.correct
        low, high = wilson(int(correct.sum()), len(correct))
        return {
            "depth": self.candidate.depth,
            "rows": len(correct),
            "accuracy": float(correct.mean()),
            "interval": [low, high],
            "loss": self.candidate.loss,
            "milliseconds": self.milliseconds,
            "megabytes": self.megabytes,
            "within_limits": self.within,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What the scan found.

    Attributes:
        precision: Of the frozen products.
        why_precision: In words.
        points: One per depth, ascending.
        chosen: The candidate at the chosen depth.
        rows: Sampled rows.
        hurried: Why a deeper one was not taken, in words; empty where time had no say.
    """

    precision: Precision
    why_precision: str
    points: tuple[Point, ...]
    chosen: Candidate
    rows: int
    hurried: str = ""

    @property
    def reason(self) -> str:
        """Why this depth and precision, in words."""
        first, last = self.points[0].candidate.depth, self.points[-1].candidate.depth
        limits = "" if all(point.within for point in self.points) else " within the limits"
        if self.hurried:
            return f"depth {self.chosen.depth}: {self.hurried}; {self.why_precision}"
        allowed = [point.candidate for point in self.points if point.within]
        shallowest = self.chosen.depth == one_standard_error(allowed).depth
        which = "the shallowest" if shallowest else "for want of rows the most usual"
        return (
            f"depth {self.chosen.depth}: {which} of depths {first} to {last}{limits} within one standard error "
            f"of the best held-out log loss, {self.chosen.loss:.3f} on {self.rows} sampled rows; {self.why_precision}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the depth curve for metrics.json."""
        return {
            "precision": self.precision,
            "why_precision": self.why_precision,
            "sampled_rows": self.rows,
            "chosen_depth": self.chosen.depth,
            "points": [point.as_json() for point in self.points],
        }


def scan_size(rows: Rows) -> int:
    """Return how many rows the scan shall see."""
    seen = len(rows.train) + len(rows.validation)
    return max(SAMPLE, SAMPLE_PER_CLASS * rows.classes, min(LARGEST_SAMPLE, round(SAMPLE_SHARE * seen)))


def sample(keys: Keys, rows: Rows, size: int) -> Indices:
    """Return the texts, ascending, of a sample with about ``size`` rows that may be seen.

    Those with the lowest keys of all texts, whatever part they serve, so that another split finds them in the store;
    and of a class so rare that this leaves fewer than SAMPLE_PER_CLASS rows, its own with the lowest keys.

    Args:
        keys: [texts] key of each text's tokens, see ``whole_keys``.
        rows: What may be seen.
        size: Rows wanted.
    """
    seen = np.concatenate((rows.train, rows.validation))
    order = np.argsort(keys, kind="stable")
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = np.arange(len(keys))
    chosen = rank < round(size * len(keys) / len(seen))
    strata = rows.task.strata(rows.labels[seen])
    by_class = seen[np.lexsort((rank[seen], strata))]
    counts = np.bincount(strata, minlength=rows.classes)
    inside = np.arange(len(by_class)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen[by_class[inside < SAMPLE_PER_CLASS]] = True
    return np.flatnonzero(chosen)


def _among(rows: Rows, texts: Indices) -> Rows:
    """The rows whose texts are among ``texts``, numbered by their places there."""
    place = np.full(len(rows.labels), -1)
    place[texts] = np.arange(len(texts))
    train, validation = place[rows.train], place[rows.validation]
    return replace(
        rows,
        train=train[train >= 0],
        validation=validation[validation >= 0],
        labels=rows.labels[texts],
        groups=rows.groups[texts],
    )


def scan(
    passes: Passes,
    tokens: Tokens,
    rows: Rows,
    *,
    depths: Sequence[int],
    states: Sequence[int] = (),
    precision: Precision | Literal["auto"],
    pooling: Pooling,
    limits: Limits,
    windows: Windows | None = None,
    progress: Progress = silent,
) -> Scan:
    """Return the depth curve on a sample of the rows, and where to cut.

    Args:
        passes: Of the model.
        tokens: Of all texts, or of their windows.
        rows: What may be seen; test rows are not among them.
        depths: Depths to compare, ascending.
        states: Depths at which a tail may want token states later; kept now where they are small.
        precision: "auto" compares int8, where it is faster here, with fp32.
        pooling: Of the probe.
        limits: What the classifier may cost.
        windows: Which belong to which text; default: each is a text.
        progress: Told packed tokens.

    Raises:
        ConfigError: If no depth keeps within the limits.
    """
    windows = windows or Windows.whole(tokens.lengths)
    keys, size = whole_keys(text_keys(tokens), windows), scan_size(rows)
    chosen_rows = (sample(keys, rows, rows_wanted) for rows_wanted in (size, size // 2))
    whole, part = (_Sample.of(tokens, windows, rows, texts) for texts in chosen_rows)
    small = 4 * passes.decoder.config.width * int(whole.tokens.offsets[-1]) * len(states) <= STATES_LIMIT
    scanner = _Scanner(
        passes=passes,
        whole=whole,
        part=part,
        states=tuple(states) if small else (),
        pooling=pooling,
        limits=limits,
        progress=progress,
    )
    fast = precision == "auto" and _int8_pays(passes)
    first: Precision = "int8" if fast or precision == "int8" else "fp32"
    points = scanner.curve(first, tuple(depths))
    chosen = steady([point.candidate for point in points if point.within], usual=usual_depth(passes.decoder.config))
    if fast:
        used, why = scanner.compare(chosen.depths)
    else:
        slow = "int8 products are not faster on this machine"
        here = slow if isinstance(passes.decoder, Decoder) else "int8 is for native models"
        said = "as asked for" if precision != "auto" else here
        used, why = first, f"{first} products, {said}"
    return Scan(precision=used, why_precision=why, points=points, chosen=chosen, rows=len(chosen.losses))


def within_time(found: Scan, *, deepest: float, why: str) -> Scan:
    """Return the scan with a shallower depth chosen where the pass to the chosen one would take too long.

    Args:
        found: The curve.
        deepest: Most blocks that there is time for; the shallowest depth is taken where there is not even that.
        why: In words.
    """
    if found.chosen.depth <= deepest:
        return found
    allowed = [point.candidate for point in found.points if point.within]
    fitting = [candidate for candidate in allowed if candidate.depth <= deepest] or allowed[:1]
    return replace(found, chosen=one_standard_error(fitting), hurried=why)


def usual_depth(shape: Shape) -> float:
    """Return the depth that is best for classifying where no labels say which: 0.3 of a decoder, all of an encoder."""
    return USUAL_SHARE * shape.blocks if shape.causal else shape.blocks


def _int8_pays(passes: Passes) -> bool:
    if not isinstance(passes.decoder, Decoder) or passes.backbone("fp32").device.type != "cpu":
        return False
    config = passes.decoder.config
    return int8_is_faster(config.width, config.mlp_width)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """Some of the texts, and the rows among them that may be seen."""

    tokens: Tokens
    windows: Windows
    rows: Rows

    @classmethod
    def of(cls, tokens: Tokens, windows: Windows, rows: Rows, texts: Indices) -> _Sample:
        return cls(tokens=tokens.take(windows.of(texts)), windows=windows.take(texts), rows=_among(rows, texts))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scanner:
    """Curves on the whole sample, comparisons of precisions on a part of it."""

    passes: Passes
    whole: _Sample
    part: _Sample
    states: tuple[int, ...]
    pooling: Pooling
    limits: Limits
    progress: Progress

    def curve(self, precision: Precision, depths: tuple[int, ...]) -> tuple[Point, ...]:
        """One point per depth, each an average of the probes up to it."""
        held_out = self._held_out(self.whole, precision, depths, self.states)
        times, sizes = self._prices(precision, depths)
        points = []
        for place, depth in enumerate(depths, start=1):
            point = Point(
                candidate=held_out.candidate(depths[:place], self.whole.rows.scout),
                milliseconds=times[depth],
                megabytes=sizes[depth] / 1e6,
                within=self.limits.allow(times[depth], sizes[depth]),
            )
            points.append(point)
            self.progress("depth scan", place, len(depths), "depths")
        if not any(point.within for point in points):
            raise self.limits.refusal(points[0], precision)
        return tuple(points)

    def compare(self, depths: tuple[int, ...]) -> tuple[Precision, str]:
        """int8 unless the held-out rows prefer fp32: by MARGIN, and by two standard errors of the paired difference."""
        int8, fp32 = (self._held_out(self.part, name, depths).candidate(depths, self.part.rows.scout) for name in _BOTH)
        worse = int8.losses - fp32.losses
        said = f"log loss {int8.loss:.3f} against {fp32.loss:.3f} in fp32 on {len(worse)} rows"
        if worse.mean() <= max(MARGIN, 2 * worse.std() / np.sqrt(len(worse))):
            return "int8", f"int8 products: faster on this machine and not noticeably worse, {said}"
        times, sizes = self._prices("fp32", depths[-1:])
        if not self.limits.allow(times[depths[-1]], sizes[depths[-1]]):
            return "int8", f"int8 products: the held-out rows prefer fp32, {said}, but that is beyond the limits"
        return "fp32", f"fp32 products: the held-out rows prefer them to int8, {said}"

    def _prices(self, precision: Precision, depths: tuple[int, ...]) -> tuple[Mapping[int, float], Mapping[int, int]]:
        backbone = self.passes.backbone(precision)
        window, count = middling(self.whole.tokens, self.whole.windows)
        times = milliseconds(backbone, window, depths)
        return {depth: count * time for depth, time in times.items()}, stored_bytes(backbone, depths)

    def _held_out(
        self, texts: _Sample, precision: Precision, depths: tuple[int, ...], states: tuple[int, ...] = ()
    ) -> HeldOut:
        wanted = Wanted(pooled=depths, states=states)
        features = self.passes.features(
            texts.tokens, wanted, precision=precision, windows=texts.windows, progress=self.progress
        )
        return HeldOut(features, texts.rows, self.pooling)
