"""Climbing the ladder: a probe, what stands beside it, their blend, then parts of the model trained, cheapest first.

Whatever stands was preferred by rows that it did not learn from, see ``tailtune.methods.ladder``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tailtune.features.store import Features
from tailtune.methods.auto import Plan
from tailtune.methods.blend import Doubles
from tailtune.methods.descent import Epoch, Step, TailSettings
from tailtune.methods.entrants import Entrant, Price
from tailtune.methods.ladder import HeldOutRows, Judged, Ladder, spares
from tailtune.methods.lora import LoraSettings
from tailtune.methods.mixing import FEWEST_MIXED, OWN, Mix, Own, Party, held_out_rows, judged_alone
from tailtune.methods.probe import PENALTY_WORK, Folds, HeldOut, Rows, choose_probe
from tailtune.methods.scan import Limits, Scan
from tailtune.methods.scorers import Kind, Pooling
from tailtune.methods.trainings import Trainer, Workshop
from tailtune.models.parts import Part
from tailtune.progress import Progress, silent

# Multiply-adds per pass over the data of all depths together for which rows are folded: 4,459 messages at six depths
# are 3.1e7 and take 5 s.
FOLD_WORK = 6e7
# Within a time, the part of what is left that fitting n-grams in every fold may take.
FOLD_SHARE = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What a climb works with.

    Attributes:
        planned: Depths and tails.
        decoder: Pretrained.
        features: Hold ``planned.wanted``.
        rows: What may be seen; test rows are not among them.
        pooling: Of the probe.
        settings: Of trained parts.
        penalties: Of the probe, to choose from.
        trained_pooling: Of trained parts; None for the one token that a text is read at.
        lora: Of LoRA.
        found: The scan that settled the depth; None where it was asked for.
        counted: n-grams.
        embedded: A second backbone; None for none.
        states: Features with token states at a depth; default: ``features`` has them.
        limits: What the bundle may cost.
        price: What the language model costs, where there are limits.
        needs_model: Why nothing may be shipped without the language model, in words; empty where it may.
        refused: Returns why the model cannot be trained in a way from a depth up, in words; empty where it can.
        speed: Returns tokens times blocks per second of a forward pass in fp32; None where that is not known.
    """

    planned: Plan
    decoder: Part
    features: Features
    rows: Rows
    pooling: Pooling
    settings: TailSettings
    penalties: Sequence[float]
    trained_pooling: Pooling | None = None
    lora: LoraSettings | None = None
    found: Scan | None = None
    counted: Sequence[Entrant] = ()
    embedded: Entrant | None = None
    states: Callable[[int], Features] | None = None
    limits: Limits = field(default_factory=Limits)
    price: Price = field(default_factory=Price)
    needs_model: str = ""
    refused: Callable[[Kind, int], str] = lambda kind, first: ""
    speed: Callable[[], float | None] = lambda: None

    @property
    def entrants(self) -> tuple[Entrant, ...]:
        """All that may stand beside the language model."""
        return (*self.counted, *(() if self.embedded is None else (self.embedded,)))


def climb(
    given: Material,
    ladder: Ladder,
    *,
    progress: Progress = silent,
    happened: Callable[[Step | Epoch], None] = lambda event: None,
) -> Party:
    """Return what stands on the highest rung that held-out rows prefer to those below it.

    Args:
        given: What to work with.
        ladder: Told each rung.
        progress: Told settings and steps.
        happened: Told every step and epoch of trained parts.
    """
    frozen = _Frozen(given, ladder, progress)
    frozen.beside()
    shop = Workshop(
        planned=given.planned,
        decoder=given.decoder,
        settings=given.settings,
        pooling=given.trained_pooling,
        lora=given.lora,
        states=given.states or (lambda first: given.features),
        speed=given.speed,
        refused=given.refused,
        progress=progress,
        happened=happened,
    )
    Trainer(frozen.party, ladder, shop, frozen.fitted).climb()
    frozen.spare()
    return frozen.party


