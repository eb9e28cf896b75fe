"""Choosing the method: what may be computed, a probe at the depth that the scan found, a tail tried there.

The held-out rows decide, see ``tailtune.methods.scan`` for the depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError
from tailtune.features.backbone import Wanted
from tailtune.features.store import Features
from tailtune.methods.blend import Blend
from tailtune.methods.descent import Epoch, Step, TailSettings
from tailtune.methods.finder import Found
from tailtune.methods.guided import choose_guided
from tailtune.methods.linear import Doubles
from tailtune.methods.lora import LoraSettings
from tailtune.methods.probe import PENALTIES, Rows, choose_probe
from tailtune.methods.scan import Scan
from tailtune.methods.scorers import Kind, Pooling, Scorer, own_pooling, score_features
from tailtune.methods.trained import Trained, train_part
from tailtune.methods.words import GuidedProbe, WordScorer, method_of
from tailtune.models.parts import Part
from tailtune.progress import Progress, silent

Method = Literal["probe", "tail", "lora", "full", "ngrams", "auto"]
Depth = int | Literal["auto", "last"]

# Depths of a decoder are probed this far up; its best features for classifying are rarely above (design, arXiv
# 2508.03550). An encoder's top was not made to predict the next token: averaged over MiniLM's six depths the
# held-out loss was lowest with all of them on two of three data sets (docs/log.md).
HIGHEST = 0.7
# Where a tail may be tried, as shares of all blocks.
TAIL_DEPTHS = (0.3, 0.5, 0.7)
# Most bytes of token states that ``auto`` may put into the store: at width 576 those of 1.8 million tokens.
STATES_LIMIT = 4 * 1024**3
# Faults among the validation rows for a tail to be tried: one that mends half of them, and makes none, is then just
# better with significance (McNemar's 2 x 0.5^6 = 0.03 < 0.05).
TELLING = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will be computed and tried.

    Attributes:
        method: As asked for.
        depths: Depths whose pooled vectors a probe may read, ascending.
        cuts: Those of them at which a probe may end.
        tails: Depths (tail included) at which a tail may be trained, ascending.
        blocks: Trainable blocks: of a tail, or of all that LoRA or full training reaches.
        open: Whether the depth is still to be found among ``cuts``.
        untried: Why ``auto`` tries no tail, in words.
    """

    method: Method
    depths: tuple[int, ...]
    cuts: tuple[int, ...]
    tails: tuple[int, ...]
    blocks: int
    open: bool = False
    untried: str = ""

    @property
    def trains(self) -> Kind:
        """How blocks are trained where they are."""
        return self.method if self.method in ("lora", "full") else "tail"

    @property
    def top(self) -> int:
        """The deepest block that may be needed, a tail's own included."""
        return max((*self.depths, *self.tails, 1))

    @property
    def wanted(self) -> Wanted:
        """The features that all of it needs."""
        return Wanted(pooled=self.depths, states=tuple(depth - self.blocks for depth in self.tails))


def plan(method: Method, depth: Depth, *, blocks: int, total: int, causal: bool = True, from_depth: int = 0) -> Plan:
    """Return what to compute for a model of ``total`` blocks.

    Args:
        method: probe, tail, lora, full, ngrams or auto.
        depth: Where to cut; "last" is all blocks, "auto" leaves it to the validation rows. LoRA and full training take
            all blocks then: what a probe finds best below the top, trained blocks change.
        blocks: Trainable blocks of a tail.
        total: Blocks of the model.
        causal: Whether it is a decoder.
        from_depth: Blocks below those that LoRA or full training reach.

    Raises:
        ConfigError: If the depth or the number of trainable blocks does not fit the model.
    """
    if method == "ngrams":
        return Plan(method=method, depths=(), cuts=(), tails=(), blocks=blocks)
    trains_all = method in ("lora", "full")
    top = total if depth == "last" or (trains_all and depth == "auto") else depth
    if top != "auto" and not 1 <= top <= total:
        raise ConfigError(f"--depth {top}: the model has {total} blocks", hint=f"give 1 to {total}, last or auto")
    lowest = total if top == "auto" else top
    if trains_all:
        if from_depth >= lowest:
            said = f"--from-depth {from_depth}: no block is left to train of {lowest}"
            raise ConfigError(said, hint=f"give 0 to {lowest - 1}")
        return Plan(method=method, depths=(), cuts=(), tails=(lowest,), blocks=lowest - from_depth)
    if method != "probe" and not 1 <= blocks <= lowest:
        raise ConfigError(f"--blocks {blocks}: there are only {lowest} blocks below the chosen depth")
    step = max(1, round(total / 10))
    if top == "auto":
        highest = round(HIGHEST * total) if causal else total
        grid = tuple(range(step, max(step, highest) + 1, step))
        tails = tuple(sorted({min((d for d in grid if d >= share * total), default=grid[-1]) for share in TAIL_DEPTHS}))
        tails = tuple(tail for tail in tails if tail >= blocks) or (blocks,)
        cuts = grid
    else:
        grid = (*range(step, top, step), top)
        tails, cuts = (top,), (top,)
    if method == "tail" and top != "auto":
        grid, cuts = (), ()
    tails = () if method == "probe" else tails
    return Plan(method=method, depths=grid, cuts=cuts, tails=tails, blocks=blocks, open=top == "auto")


