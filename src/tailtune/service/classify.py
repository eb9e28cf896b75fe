"""The one function that every protocol is a view of: texts in, answers out, within the limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailtune.explain import Asked, Highlight, Occlusion
from tailtune.machine import cores
from tailtune.predict import Prediction
from tailtune.service.batcher import Batcher, Timing
from tailtune.service.limits import Limits
from tailtune.service.measuring import Measuring
from tailtune.service.refusals import Refused
from tailtune.service.served import Reload, Served
from tailtune.service.telemetry.watch import note_answers


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a request gets.

    Attributes:
        served: What answered.
        predictions: One per text, in order.
        highlights: One list per text where they were asked for.
        timing: Of the batches.
        tokenization: Seconds.
        characters: Of all texts.
        tokens: That were read of all texts, without those of highlights.
    """

    served: Served
    predictions: Sequence[Prediction]
    highlights: Sequence[Sequence[Highlight]] | None
    timing: Timing
    tokenization: float
    characters: int
    tokens: int


class Service:
    """Classifiers by name, and the one queue in front of the processor.

    Args:
        models: By name; the first is the one that requests without a name mean.
        workers: Batches computed at once, on one thread each; default: one per core, and one on another device.
        limits: How much a request, and the service, may hold.

    Attributes:
        models: As given; a reload puts another version under the same name.
        reloads: By name, the last of each classifier that was looked at again.
        limits: As given.
        batcher: The queue.
        ready: Whether new requests are welcome: from the end of ``start`` until it is told to go.
    """

    def __init__(
        self, models: Mapping[str, Served], *, workers: int | None = None, limits: Limits | None = None
    ) -> None:
        self.models = dict(models)
        self.reloads: dict[str, Reload] = {}
        device = self.pick().predictor.device
        self.limits = limits or Limits.of(device)
        workers = workers or (cores() if device == "cpu" else 1)
        tokens = {"batch_tokens": self.limits.batch_tokens, "waiting_tokens": self.limits.waiting_tokens}
        self.batcher = Batcher(workers=workers, **tokens)
        self._measuring = Measuring()
        self.ready = False

    async def start(self) -> None:
        """Begin to compute, in the running event loop; every thread has computed once before it is ready."""
        self.batcher.start()
        for served in self.models.values():
            await self.batcher.warm(served.predictor, [text for text, _ in served.predictor.bundle.golden])
        self.ready = True

    async def stop(self) -> None:
        """Refuse whoever still waits, or comes."""
        self.ready = False
        await self.batcher.stop()
        self._measuring.stop()

    @property
    def alive(self) -> bool:
        """Whether requests are answered at all; False means that only a new process helps."""
        return self.batcher.alive

    def pick(self, name: str | None = None) -> Served:
        """Return the classifier of that name, the first for None.

        Raises:
            Refused: If there is none of that name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            message = f"no model of that name; there is {', '.join(map(repr, self.models))}"
            raise Refused("not_found", message, param="model")
        return self.models[name]

    async def classify(self, texts: Sequence[str], *, model: str | None = None, highlights: bool = False) -> Answers:
        """Return the answers to ``texts``, in order.

        Args:
            texts: At least one, within the limits.
            model: Name of the classifier; None for the first.
            highlights: Whether to say which words each answer hangs on; each word costs another reading of its text.

        Raises:
            Refused: If a text, or all together, are beyond a limit, or the service has too much to do.
        """
        served = self.pick(model)
        self._require_size(texts)
        started = time.perf_counter()
        costs = await self._measuring.costs(served, texts)
        tokenization = time.perf_counter() - started
        self._require_tokens(costs)
        predictions, timing = await self.batcher.answer(served.predictor, texts, costs)
        found = None
        if highlights:
            found = await self._highlights(served, texts, predictions, self.limits.tokens - sum(costs), timing)
        answers = Answers(
            served=served,
            predictions=predictions,
            highlights=found,
            timing=timing,
            tokenization=tokenization,
            characters=sum(map(len, texts)),
            tokens=sum(costs),
        )
        served.drift.add(predictions)
        note_answers(answers, texts)
        return answers

    async def _highlights(
        self, served: Served, texts: Sequence[str], predictions: Sequence[Prediction], tokens: int, timing: Timing
    ) -> list[list[Highlight]]:
        """The words that each answer hangs on: the texts without them are texts like any others."""
        asked = [Asked(text=text, label=each.label) for text, each in zip(texts, predictions, strict=True)]
        occlusion = await asyncio.to_thread(Occlusion.of, served.predictor, asked, tokens=tokens)
        costs = await self._measuring.costs(served, occlusion.variants)
        without, more = await self.batcher.answer(served.predictor, occlusion.variants, costs)
        timing.queue, timing.inference = timing.queue + more.queue, timing.inference + more.inference
        return occlusion.highlights([each.probabilities for each in without])

    def _require_size(self, texts: Sequence[str]) -> None:
        if not texts:
            raise Refused("empty", "no text: expected at least one")
        if len(texts) > self.limits.texts:
            raise Refused("too_large", f"{len(texts)} texts: at most {self.limits.texts} in one request")
        for place, text in enumerate(texts, start=1):
            if len(text) > self.limits.characters:
                message = f"text {place} has {len(text)} characters: at most {self.limits.characters}"
                raise Refused("too_large", message)

    def _require_tokens(self, costs: Sequence[int]) -> None:
        if (total := sum(costs)) > self.limits.tokens:
            message = f"{total} tokens would be read: at most {self.limits.tokens} in one request; send fewer texts"
            raise Refused("too_large", message)
