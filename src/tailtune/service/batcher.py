"""Waiting texts become packed batches: what waited longest first, as many tokens as are worth computing together.

A batch starts as soon as the processor is free, with whatever waits: alone a text waits for nobody, and under load
batches fill by themselves. Requests of many texts are cut into pieces, and the next piece queues up again behind
everybody else, so that nobody waits for more than one piece of another. The queue belongs to the event loop and needs
no lock.

One batch per core, each on one thread, and not one batch on all cores: threads that share a product wait for each
other, and whenever the event loop or another process has one of the cores, all of them wait. On two cores one message
at a time took 19 ms that way and 28 on two threads, many 174 a second and 117 (docs/log.md).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tailtune.predict import Prediction, Predictor
from tailtune.service.faults import without_values
from tailtune.service.refusals import Refused

log = logging.getLogger("tailtune.service")

# Weight of the newest batch in the rate that Retry-After is told by.
_NEWEST = 0.2


@dataclass(slots=True)
class Timing:
    """Where the time of a request went, in seconds.

    Attributes:
        queue: Waiting for the processor.
        inference: From the start of a batch to its end; a batch holds others' texts too.
    """

    queue: float = 0.0
    inference: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What was computed at once, for those who count.

    Attributes:
        pieces: Of how many requests.
        texts: How many.
        tokens: That were read.
        seconds: It took.
    """

    pieces: int
    texts: int
    tokens: int
    seconds: float


class _Gone(Exception):
    """Nobody waits for this batch any more: its computing stopped on the way."""


@dataclass(slots=True, eq=False)
class _Piece:
    """Texts of one request that are computed together.

    Attributes:
        predictor: Answers them.
        texts: At least one.
        tokens: Read for all of them.
        answer: Cancelled when the request is gone.
        timing: Of the request.
        arrived: On the monotonic clock, seconds.
    """

    predictor: Predictor
    texts: Sequence[str]
    tokens: int
    answer: asyncio.Future[list[Prediction]]
    timing: Timing
    arrived: float = field(default_factory=time.monotonic)