class _Frozen:
    """The rungs on which nothing of the model is trained, all judged on the same rows; stands on a probe at first."""

    def __init__(self, given: Material, ladder: Ladder, progress: Progress) -> None:
        self._given, self._ladder = given, ladder
        with ladder.timed():
            held, own, self.party = _probe(given, self._fold_work(), progress)
            self._folds: Folds = held.folds
            if self._hurries():
                self._folds = ((given.rows.train, given.rows.validation),)
                own = self.party.own.scores(given.rows.validation)
        judged = np.concatenate([judge for _, judge in self._folds])
        self._rows: HeldOutRows = held_out_rows(given.rows, judged, folded=len(self._folds) > 1)
        self._scores: dict[str, Doubles] = {OWN: own}
        self._judged = judged_alone(self._rows, own)
        ladder.first("probe", self.party.own.title, self._judged, self._rows)

    def _fold_work(self) -> float:
        """Within a time that was asked for folds may take the share of it that they take of a minute without."""
        return FOLD_WORK * max(1.0, (self._ladder.budget.seconds or 0.0) / 60)

    def _hurries(self) -> bool:
        """Whether n-grams fitted again in every fold would take too much of the time that is left."""
        budget, rows = self._ladder.budget, self._given.rows
        if not budget.given or len(self._folds) == 1 or len(rows.validation) < FEWEST_MIXED:
            return False
        foreseen = sum(entrant.seconds_foreseen(self._folds) for entrant in self._given.counted)
        return foreseen > FOLD_SHARE * budget.left

    @property
    def fitted(self) -> tuple[str, ...]:
        """Names of the others that were judged."""
        return tuple(name for name in self._scores if name != OWN)

    def beside(self) -> None:
        """Try each of the others alone, then blends of them with the language model."""
        given = self._given
        if any(learn is judge for learn, judge in self._folds) or not len(self._rows):
            for entrant in given.entrants:
                self._ladder.skip(entrant.name, entrant.title, "no rows are held out")
            return
        for entrant in given.entrants:
            self._alone(entrant)
        counted = [entrant.name for entrant in given.counted]
        if counted:
            self._blend("blend", "a blend with n-grams", counted)
        if given.embedded is not None and given.embedded.name in self._scores:
            self._blend("blend-more", "a blend with a second model", [*counted, given.embedded.name])

    def _alone(self, entrant: Entrant) -> None:
        budget = self._ladder.budget
        if budget.over():  # where less is left than it will take it is tried: the report needs it as a baseline too
            self._ladder.skip(entrant.name, f"{entrant.title} alone", "no time is left")
            return
        with self._ladder.timed():
            foreseen = entrant.seconds_foreseen(self._folds) if budget.given else None
            scores = entrant.held_out(self._folds)
            judged = judged_alone(self._rows, scores)
        self._scores[entrant.name] = scores
        title = f"{entrant.title} alone"
        if self._step(entrant.name, title, judged, foreseen=foreseen, besides=self._unfit_alone(entrant.name)):
            self.party.mix = self._weights([entrant.name])
            self.party.reasons.append(f"{title}: better on {self._where}")

    def _blend(self, name: str, title: str, others: Sequence[str]) -> None:
        names, why = [OWN, *(other for other in others if other in self._scores)], ""
        if len(names) < 2:
            why = "nothing else was fitted"
        if len(self._rows) < FEWEST_MIXED:
            why = why or f"weights need {FEWEST_MIXED} held-out rows, there are {len(self._rows)}"
        if why := why or self.party.forbidden(names):
            self._ladder.skip(name, title, why)
            return
        with self._ladder.timed():
            mix = self._weights(names)
            judged = self._rows.judge_mixed([self._scores[each] for each in mix.names])
        title = " + ".join(f"{mix.weights[each]:.2f} {self.party.title(each)}" for each in mix.names)
        if self._step(name, title, judged, besides="" if OWN in mix.names else self._given.needs_model):
            self.party.mix = mix
            self.party.reasons.append(f"{title}: better on {self._where}")

    def spare(self) -> None:
        """Stand on n-grams alone where rows show that they are as good as frozen parts: they need no model."""
        counted = [entrant.name for entrant in self._given.counted if entrant.name in self._scores]
        if self.party.own.trained is not None or set(self.party.mix.names) <= set(counted):
            return
        judged = {name: judged_alone(self._rows, self._scores[name]) for name in counted}
        for name in sorted(counted, key=lambda name: judged[name].loss):
            if spares(self._judged, judged[name]) and not self._unfit_alone(name):
                title = f"{self.party.title(name)} alone, for the price"
                self._ladder.spare(f"{name}-spared", title, self._judged, judged[name], self._rows)
                self.party.mix = self._weights([name])
                self.party.reasons.append(f"{self.party.title(name)} alone are as good on {self._where}, at no price")
                return

    def _unfit_alone(self, name: str) -> str:
        return self._given.needs_model or self.party.forbidden([name])

    def _weights(self, names: Sequence[str]) -> Mix:
        if len(self._rows) < FEWEST_MIXED:
            return Mix(dict.fromkeys(names, 1.0))
        found = self._rows.weights([self._scores[name] for name in names])
        return Mix(dict(zip(names, found, strict=True)))

    def _step(self, name: str, title: str, judged: Judged, *, besides: str, foreseen: float | None = None) -> bool:
        taken = self._ladder.step(*(name, title, self._judged, judged, self._rows), foreseen=foreseen, besides=besides)
        if taken:
            self._judged = judged
        return taken

    @property
    def _where(self) -> str:
        return f"{len(self._rows):,} held-out rows"


def _probe(given: Material, work: float, progress: Progress) -> tuple[HeldOut, Doubles, Party]:
    """Held-out rows, the probe's scores of them, and the probe as what stands."""
    rows = given.rows
    several = len(given.penalties) > 1 or bool(given.entrants)
    held = HeldOut(given.features, rows, given.pooling, work=PENALTY_WORK if several else 0.0)
    probe, candidate, tried = choose_probe(
        *(given.features, rows),
        depths=given.planned.depths,
        pooling=given.pooling,
        penalties=given.penalties,
        progress=progress,
        held_out=held,
    )
    if len(held.folds) == 1 and given.entrants:
        held = HeldOut(given.features, rows, given.pooling, work=work / len(given.planned.depths))
    party = Party(
        own=Own(scorer=probe, features=given.features, title=f"probe at depth {probe.depth}"),
        others=given.entrants,
        rows=rows,
        limits=given.limits,
        price=given.price,
        choices=[{**each.as_json(), "chosen": each is candidate} for each in tried],
        reasons=[_why_probe(given.planned, given.found)],
    )
    return held, held.scores(candidate.depths, candidate.penalty), party


def _why_probe(planned: Plan, found: Scan | None) -> str:
    if found is None:
        return f"a probe at depth {planned.cuts[0]}, as asked for"
    untried = "" if planned.tails else f"; {planned.untried}"
    return f"a probe at {found.reason}{untried}"
