"""Classifiers in service: in this process without a socket, or as ``tailtune serve`` runs them, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from support.classifiers import probe_bundle
from tailtune.bundle import Bundle
from tailtune.predict import Predictor
from tailtune.service.access import Access
from tailtune.service.app import create_app
from tailtune.service.classify import Service
from tailtune.service.limits import Limits
from tailtune.service.served import Served

# Starting takes a second or two; so long only on a machine that does much else.
_PATIENCE_SECONDS = 60.0


def saved(model: Path, folder: Path, make: Callable[[Path], Bundle] = probe_bundle) -> Path:
    """Return ``folder`` after what ``make`` makes of ``model`` was saved there."""
    Predictor(make(model)).save(folder)
    return folder


def service_of(*paths: Path, limits: Limits | None = None, workers: int = 2) -> Service:
    """Return a service of bundles, each named like its folder."""
    return Service({path.name: Served.load(path.name, path) for path in paths}, limits=limits, workers=workers)


@contextlib.asynccontextmanager
async def client_of(service: Service, access: Access | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that speaks to the application in this process."""
    app = create_app(service, access=access)
    await service.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            yield client
    finally:
        await service.stop()


Ask = tuple[str, str, dict[str, Any]]


class Talk:
    """A client of the application in this process, for tests that are no coroutines.

    Args:
        service: Answers.
        runner: Of the loop that the application lives in.
        client: From ``client_of``.

    Attributes:
        service: As given.
    """

    def __init__(self, service: Service, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self.service = service
        self._runner, self._client = runner, client

    def asked(self, *requests: Ask) -> list[httpx.Response]:
        """Return the answers to requests, each a method, a path and what httpx takes besides, one after the other."""
        return [self._runner.run(self._client.request(method, path, **how)) for method, path, how in requests]

    def posted(self, path: str, *values: object) -> list[httpx.Response]:
        """Return the answers to JSON values, posted one after the other."""
        return self.asked(*(("POST", path, {"json": value}) for value in values))


@contextlib.contextmanager
def talking(service: Service, access: Access | None = None) -> Iterator[Talk]:
    """Yield a client of ``service``, for whom ``access`` says who may ask."""
    with asyncio.Runner() as runner:
        held = client_of(service, access)
        client = runner.run(held.__aenter__())
        try:
            yield Talk(service, runner, client)
        finally:
            runner.run(held.__aexit__(None, None, None))


def asked(service: Service, *requests: Ask, access: Access | None = None) -> list[httpx.Response]:
    """Return the answers of ``service``, which is started for them; see ``Talk.asked``."""
    with talking(service, access) as talk:
        return talk.asked(*requests)


@dataclass(frozen=True, slots=True)
class Process:
    """A running ``tailtune serve``.

    Attributes:
        process: Its process; ``log`` has what it writes to stderr.
        url: Where it listens, without a slash at the end.
        log: The file.
    """

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def serving(folder: Path, *arguments: object, log: Path, env: dict[str, str] | None = None) -> Iterator[Process]:
    """Yield ``tailtune serve folder`` on a free port; it is told to stop at the end, and must.

    Args:
        folder: A bundle or run folder.
        arguments: Further ones.
        log: Where its stderr goes; absent.
        env: Further environment variables.
    """
    command = [sys.executable, "-m", "tailtune.cli", "serve", str(folder), "--port", "0", *map(str, arguments)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=os.environ | (env or {}))
    try:
        yield Process(process, _url(process, log), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, once it answers."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        said = log.read_text(encoding="utf-8")
        if process.poll() is not None:
            raise AssertionError(f"tailtune serve ended with {process.returncode}: {said}")
        if found := re.search(r"http://\S+:\d+", said):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{found[0]}/ready").status_code == 200:
                    return found[0]
        time.sleep(0.05)
    raise AssertionError(f"tailtune serve did not start: {log.read_text(encoding='utf-8')}")
