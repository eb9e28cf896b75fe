"""How many tokens texts are, before anybody computes them: short ones at once, long ones in threads of their own.

Tokenising two million characters takes a core for some seconds, whatever they are (docs/log.md), and long before any
limit on tokens can hold. Half the cores do it, the batches keep the others, and who would wait too long is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tailtune.errors import DataError
from tailtune.machine import cores
from tailtune.service.refusals import Refused
from tailtune.service.served import Served

# Characters that are tokenised in the event loop, in about a millisecond.
_AT_ONCE = 20_000
# Characters that wait for a thread: some ten seconds of the worst.
_WAITING = 4_000_000


class Measuring:
    """Counts tokens; to be used from one event loop.

    Attributes:
        characters: That wait, or are being read, in the threads.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=max(1, cores() // 2), thread_name_prefix="tailtune-tokens")
        self.characters = 0

    async def costs(self, served: Served, texts: Sequence[str]) -> list[int]:
        """Return [texts] tokens that the classifier reads of each.

        Raises:
            Refused: If a text holds half a character, or too many characters wait already.
        """
        characters = sum(map(len, texts))
        if characters <= _AT_ONCE:
            return _costs(served, texts)
        if self.characters and self.characters + characters > _WAITING:
            raise Refused("overloaded", "too many long texts at once", retry_after=1.0)
        self.characters += characters
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, _costs, served, texts)
        finally:
            self.characters -= characters

    def stop(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _costs(served: Served, texts: Sequence[str]) -> list[int]:
    try:
        return served.costs(texts)
    except DataError as error:
        raise Refused("invalid", error.message) from None