class Batcher:
    """The queue in front of the processor; to be used from one event loop.

    Args:
        workers: Batches computed at once, each in a thread of its own.
        batch_tokens: Computed together; a longer text is computed alone.
        waiting_tokens: Inside at once, waiting or computed. Where nothing is inside, one request is let in however
            long it is.

    Attributes:
        workers: As given.
        tokens: Inside now.
        seen: Called with each batch that was computed.
    """

    def __init__(self, *, workers: int, batch_tokens: int, waiting_tokens: int) -> None:
        self.workers, self._batch_tokens, self._waiting_tokens = workers, batch_tokens, waiting_tokens
        self._queue: deque[_Piece] = deque()
        self._some = asyncio.Event()
        self._free = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="tailtune-batches")
        self._computing: set[asyncio.Task[None]] = set()
        self._rate: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._unanswered: set[asyncio.Future[list[Prediction]]] = set()
        self._closed: str | None = None
        self.tokens = 0
        self.seen: list[Callable[[Batch], None]] = []

    def start(self) -> None:
        """Begin to compute, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="tailtune-batches")
        self._task.add_done_callback(self._ended)

    async def warm(self, predictor: Predictor, texts: Sequence[str]) -> None:
        """Compute ``texts`` once in every thread: the first products of a thread take many times as long as others."""
        loop = asyncio.get_running_loop()
        each = [loop.run_in_executor(self._threads, predictor.predict, texts) for _ in range(self.workers)]
        await asyncio.gather(*each)

    async def stop(self) -> None:
        """Stop computing; whoever has no answer yet, or comes, is told that the service is going."""
        self._close("the service is stopping")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, *self._computing, return_exceptions=True)
        self._threads.shutdown()

    @property
    def alive(self) -> bool:
        """Whether what waits will be computed: False once an error of ours ended the loop that takes from the queue."""
        return self._task is None or not self._task.done() or self._task.cancelled()

    @property
    def waiting(self) -> int:
        """Pieces in the queue."""
        return len(self._queue)

    @property
    def delay(self) -> float:
        """Seconds until what is inside now will be computed; 1 where no batch was computed yet."""
        return self.tokens / self._rate if self._rate else 1.0

    async def answer(
        self, predictor: Predictor, texts: Sequence[str], tokens: Sequence[int]
    ) -> tuple[list[Prediction], Timing]:
        """Return one prediction per text, in order, and where the time went.

        Cancelled, its texts leave the queue.

        Args:
            predictor: Answers them.
            texts: At least one.
            tokens: [texts] read for each.

        Raises:
            Refused: If too much is inside already, or the service stops.
        """
        self._require_open()
        total = sum(tokens)
        if self.tokens and self.tokens + total > self._waiting_tokens:
            raise Refused("overloaded", "the service has more to do than it can answer soon", retry_after=self.delay)
        self.tokens += total
        timing, found = Timing(), list[Prediction]()
        try:
            for part in cut(tokens, self._batch_tokens):
                found += await self._wait(predictor, texts[part], sum(tokens[part]), timing)
        finally:
            self.tokens -= total
        return found, timing

    async def _wait(self, predictor: Predictor, texts: Sequence[str], tokens: int, timing: Timing) -> list[Prediction]:
        self._require_open()  # it may have closed since the last piece
        answer: asyncio.Future[list[Prediction]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Piece(predictor, texts, tokens, answer, timing))
        self._some.set()
        self._unanswered.add(answer)
        try:
            return await answer  # cancelled with this coroutine: who takes from the queue passes over it
        finally:
            self._unanswered.discard(answer)

    def _require_open(self) -> None:
        if self._closed is not None:
            raise Refused("unready", self._closed)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            await self._free.acquire()
            batch = self._batch()
            if not batch:
                self._free.release()
                self._some.clear()
                continue
            task = loop.create_task(self._compute(batch))
            self._computing.add(task)
            task.add_done_callback(partial(self._computed, batch))

    async def _compute(self, batch: Sequence[_Piece]) -> None:
        loop, started = asyncio.get_running_loop(), time.monotonic()
        try:
            answers = await loop.run_in_executor(self._threads, _answers, batch)
        finally:
            self._free.release()
        self._give(batch, answers, started)

    def _computed(self, batch: Sequence[_Piece], task: asyncio.Task[None]) -> None:
        """A batch is done. Where it failed outside the classifier, such as for want of a thread, nobody waits on."""
        self._computing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a batch was not computed", exc_info=without_values(error))
            for piece in batch:
                if not piece.answer.done():
                    piece.answer.set_exception(RuntimeError("the batch was not computed"))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The loop is over: where that is an error, nothing will be computed any more, and everybody is told."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("batches are not computed any more", exc_info=without_values(error))
        self._close("the service has failed and must be started again")

    def _close(self, why: str) -> None:
        """Refuse whoever has no answer yet, or comes; what is computed for them ends at its next step."""
        self._closed = why
        for answer in self._unanswered:
            if not answer.done():
                answer.set_exception(Refused("unready", why))

    def _batch(self) -> list[_Piece]:
        """What waited longest, and what else fits beside it in order of arrival; empty where nobody waits.

        Where several workers are free they share what waits.
        """
        free = max(1, self.workers - len(self._computing))
        left = min(self._batch_tokens, math.ceil(sum(piece.tokens for piece in self._queue) / free))
        batch: list[_Piece] = []
        for piece in self._taken(len(self._queue)):
            if not batch or (piece.predictor is batch[0].predictor and piece.tokens <= left):
                batch.append(piece)
                left -= piece.tokens
            else:
                self._queue.append(piece)
        return batch

    def _taken(self, count: int) -> Iterator[_Piece]:
        """The first ``count`` in the queue, taken out; those whose request is gone are dropped."""
        for _ in range(count):
            piece = self._queue.popleft()
            if not piece.answer.done():
                yield piece

    def _give(self, batch: Sequence[_Piece], answers: Sequence[list[Prediction] | Exception], started: float) -> None:
        now = time.monotonic()
        for piece, answer in zip(batch, answers, strict=True):
            piece.timing.queue += started - piece.arrived
            piece.timing.inference += now - started
            if piece.answer.done():  # gone while it was computed
                continue
            if isinstance(answer, Exception):
                piece.answer.set_exception(answer)
            else:
                piece.answer.set_result(answer)
        if any(isinstance(answer, _Gone) for answer in answers):
            return  # not computed to its end: no measure of anything
        tokens, seconds = sum(piece.tokens for piece in batch), now - started
        rate = tokens / max(seconds, 1e-6) * self.workers
        self._rate = rate if self._rate is None else (1 - _NEWEST) * self._rate + _NEWEST * rate
        texts = sum(len(piece.texts) for piece in batch)
        for see in self.seen:
            see(Batch(pieces=len(batch), texts=texts, tokens=tokens, seconds=seconds))


def _answers(batch: Sequence[_Piece]) -> list[list[Prediction] | Exception]:
    """The answers of each piece, or why it has none: one text that cannot be computed must not take others along.

    A long text takes many seconds: where nobody is left to hear it, the rest of it is not computed.
    """

    def look(stage: str, done: int, total: int, unit: str) -> None:
        if all(piece.answer.done() for piece in batch):
            raise _Gone

    try:
        found = batch[0].predictor.predict([text for piece in batch for text in piece.texts], progress=look)
    except _Gone as error:
        return [error] * len(batch)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told to the request that it belongs to
        return [error] if len(batch) == 1 else [answer for piece in batch for answer in _answers([piece])]
    rows = iter(found)
    return [[next(rows) for _ in piece.texts] for piece in batch]


def cut(tokens: Sequence[int], most: int) -> Iterator[slice]:
    """Yield the parts of a request, neighbours of at most ``most`` tokens together, a longer text alone.

    Args:
        tokens: Of each text.
        most: Of a part.
    """
    start, held = 0, 0
    for at, count in enumerate(tokens):
        if at > start and held + count > most:
            yield slice(start, at)
            start, held = at, 0
        held += count
    if tokens:
        yield slice(start, len(tokens))
