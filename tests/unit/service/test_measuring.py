"""Long texts are counted beside the event loop, and not too many of them at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.serving import client_of, saved, service_of
from tailtune.service.limits import Limits
from tailtune.service.measuring import Measuring
from tailtune.service.refusals import Refused
from tailtune.service.served import Served

LONG = [
    sign * (99_000 // len(sign)) for sign in ("a", " ", "e\u0301\u0327", "\u200d", "1", "'s", "a ", "\x00", "漢", "<|")
]


@pytest.fixture(scope="module")
def bundle(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_llama, tmp_path_factory.mktemp("bundles") / "spam")


def test_others_are_answered_meanwhile(bundle: Path) -> None:
    """A request of nearly two million bytes is read, and refused for its tokens; health answers all the while."""

    async def run() -> tuple[int, int]:
        async with client_of(service_of(bundle, limits=Limits(tokens=1))) as client:
            asked = asyncio.create_task(client.post("/v1/classify", json={"texts": LONG}))
            meanwhile = 0
            while not asked.done():
                meanwhile += (await client.get("/health")).status_code == 200
            return (await asked).status_code, meanwhile

    status, meanwhile = asyncio.run(run())
    assert status == 413
    assert meanwhile > 10


def test_the_counts_are_those_of_the_classifier(bundle: Path) -> None:
    """Whether a text is short or long; half a character is refused either way, without the text."""
    served = Served.load("spam", bundle)

    async def run() -> None:
        measuring = Measuring()
        texts = ["lunch at noon?", *LONG]
        assert await measuring.costs(served, texts[:1]) == served.costs(texts[:1])
        assert await measuring.costs(served, texts) == served.costs(texts)
        for text in ("a secret \ud800", "a secret \ud800" * 10_000):
            with pytest.raises(Refused) as refused:
                await measuring.costs(served, [text])
            assert refused.value.kind == "invalid"
            assert "secret" not in refused.value.message
        assert measuring.characters == 0
        measuring.stop()

    asyncio.run(run())


def test_too_many_long_texts(bundle: Path) -> None:
    """Are told to come back; one alone may be as long as the limits allow, and who leaves counts no more."""
    served = Served.load("spam", bundle)

    async def run() -> None:
        measuring = Measuring()
        most = asyncio.create_task(measuring.costs(served, ["a " * 2_050_000]))
        await asyncio.sleep(0)
        assert measuring.characters == 4_100_000
        with pytest.raises(Refused) as refused:
            await measuring.costs(served, LONG)
        assert refused.value.kind == "overloaded"
        assert await measuring.costs(served, ["lunch at noon?"]) == served.costs(["lunch at noon?"])
        most.cancel()
        await asyncio.gather(most, return_exceptions=True)
        assert measuring.characters == 0
        measuring.stop()

    asyncio.run(run())
