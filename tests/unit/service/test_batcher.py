"""Batches: what waited longest first, nothing lost, nothing computed for those who left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import probe_bundle, tail_bundle
from support.watched import Watched
from tailtune.predict import Prediction, Predictor
from tailtune.progress import Progress, silent
from tailtune.service.batcher import Batch, Batcher, cut
from tailtune.service.refusals import Refused

TEXTS = [f"message number {number} about lunch" for number in range(40)]


@pytest.fixture(scope="module")
def predictor(tiny_llama: Path) -> Predictor:
    return Predictor(probe_bundle(tiny_llama))


def rows(found: Sequence[Prediction]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([list(each.probabilities.values()) for each in found])


def test_answers_are_those_of_the_predictor(predictor: Predictor) -> None:
    """Whoever asks at the same time, in whatever pieces, each gets its own texts' answers in order."""
    batches: list[Batch] = []

    async def ask() -> list[list[Prediction]]:
        batcher = Batcher(workers=2, batch_tokens=20, waiting_tokens=10_000)
        batcher.seen.append(batches.append)
        batcher.start()
        asked = [TEXTS[start : start + 7] for start in range(0, 28, 7)]
        found = await asyncio.gather(*(batcher.answer(predictor, part, [6] * len(part)) for part in asked))
        assert batcher.tokens == 0
        assert batcher.waiting == 0
        await batcher.stop()
        return [each for each, _ in found]

    found = asyncio.run(ask())
    expected = rows(predictor.predict(TEXTS[:28]))
    assert np.abs(np.concatenate([rows(each) for each in found]) - expected).max() < 1e-6
    assert sum(batch.texts for batch in batches) == 28
    assert max(batch.tokens for batch in batches) <= 20


def test_who_leaves_is_not_computed(predictor: Predictor) -> None:
    """A cancelled request leaves the queue, and the tokens inside go down."""

    async def ask() -> int:
        seen: list[Batch] = []
        batcher = Batcher(workers=1, batch_tokens=6, waiting_tokens=10_000)
        batcher.seen.append(seen.append)
        asking = [asyncio.create_task(batcher.answer(predictor, [text], [6])) for text in TEXTS]
        await asyncio.sleep(0)
        assert batcher.waiting == 40
        for task in asking[1:]:
            task.cancel()
        await asyncio.gather(*asking[1:], return_exceptions=True)
        assert batcher.tokens == 6
        batcher.start()
        await asking[0]
        await batcher.stop()
        return sum(batch.texts for batch in seen)

    assert asyncio.run(ask()) == 1


def test_too_much_is_refused(predictor: Predictor) -> None:
    """Beyond what may be inside a request is told when to come back; a large one alone is let in."""

    async def ask() -> Refused:
        batcher = Batcher(workers=1, batch_tokens=6, waiting_tokens=12)
        large = asyncio.create_task(batcher.answer(predictor, TEXTS[:10], [6] * 10))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await batcher.answer(predictor, TEXTS[:1], [6])
        batcher.start()
        assert len((await large)[0]) == 10
        assert len((await batcher.answer(predictor, TEXTS[:2], [6, 6]))[0]) == 2
        await batcher.stop()
        return refused.value

    refused = asyncio.run(ask())
    assert refused.status == 429
    assert refused.retry_after == 1.0


def test_a_text_that_cannot_be_computed_takes_no_other_along(predictor: Predictor) -> None:
    """Half a character cannot be read: its own request fails, those in the same batch are answered."""

    async def ask() -> tuple[object, ...]:
        batcher = Batcher(workers=1, batch_tokens=1000, waiting_tokens=10_000)
        asking = [batcher.answer(predictor, [text], [6]) for text in (TEXTS[0], "\ud800", TEXTS[1])]
        running = asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)
        batcher.start()
        found = await running
        await batcher.stop()
        return tuple(found)

    first, broken, last = asyncio.run(ask())
    assert isinstance(first, tuple)
    assert isinstance(last, tuple)
    assert isinstance(broken, Exception)


