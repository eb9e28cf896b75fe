"""The rungs that train a part of the model, from the cheapest up: what each will take, and how it fares in the blend.

Only validation rows were held out of these, so two standard errors of their paired gain are asked for here as well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from tailtune.errors import TrainingDiverged
from tailtune.features.cost import update_seconds
from tailtune.features.store import Features
from tailtune.methods.auto import TELLING, Plan, entry_of
from tailtune.methods.descent import Epoch, Step, TailSettings
from tailtune.methods.finder import MIDDLES, SHARE
from tailtune.methods.ladder import FEWEST, HeldOutRows, Judged, Ladder
from tailtune.methods.lora import LoraSettings
from tailtune.methods.mixing import ALONE, OWN, Mix, Own, Party, held_out_rows
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import Kind, Pooling, own_pooling
from tailtune.methods.trained import train_part
from tailtune.models.mapped import shapes_of
from tailtune.models.parts import Part
from tailtune.progress import Progress

# A step takes three forward passes, at this share of their speed: batches of eight texts are small. The first rung that
# is trained corrects what is foreseen.
_STEP_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A rung that trains a part of the model.

    Attributes:
        name: For machines.
        title: For people.
        kind: What is trained.
        blocks: How many blocks below its depth; None for all of them.
        timed: Whether it is tried only within a time that was asked for.
    """

    name: str
    title: str
    kind: Kind
    blocks: int | None
    timed: bool = True

    def first(self, depth: int) -> int:
        """Return the blocks below what is trained, below 0 where there are too few."""
        return 0 if self.blocks is None else depth - self.blocks


