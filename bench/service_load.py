"""A load client for bench/service.py, in a process of its own: raw HTTP/1.1 on connections that are kept open.

Reads a plan and writes what it saw, both JSON files. Times are those of the machine's monotonic clock, so that they can
be compared with those of the process that started it.

    python bench/service_load.py PLAN.json SEEN.json
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# As near as answers must be to those computed offline: the same products in batches of another size.
SAME = 1e-4
# A client that waits longer than this has given up; the service itself gives up earlier.
PATIENCE_SECONDS = 120.0
HEALTH_EVERY_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        port: On loopback.
        protocol: Of the service: ours, or that of bench/service_reference.py.
        texts: Sent in random order, one per request, again and again.
        expected: Of each text label and probabilities by name; empty to compare nothing.
        seconds: How long new requests are sent.
        connections: Each with one request at a time; of an open loop the most there are.
        rate: Requests per second of an open loop with Poisson arrivals; None for a closed loop.
        seed: Of order and arrivals.
        health: Whether GET /health is asked beside.
        until_gone: Stop when the service is gone, and keep when each request was sent and what became of it.
    """

    port: int
    protocol: Literal["tailtune", "plain"] = "tailtune"
    texts: Sequence[str]
    expected: Sequence[tuple[str, Mapping[str, float]]] = ()
    seconds: float
    connections: int
    rate: float | None = None
    seed: int = 0
    health: bool = False
    until_gone: bool = False


@dataclass(kw_only=True, slots=True)
class Seen:
    """What came back.

    Attributes:
        sent: Requests.
        answered: With status 200.
        wrong: Of these, other than expected.
        refused: Status -> requests.
        without_retry_after: Refused with 429 without saying when to come back.
        lost: Neither answered nor refused: the connection broke on the way, or nothing came.
        lost_why: Kind of error -> how many of these.
        unaccepted: Not taken by a service that was going away: no byte came, and nobody listened any more.
        reconnected: Sent again because the idle connection had been closed.
        started: When, seconds on the monotonic clock.
        seconds: Until the last answer.
        latencies: Of the answered, seconds from when they were due.
        refusals: Of the refused.
        lags: How late requests left this process, in an open loop.
        health: Of GET /health.
        health_failed: How many were not answered with 200.
        events: [sent, ended, outcome] where they are kept.
    """

    sent: int = 0
    answered: int = 0
    wrong: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    without_retry_after: int = 0
    lost: int = 0
    lost_why: dict[str, int] = field(default_factory=dict)
    unaccepted: int = 0
    reconnected: int = 0
    started: float = 0.0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    health_failed: int = 0
    events: list[tuple[float, float, str]] = field(default_factory=list)