def settled(planned: Plan, found: Scan, *, validation: int, tokens: int, width: int) -> Plan:
    """Return the plan at the depth that the scan found.

    A tail is trained where asked for; ``auto`` leaves it out where it could not win, or where its token states would
    take more room in the store than STATES_LIMIT.

    Args:
        planned: From ``plan``, with several cuts.
        found: The scan of them.
        validation: Rows of the validation part.
        tokens: Of all texts.
        width: D.
    """
    depth = found.chosen.depth
    tails = tuple(tail for tail in planned.tails if tail >= depth)[:1] or planned.tails[-1:]
    untried = ""
    correct = found.chosen.correct
    wrong = int((~correct).sum()) * validation / len(correct)
    if wrong < TELLING:
        untried = f"no tail tried: of {validation} validation rows about {wrong:.1f} are wrong, too few to tell"
    elif 4 * width * tokens > STATES_LIMIT:
        untried = f"no tail tried: the states of {tokens} tokens would take {4 * width * tokens / 1e9:.0f} GB"
    if planned.method == "auto" and untried:
        tails = ()
    depths = tuple(below for below in planned.depths if below <= depth)
    return replace(planned, depths=depths, cuts=(depth,), tails=tails, untried=untried, open=False)


@dataclass(kw_only=True, slots=True)
class Fitted:
    """The classifier that validation preferred, and the way to it.

    Attributes:
        scorer: Fitted on the training rows.
        choices: Every candidate with its held-out scores, for metrics.json.
        curves: Training curves of a tail, for metrics.json.
        rate: How the learning rate of a tail was found; None where it was given, or no tail was tried.
        reason: Why this one, in words.
        blend: Weights of ``scorer`` and of further classifiers; None where it answers alone.
        member_scores: [texts, C] of each of those, for all texts of the data set.
        trained: What was trained, where that was chosen.
        parts: Names of the members of ``blend``, for machines.
        reader: The language model's scorer where it has no part in the answer.
        rates: Settings of what was trained that were not those of the run.
    """

    scorer: Scorer
    choices: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    rate: Found | None = None
    reason: str = ""
    blend: Blend | None = None
    member_scores: tuple[Doubles, ...] = ()
    trained: Trained | None = None
    parts: tuple[str, ...] = ()
    reader: Scorer | None = None
    rates: dict[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> Scorer:
        """The language model's scorer, whether or not it has a part in the answer."""
        return self.reader or self.scorer

    @property
    def method(self) -> str:
        """What was chosen: probe, tail, lora, full, zero-shot, ngrams or blend."""
        if self.blend is not None:
            return self.blend.method
        return method_of(self.scorer)

    @property
    def backbone(self) -> Part | None:
        """Embeddings that were trained, with no block, to stand below the scorer; None where the pretrained stay."""
        return None if self.trained is None else self.trained.backbone

    def features(self, features: Features) -> Features:
        """Return the features that the scorer reads, of those it was fitted on."""
        return features if self.trained is None else self.trained.features(features)

    def scores(self, features: Features, texts: NDArray[np.int64]) -> Doubles:
        """Return [n, C] class scores of these texts, members of a blend included; before the rules.

        Args:
            features: Of all texts of the data set.
            texts: [n] which of them.
        """
        own = self.blend is None or self.blend.own
        scores = score_features(self.scorer, features, texts).astype(np.float64) if own else None
        if self.blend is not None:
            return self.blend.mixed(scores, [rows[texts] for rows in self.member_scores])
        assert scores is not None
        return scores


def choose(
    planned: Plan,
    decoder: Part,
    features: Features,
    rows: Rows,
    *,
    pooling: Pooling,
    settings: TailSettings,
    trained_pooling: Pooling | None = None,
    lora: LoraSettings | None = None,
    penalties: Sequence[float] = PENALTIES,
    progress: Progress = silent,
    happened: Callable[[Step | Epoch], None] = lambda event: None,
    found: Scan | None = None,
    words: WordScorer | None = None,
) -> Fitted:
    """Return the classifier that was asked for, as the held-out rows prefer it; for "auto" see ``methods.climbing``.

    Args:
        planned: What to try.
        decoder: Pretrained; a tail starts from copies of its blocks.
        features: Hold ``planned.wanted``.
        rows: What may be seen; test rows are not among them.
        pooling: Of the probe.
        settings: Of the tail.
        trained_pooling: Of the tail; default the one token that a text is read at.
        lora: Of "lora" alone.
        penalties: Of the probe, to choose from.
        progress: Told settings and steps.
        happened: Told every step and epoch of the tail.
        found: The scan that settled the depth; None where it was asked for.
        words: Where a head starts; None for a fresh one.
    """
    fitted = None
    if planned.cuts:
        fitting = choose_probe if words is None or planned.tails else partial(choose_guided, words)
        probe, candidate, tried = fitting(
            features, rows, depths=planned.depths, pooling=pooling, penalties=penalties, progress=progress
        )
        choices = [{**c.as_json(), "chosen": c is candidate} for c in tried]
        fitted = Fitted(scorer=probe, choices=choices, reason=_why_probe(planned, found, probe))
        if not planned.tails:
            return fitted
    (at,) = planned.tails
    trained = train_part(
        *(planned.trains, decoder, features, rows),
        first=at - planned.blocks,
        depth=at,
        pooling=trained_pooling or own_pooling(causal=decoder.config.causal),
        settings=settings,
        lora=lora,
        head=None if words is None else words.rows(),
        progress=progress,
        happened=happened,
    )
    tail = trained.scorer
    judged = _judged(tail, trained.features(features), rows) if len(rows.validation) else None
    started = "" if words is None else "; its head started at the LM head's words"
    earlier = [] if fitted is None else [{**choice, "chosen": False} for choice in fitted.choices]
    return Fitted(
        scorer=tail,
        choices=[*earlier, {**entry_of(tail, judged), "chosen": True}],
        curves=trained.curves,
        reason=f"{trained.said}, as asked for{started}",
        trained=trained,
        rate=trained.rate,
    )


def untrained(words: WordScorer, features: Features, rows: Rows) -> Fitted:
    """Return the classifier that the language model's own head makes, judged on the validation rows."""
    judged = _judged(words, features, rows) if len(rows.validation) else None
    reason = f"nothing is trained: the LM head's scores of {len(words.owners)} words at depth {words.depth}"
    return Fitted(scorer=words, choices=[{**entry_of(words, judged), "chosen": True}], reason=reason)


def _why_probe(planned: Plan, found: Scan | None, probe: Scorer) -> str:
    if found is not None:
        return f"a probe at {found.reason}"
    added = f"; it adds to the LM head's words, strength {probe.strength:.2f}" if isinstance(probe, GuidedProbe) else ""
    return f"a probe at depth {planned.cuts[0]}, as asked for{added}"


Judged = tuple[Doubles, NDArray[np.bool_]]


def _judged(scorer: Scorer, features: Features, rows: Rows) -> Judged:
    """Log loss of every validation row, and whether its best class is right."""
    logits = score_features(scorer, features, rows.validation).astype(np.float64)
    return rows.task.judge(logits, rows.labels[rows.validation])


def entry_of(scorer: Scorer, judged: Judged | None) -> dict[str, Any]:
    """Return what ``choices`` says of a part.

    Args:
        scorer: The part.
        judged: Log loss of every validation row, and whether it is right; None without such rows.
    """
    entry: dict[str, Any] = {"candidate": method_of(scorer), "depth": scorer.depth, "rows": 0}
    if judged is not None:
        losses, correct = judged
        entry |= {"rows": len(losses), "loss": float(losses.mean()), "accuracy": float(correct.mean())}
    return entry