def test_those_who_wait_when_it_stops_are_told(predictor: Predictor) -> None:
    """Nobody waits for ever for a service that is going."""

    async def ask() -> object:
        batcher = Batcher(workers=1, batch_tokens=6, waiting_tokens=100)
        waiting = asyncio.create_task(batcher.answer(predictor, TEXTS[:1], [6]))
        await asyncio.sleep(0)
        await batcher.stop()
        return (await asyncio.gather(waiting, return_exceptions=True))[0]

    refused = asyncio.run(ask())
    assert isinstance(refused, Refused)
    assert refused.status == 503


def poisoned(texts: Sequence[str]) -> None:
    if any("poison" in text for text in texts):
        raise MemoryError


@pytest.mark.parametrize("seed", range(8))
def test_whoever_stays_gets_its_own_answers(tiny_llama: Path, seed: int) -> None:
    """Random requests to two classifiers, some cancelled at random moments, some with a text that fails."""
    draw = random.Random(seed)
    models = [Watched(make(tiny_llama), poisoned) for make in (probe_bundle, tail_bundle)]
    asked = [
        (draw.choice(models), [f"{number} {place} {draw.choice('abc') * 9}" for place in range(draw.randint(1, 9))])
        for number in range(60)
    ]
    for _, texts in draw.sample(asked, 6):
        texts[draw.randrange(len(texts))] += " poison"

    async def one(batcher: Batcher, model: Predictor, texts: list[str], moment: int) -> list[Prediction]:
        for _ in range(moment):
            await asyncio.sleep(0)
        return (await batcher.answer(model, texts, model.bundle.tokenizer.read(texts)[1].lengths.tolist()))[0]

    async def ask() -> tuple[list[list[Prediction] | BaseException], set[int]]:
        batcher = Batcher(workers=draw.choice((1, 2, 3)), batch_tokens=draw.choice((1, 60, 300)), waiting_tokens=10**6)
        batcher.start()
        tasks = [asyncio.create_task(one(batcher, *each, draw.randrange(30))) for each in asked]
        left = set(draw.sample(range(len(tasks)), 15))
        for number in left:
            await asyncio.sleep(draw.choice((0, 0, 0.002)))
            tasks[number].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert (batcher.tokens, batcher.waiting, batcher.alive) == (0, 0, True)
        await batcher.stop()
        return found, left

    found, left = asyncio.run(asyncio.wait_for(ask(), 60))
    for number, ((model, texts), got) in enumerate(zip(asked, found, strict=True)):
        if isinstance(got, asyncio.CancelledError):
            assert number in left
        elif any("poison" in text for text in texts):
            assert isinstance(got, MemoryError)
        else:
            assert isinstance(got, list)
            assert np.abs(rows(got) - model.predict_proba(texts)).max() < 1e-6
            computed = [text for watched in models for batch in watched.asked for text in batch]
            assert not any("poison" in text for text in texts)
            # once, or once more alone where another text of its batch could not be computed
            again = {text for watched in models for batch in watched.asked if poisoned_in(batch) for text in batch}
            assert all(computed.count(text) == 1 for text in texts if text not in again)


def poisoned_in(batch: Sequence[str]) -> bool:
    return any("poison" in text for text in batch)


def test_a_large_request_keeps_nobody_waiting_for_more_than_one_piece(tiny_llama: Path) -> None:
    """Two hundred texts are in pieces; a single one that comes after the first piece has begun is computed second."""
    model = Watched(probe_bundle(tiny_llama))
    many = [f"long text number {number}" for number in range(200)]

    async def ask() -> None:
        batcher = Batcher(workers=1, batch_tokens=100, waiting_tokens=10**6)
        large = asyncio.create_task(batcher.answer(model, many, [10] * 200))
        await asyncio.sleep(0)
        batcher.start()
        singles: list[asyncio.Task[object]] = []
        for number in range(5):
            begun = len(model.asked)
            while len(model.asked) == begun:
                await asyncio.sleep(0)
            singles.append(asyncio.create_task(batcher.answer(model, [f"single {number}"], [10])))
        await asyncio.gather(large, *singles)
        await batcher.stop()

    asyncio.run(asyncio.wait_for(ask(), 60))
    at = {text: place for place, batch in enumerate(model.asked) for text in batch if text.startswith("single")}
    large_at = [place for place, batch in enumerate(model.asked) if batch[-1].startswith("long")]
    assert len(at) == 5
    assert len(large_at) >= 20
    for number in range(5):
        before = [place for place in large_at if place < at[f"single {number}"]]
        assert len(before) <= number + 2  # those begun before it came, the one on its way, no more