class Load:
    """One plan carried out.

    Args:
        plan: What to send.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seen = Seen()
        self._random = random.Random(plan.seed)
        self._order: list[int] = []
        self._idle: list[Connection] = []
        self._gone = asyncio.Event()
        self._requests = [_request(plan, text) for text in plan.texts]

    async def run(self) -> Seen:
        """Return what came back."""
        self._seen.started = time.monotonic()
        beside = asyncio.create_task(self._watch_health()) if self._plan.health else None
        await (self._closed_loop() if self._plan.rate is None else self._open_loop(self._plan.rate))
        self._seen.seconds = time.monotonic() - self._seen.started
        if beside is not None:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)
        for _, writer in self._idle:
            writer.close()
        return self._seen

    def _over(self) -> bool:
        return self._gone.is_set() or time.monotonic() - self._seen.started >= self._plan.seconds

    async def _closed_loop(self) -> None:
        async def one_after_the_other() -> None:
            while not self._over():
                await self._send(self._next(), time.monotonic())

        await asyncio.gather(*(one_after_the_other() for _ in range(self._plan.connections)))

    async def _open_loop(self, rate: float) -> None:
        free, running = asyncio.Semaphore(self._plan.connections), set[asyncio.Task[None]]()

        async def when_free(place: int, due: float) -> None:
            async with free:
                self._seen.lags.append(time.monotonic() - due)
                await self._send(place, due)

        due = self._seen.started
        while not self._over():
            due += self._random.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(when_free(self._next(), due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    def _next(self) -> int:
        if not self._order:
            self._order = self._random.sample(range(len(self._requests)), len(self._requests))
        return self._order.pop()

    async def _send(self, place: int, due: float) -> None:
        sent = time.monotonic()
        self._seen.sent += 1
        outcome = "lost"
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, head, body = await self._exchange(self._requests[place])
            outcome = self._judge(place, status, head, body)
        except ConnectionRefusedError:
            outcome = "unaccepted" if self._plan.until_gone else "lost"
            self._gone.set()
        except (OSError, EOFError, TimeoutError) as error:  # an incomplete read is an EOFError
            self._seen.lost_why[type(error).__name__] = self._seen.lost_why.get(type(error).__name__, 0) + 1
        ended = time.monotonic()
        if outcome in ("lost", "unaccepted"):
            setattr(self._seen, outcome, getattr(self._seen, outcome) + 1)
        else:
            (self._seen.latencies if outcome in ("answered", "wrong") else self._seen.refusals).append(ended - due)
        if self._plan.until_gone:
            self._seen.events.append((sent, ended, outcome))

    def _judge(self, place: int, status: int, head: bytes, body: bytes) -> str:
        if status != 200:
            self._seen.refused[str(status)] = self._seen.refused.get(str(status), 0) + 1
            self._seen.without_retry_after += status == 429 and b"\r\nretry-after:" not in head
            return str(status)
        self._seen.answered += 1
        if self._plan.expected and not same(self._plan.expected[place], json.loads(body)["results"][0]):
            self._seen.wrong += 1
            return "wrong"
        return "answered"

    async def _exchange(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head in lower case and body; sent again where a kept connection turns out to have been closed."""
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError):
                if not connection[0].at_eof():
                    return await self._on(connection, request)
            connection[1].close()
            self._seen.reconnected += 1
        return await self._on(await asyncio.open_connection("127.0.0.1", self._plan.port), request)

    async def _on(self, connection: Connection, request: bytes) -> tuple[int, bytes, bytes]:
        reader, writer = connection
        writer.write(request)
        lower = b""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            length = int(lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            if lower or error.partial:  # what was begun to be answered is never sent again
                raise EOFError("an answer was cut") from error
            raise
        if b"\r\nconnection: close" in lower:
            writer.close()
        else:
            self._idle.append(connection)
        return int(head[9:12]), lower, body

    async def _watch_health(self) -> None:
        request = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        async with _own_connection(self._plan.port) as connection:
            while True:
                started = time.monotonic()
                connection[1].write(request)
                head = await connection[0].readuntil(b"\r\n\r\n")
                await connection[0].readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                self._seen.health.append(time.monotonic() - started)
                self._seen.health_failed += head[9:12] != b"200"
                await asyncio.sleep(HEALTH_EVERY_SECONDS)


@contextlib.asynccontextmanager
async def _own_connection(port: int) -> AsyncIterator[Connection]:
    connection = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield connection
    finally:
        connection[1].close()


def same(expected: tuple[str, Mapping[str, float]], got: Mapping[str, Any]) -> bool:
    """Return whether an answer has the expected label and, within SAME, the expected probabilities."""
    label, probabilities = expected
    found = got["probabilities"]
    near = found.keys() == probabilities.keys() and all(abs(found[key] - probabilities[key]) <= SAME for key in found)
    return near and got["label"] == label


def _request(plan: Plan, text: str) -> bytes:
    path, content = (
        ("/v1/classify", {"texts": [text]}) if plan.protocol == "tailtune" else ("/classify", {"text": text})
    )
    body = json.dumps(content).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def main(arguments: Sequence[str]) -> None:
    """Carry out the plan in the first file, write what came back to the second."""
    import uvloop

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asked, answered = map(Path, arguments)
    plan = Plan(**json.loads(asked.read_text(encoding="utf-8")))
    seen = uvloop.run(_run(plan))
    answered.write_text(json.dumps(asdict(seen)), encoding="utf-8")


async def _run(plan: Plan) -> Seen:
    return await Load(plan).run()


if __name__ == "__main__":
    main(sys.argv[1:])
