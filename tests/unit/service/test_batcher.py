"""Batches: what waited longest first, nothing lost, nothing computed for those who left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import probe_bundle
from tailtune.predict import Prediction, Predictor
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