def test_what_nobody_waits_for_any_more_is_not_computed_to_its_end(tiny_llama: Path) -> None:
    """A batch whose requests are all gone stops at the next step, and the thread is free for others."""
    predictor = Predictor(probe_bundle(tiny_llama))
    steps = 0

    class Slow(Watched):
        def predict(self, texts: Sequence[str], *, progress: Progress = silent) -> list[Prediction]:
            nonlocal steps
            if texts[0] == "short":
                return super().predict(texts)
            for steps in range(1, 10**6):
                progress("predict", steps, 10**6, "tokens")
            return predictor.predict(texts)

    async def ask() -> tuple[int, int]:
        seen: list[Batch] = []
        model = Slow(probe_bundle(tiny_llama))
        batcher = Batcher(workers=1, batch_tokens=100, waiting_tokens=1000)
        batcher.seen.append(seen.append)
        batcher.start()
        gone = asyncio.create_task(batcher.answer(model, ["long"], [100]))
        while not steps:
            await asyncio.sleep(0)
        gone.cancel()
        await batcher.answer(model, ["short"], [5])
        await batcher.stop()
        return steps, len(seen)

    done, batches = asyncio.run(asyncio.wait_for(ask(), 60))
    assert done < 10**6 - 1
    assert batches == 1


def test_a_batch_that_fails_outside_the_classifier_keeps_nobody_waiting(predictor: Predictor) -> None:
    """For want of a thread, say: who waits for it is told, and the next batch is computed."""

    async def ask() -> tuple[object, int]:
        batcher = Batcher(workers=1, batch_tokens=10, waiting_tokens=1000)
        batcher.start()
        threads = batcher._threads
        batcher._threads = None  # type: ignore[assignment]
        loop = asyncio.get_running_loop()

        async def nothing(*given: object) -> object:
            raise RuntimeError("can't start new thread")

        loop.run_in_executor, usual = nothing, loop.run_in_executor  # type: ignore[assignment, method-assign]
        (failed,) = await asyncio.gather(batcher.answer(predictor, TEXTS[:1], [6]), return_exceptions=True)
        loop.run_in_executor, batcher._threads = usual, threads  # type: ignore[method-assign]
        found, _ = await batcher.answer(predictor, TEXTS[:1], [6])
        alive = batcher.alive
        await batcher.stop()
        return failed, len(found) if alive else -1

    failed, answered = asyncio.run(asyncio.wait_for(ask(), 60))
    assert isinstance(failed, RuntimeError)
    assert answered == 1


def test_when_the_loop_itself_fails_everybody_is_told(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours in what takes from the queue: nobody waits for ever, and it is no secret."""

    async def ask() -> tuple[list[object], bool]:
        batcher = Batcher(workers=1, batch_tokens=6, waiting_tokens=1000)
        waiting = [asyncio.create_task(batcher.answer(predictor, [text], [6])) for text in TEXTS[:3]]
        await asyncio.sleep(0)
        monkeypatch.setattr(batcher, "_batch", lambda: [*batcher._taken(1)][7])
        batcher.start()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        later = await asyncio.gather(batcher.answer(predictor, TEXTS[:1], [6]), return_exceptions=True)
        alive = batcher.alive
        await batcher.stop()
        assert batcher.tokens == 0
        return [*told, *later], alive

    told, alive = asyncio.run(asyncio.wait_for(ask(), 60))
    assert not alive
    assert [each.status for each in told if isinstance(each, Refused)] == [503] * 4


@pytest.mark.parametrize(
    ("tokens", "parts"),
    [
        ([], []),
        ([3, 3, 3], [(0, 2), (2, 3)]),
        ([9, 1, 1], [(0, 1), (1, 3)]),
        ([1, 9, 1], [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_cut(tokens: list[int], parts: list[tuple[int, int]]) -> None:
    """Neighbours of at most six tokens; a longer text alone."""
    assert [(part.start, part.stop) for part in cut(tokens, 6)] == parts
