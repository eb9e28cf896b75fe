"""A new version of a classifier takes the place of the old one while requests are answered.

It is loaded, verified and tried beside the old one, which answers meanwhile. Only a whole success changes anything, at
one point in the event loop; what was admitted before is answered by the old one, and its memory goes with its last
request. Going back is the same: let the path lead to the old version again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tailtune.errors import BundleError, TailtuneError
from tailtune.service.classify import Service
from tailtune.service.faults import without_values
from tailtune.service.served import Outcome, Reload, Served, digest_at, state_of
from tailtune.service.telemetry.log import event

log = logging.getLogger("tailtune.service")


class Reloader:
    """Loads the classifiers of a service again, when asked or when their files have changed.

    Args:
        service: Whose.
        load: From a name and a path to a classifier that was verified and tried.
        every: Seconds between looks at the files; None to wait to be asked.

    Attributes:
        seen: Called with the outcome of each.
        first: Called before the classifiers are loaded again because someone asked: what else is to be read anew.
    """

    def __init__(self, service: Service, load: Callable[[str, Path], Served], *, every: float | None = None) -> None:
        self._service, self._load, self._every = service, load, every
        self._asked = asyncio.Event()
        self._states = {name: _state(served.path) for name, served in service.models.items()}
        self.seen: list[Callable[[Reload], None]] = []
        self.first: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Have everything loaded again soon; in the event loop."""
        self._asked.set()

    async def run(self) -> None:
        """Wait and load, for ever."""
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._asked.wait()
            except TimeoutError:
                await self.look()
            else:
                self._asked.clear()
                await self.reload()

    async def reload(self) -> None:
        """Load every classifier whose path leads to another version."""
        for again in self.first:
            try:
                again()
            except TailtuneError as error:
                log.error("not read again, what was read before stays: %s", error)
        for name in self._service.models:
            await self._reload(name)

    async def look(self) -> None:
        """Load the classifiers whose files are others than at the last look.

        A version that failed is not tried again before it has changed.
        """
        for name, served in self._service.models.items():
            state = await asyncio.to_thread(_state, served.path)
            if state is not None and state != self._states[name]:
                self._states[name] = state
                await self._reload(name)

    async def _reload(self, name: str) -> None:
        started, old = time.monotonic(), self._service.models[name]
        (found,) = await asyncio.gather(asyncio.to_thread(self._next, old), return_exceptions=True)
        outcome: Outcome = "failed"
        tell = partial(event, "reload", model=name, digest=old.digest)
        if isinstance(found, Served):
            outcome = "loaded"
            self._service.models[name] = found
            said = f"model {name!r}: version {found.digest[:12]} took the place of {old.digest[:12]}"
            tell(said, outcome=outcome, digest=found.digest, previous=old.digest)
        elif found is None:
            outcome = "unchanged"
            tell(f"model {name!r}: the version at its path is the one in service", outcome=outcome)
        else:
            expected = isinstance(found, TailtuneError | OSError)
            why = str(found) if expected else "an error of the service"
            said = f"model {name!r}: not loaded again, version {old.digest[:12]} stays: {why}"
            tell(said, outcome=outcome, level=logging.ERROR, error=None if expected else without_values(found))
        told = Reload(name=name, outcome=outcome, at=time.time(), seconds=time.monotonic() - started)
        self._service.reloads[name] = told
        for see in self.seen:
            see(told)

    def _next(self, old: Served) -> Served | None:
        """The version that the path leads to; None where it is the one in service."""
        if digest_at(old.path) == old.digest:
            return None
        new = self._load(old.name, old.path)
        was, now = old.predictor.bundle.labels, new.predictor.bundle.labels
        if was != now:
            message = f"{old.path}: its labels are {_said(now.names)}, those in service {_said(was.names)}"
            raise BundleError(message, hint="clients know these labels: serve others under another name")
        return replace(new, previous=old.digest)


def _said(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:10])) + (" …" if len(names) > 10 else "")


def _state(path: Path) -> frozenset[tuple[str, int, int]] | None:
    """Of the files now; None while there are none, or they are being replaced."""
    try:
        return state_of(path)
    except (BundleError, OSError):
        return None