def trainings(blocks: int) -> tuple[Training, ...]:
    """Return the rungs, from the cheapest up.

    Args:
        blocks: Of the first tail.
    """
    return (
        Training(name="tail", title=f"{blocks} trained block(s)", kind="tail", blocks=blocks, timed=False),
        Training(name="tail-more", title=f"{blocks + 1} trained blocks", kind="tail", blocks=blocks + 1),
        Training(name="lora", title="LoRA on all blocks", kind="lora", blocks=None),
        Training(name="full", title="all weights trained", kind="full", blocks=None),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What trainings are made with.

    Attributes:
        planned: Depths and tails.
        decoder: Pretrained.
        settings: Of descent.
        pooling: Of trained parts; None for the one token that a text is read at.
        lora: Of LoRA.
        states: Features with token states at a depth, computed when first asked for.
        speed: Returns tokens times blocks per second of a forward pass in fp32; None where that is not known.
        refused: Returns why the model cannot be trained so, in words; empty where it can.
        progress: Told steps.
        happened: Told every step and epoch.
    """

    planned: Plan
    decoder: Part
    settings: TailSettings
    pooling: Pooling | None
    lora: LoraSettings | None
    states: Callable[[int], Features]
    speed: Callable[[], float | None]
    refused: Callable[[Kind, int], str]
    progress: Progress
    happened: Callable[[Step | Epoch], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreseen:
    """What a training will take.

    Attributes:
        besides: Seconds for the states below it and for the scores of all texts.
        epoch: Seconds of one epoch.
    """

    besides: float
    epoch: float

    def epochs(self, left: float, most: int) -> int:
        """Return how many epochs fit into so many seconds."""
        return min(most, int(max(0.0, left - self.besides) // self.epoch))

    def seconds(self, epochs: int) -> float:
        """Return the seconds of so many epochs."""
        return self.besides + epochs * self.epoch


def foresee(training: Training, shop: Workshop, features: Features, rows: Rows, *, forward: float) -> Foreseen:
    """Return what a training will take.

    Args:
        training: Which.
        shop: What it is made with.
        features: Know the lengths of all texts.
        rows: Which of them are trained on.
        forward: Tokens times blocks per second.
    """
    depth, blocks = shop.planned.tails[0], shop.planned.blocks
    first, windows, lengths = training.first(depth), features.windows, features.lengths
    train, validation = (int(lengths[windows.of(texts)].sum()) for texts in (rows.train, rows.validation))
    once, everything = (depth - first) / forward, int(lengths.sum())
    steps = math.ceil(len(windows.of(rows.train)) / shop.settings.batch_size)
    moved = steps * update_seconds(_moved(shop.decoder, training.kind, first, depth))
    stored = depth - first == blocks  # with the features of the probe
    found = SHARE if shop.settings.learning_rate is None else 0.0
    return Foreseen(
        besides=everything * ((0 if stored else first) / forward + once),
        epoch=(3 * train * once / _STEP_SHARE + validation * once + moved) * (1 + found),
    )


def _moved(decoder: Part, kind: Kind, first: int, depth: int) -> int:
    """Weights that a step changes; those of LoRA are too few to count."""
    if kind == "lora":
        return 0
    sizes = {name: tensor.numel() for name, tensor in shapes_of(decoder).items()}
    blocks = {name: size for name, size in sizes.items() if name.startswith("blocks.")}
    below = 0 if first else sum(sizes.values()) - sum(blocks.values())
    return below + sum(size for name, size in blocks.items() if first <= int(name.split(".")[1]) < depth)


class Trainer:
    """Tries the rungs that train.

    Args:
        party: What stands.
        ladder: Told each rung.
        shop: What trainings are made with.
        names: Those of the party that were fitted already and may join.
    """

    def __init__(self, party: Party, ladder: Ladder, shop: Workshop, names: tuple[str, ...]) -> None:
        self._party, self._ladder, self._shop, self._names = party, ladder, shop, names
        self._rows: HeldOutRows = held_out_rows(party.rows, party.rows.validation, folded=False)
        # How much longer trainings took than was foreseen.
        self._slow = 1.0

    def climb(self) -> None:
        """Try all of them."""
        for training in trainings(self._shop.planned.blocks):
            if self._ladder.budget.given or not training.timed:
                self._try(training)

    def _try(self, training: Training) -> None:
        planned, budget, settings = self._shop.planned, self._ladder.budget, self._shop.settings
        foreseen, epochs = None, settings.epochs
        why = "" if planned.tails else planned.untried.removeprefix("no tail tried: ") or "no depth is planned for it"
        if not why and training.first(planned.tails[0]) < 0:
            why = f"there are only {planned.tails[0]} blocks"
        why = why or self._shop.refused(training.kind, training.first(planned.tails[0]))
        if budget.given:
            why = why or self._untellable()
        if not why and budget.given and (forward := self._shop.speed()):
            found = foresee(training, self._shop, self._party.own.features, self._party.rows, forward=forward)
            epochs = found.epochs(budget.left / self._slow, settings.epochs)
            foreseen = self._slow * found.seconds(max(1, epochs))
            why = "" if epochs else budget.refusal(foreseen)
        if why:
            self._ladder.skip(training.name, training.title, why, foreseen=foreseen)
            return
        rate = settings.learning_rate
        if rate is not None:  # of a tail: others bear larger or smaller steps
            rate *= MIDDLES[training.kind] / MIDDLES["tail"]
        settings = dataclasses.replace(settings, learning_rate=rate, epochs=epochs, stop=budget.over)
        self._train(training, settings, foreseen=foreseen)

    def _untellable(self) -> str:
        """Why no trained part could win, in words: too few validation rows that stand wrong."""
        if not len(self._rows):
            return "no validation rows"
        wrong = int((~self._party.judged(self._party.mix, self._party.own, self._rows).correct).sum())
        return "" if wrong >= TELLING else f"of {len(self._rows):,} validation rows {wrong} are wrong, too few to tell"

    def _train(self, training: Training, settings: TailSettings, *, foreseen: float | None) -> None:
        shop, depth, started = self._shop, self._shop.planned.tails[0], self._ladder.budget.clock()
        try:
            with self._ladder.timed():
                features = shop.states(training.first(depth))
                trained = train_part(
                    *(training.kind, shop.decoder, features, self._party.rows),
                    first=training.first(depth),
                    depth=depth,
                    pooling=shop.pooling or own_pooling(causal=shop.decoder.config.causal),
                    settings=settings,
                    lora=shop.lora,
                    progress=shop.progress,
                    happened=shop.happened,
                )
        except TrainingDiverged as error:
            said = f"could not be trained: {error.message}"
            self._ladder.skip(training.name, training.title, said, foreseen=foreseen)
            self._party.reasons.append(f"a {training.kind} at depth {depth} {said}")
            return
        own = Own(
            scorer=trained.scorer,
            features=trained.features(features),
            title=f"{training.title} at depth {depth}",
            trained=trained,
            curves=trained.curves,
            rate=trained.rate,
            rates={
                "learning_rate": trained.rate.rate if trained.rate else settings.learning_rate,
                "epochs": settings.epochs,
            },
        )
        self._compare(training, own, foreseen=foreseen)
        if foreseen:
            self._slow *= max(0.1, (self._ladder.budget.clock() - started) / foreseen)

    def _compare(self, training: Training, own: Own, *, foreseen: float | None) -> None:
        party, rows, taken = self._party, self._rows, False
        where, texts = f"{len(rows)} validation rows", party.rows.validation
        if len(rows) < 2:
            why = f"not better with significance on {where}"
            self._ladder.skip(training.name, own.title, why, foreseen=foreseen)
            mix = ALONE
        else:
            with self._ladder.timed():
                standing = party.judged(party.mix, party.own, rows)
                mix, judged = self._joined(own)
            taken = self._ladder.step(training.name, own.title, standing, judged, rows, foreseen=foreseen)
        verdict = "better" if taken else "not better with significance"
        party.reasons.append(f"a {training.kind} trained at depth {own.scorer.depth} was {verdict} on {where}")
        alone = party.rows.task.judge(own.scores(texts), rows.labels) if len(rows) else None
        earlier = [{**choice, "chosen": choice["chosen"] and not taken} for choice in party.choices]
        party.choices = [*earlier, {**entry_of(own.scorer, alone), "chosen": taken}]
        if taken:
            party.own, party.mix = own, mix
        elif not party.own.curves:
            party.own.curves, party.own.rate = own.curves, own.rate

    def _joined(self, own: Own) -> tuple[Mix, Judged]:
        """The mix that a trained part would answer in, and what the validation rows say of it.

        Many rows find its weights anew, with everything that was fitted; few ones would be flattered by them, so that
        those of the probe are taken over.
        """
        party, texts = self._party, self._party.rows.validation
        others: list[str] = []
        for name in self._names:
            if not party.forbidden([OWN, *others, name]):
                others.append(name)
        if len(texts) < FEWEST or not others:
            mix = party.mix if OWN in party.mix.names else ALONE
            return mix, party.judged(mix, own, self._rows)
        scores = {OWN: own.scores(texts), **{name: party.entrant(name).scores(texts) for name in others}}
        weights = dict(zip(scores, self._rows.weights(list(scores.values())), strict=True))
        mix = Mix(weights if weights[OWN] > 0 else {OWN: 1.0})  # without its part there would be nothing to compare
        return mix, self._rows.judge_mixed([scores[name] for name in mix.names])
