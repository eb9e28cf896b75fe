"""The process on a real socket, in this one: who leaves, who is late, what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from support.asking import read_answer, request
from support.classifiers import probe_bundle
from support.serving import client_of, saved, service_of
from support.watched import Watched
from tailtune.errors import ConfigError, SetupError
from tailtune.predict import GOLDEN_TEXTS
from tailtune.service.app import create_app
from tailtune.service.batcher import Batch
from tailtune.service.classify import Service
from tailtune.service.limits import Limits
from tailtune.service.run import Server, bind
from tailtune.service.served import Served


class Running:
    """A service on a socket of this process, with a classifier that can be held up."""

    def __init__(self, model: Path, folder: Path, limits: Limits) -> None:
        bundle = probe_bundle(model)
        Watched(bundle).save(folder / "spam")
        loaded = Served.load("spam", folder / "spam")
        self.model = Watched(loaded.predictor.bundle)
        served = Served(name="spam", path=loaded.path, folder=loaded.path, predictor=self.model)
        self.service = Service({"spam": served}, workers=2, limits=limits)
        self.listening = bind("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self.server = Server(create_app(self.service), self.service, drain_delay=0.0, drain_seconds=20.0)
        self.ended: asyncio.Task[None] | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def send(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.connect()
        writer.write(request([text]))
        await writer.drain()
        return reader, writer


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def run(model: Path, folder: Path, use: Callable[[Running], Awaitable[None]], limits: Limits | None = None) -> Running:
    """Return the service after ``use`` and its end."""
    running = Running(model, folder, limits or Limits())

    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[None]:
        running.ended = asyncio.create_task(running.server.serve(sockets=[running.listening]))
        await until(lambda: running.server.started)
        try:
            yield
        finally:
            running.model.open.set()
            running.server.should_exit = True
            await running.hang_up()
            await running.ended

    async def all_of_it() -> None:
        async with serving():
            await use(running)

    asyncio.run(asyncio.wait_for(all_of_it(), 60))
    return running


def test_every_thread_has_computed_before_it_is_ready(tiny_llama: Path, tmp_path: Path) -> None:
    """The first products of a thread are slow; no request pays for them."""
    running = Running(tiny_llama, tmp_path, Limits())
    running.listening.close()
    service = Service(running.service.models, workers=3)

    async def start() -> None:
        ready.append(service.ready)
        await service.start()
        ready.append(service.ready)
        await service.stop()
        ready.append(service.ready)

    ready: list[bool] = []
    asyncio.run(start())
    assert ready == [False, True, False]
    assert running.model.asked == [list(GOLDEN_TEXTS)] * 3


def test_a_client_that_hangs_up_leaves_the_queue(tiny_llama: Path, tmp_path: Path) -> None:
    """Its text is never computed, and its room is free for others."""

    async def use(running: Running) -> None:
        running.model.open.clear()
        begun = len(running.model.asked)
        first, _ = await running.send("the first")
        await until(lambda: len(running.model.asked) > begun)  # every worker but one might still be free
        others = [await running.send(f"busy {number}") for number in range(8)]
        await until(lambda: running.service.batcher.waiting > 0)
        _, leaving = await running.send("who leaves")
        before = running.service.batcher.tokens
        await until(lambda: running.service.batcher.tokens > before)
        inside = running.service.batcher.tokens
        leaving.close()
        await until(lambda: running.service.batcher.tokens < inside)
        running.model.open.set()
        for reader, _ in [(first, None), *others]:
            assert (await read_answer(reader))[0] == 200

    running = run(tiny_llama, tmp_path, use)
    assert running.model.times("the first") == 1
    assert running.model.times("busy 7") == 1
    assert running.model.times("who leaves") == 0
    assert running.service.batcher.tokens == 0
    assert running.server.exit_code == 0


def test_highlights_wait_in_the_same_queue(tiny_llama: Path, tmp_path: Path) -> None:
    """The text without each of its words is a text like any other, in batches of the same size, behind who waits."""

    async def use(running: Running) -> None:
        seen: list[Batch] = []
        running.service.batcher.seen.append(seen.append)
        text = "one two three four five six seven"
        answers = await running.service.classify([text], highlights=True)
        assert answers.highlights is not None
        assert len(answers.highlights[0]) == 7
        assert sum(batch.texts for batch in seen) == 1 + 1 + 7  # alone, whole again, without each word
        assert max(batch.tokens for batch in seen) <= 60
        assert len(seen) > 2

    run(tiny_llama, tmp_path, use, Limits(batch_tokens=60))


def test_who_is_not_answered_in_time_is_told_when_to_come_back(tiny_llama: Path, tmp_path: Path) -> None:
    """503 in the protocol's shape, and the text leaves the queue."""

    async def use(running: Running) -> None:
        running.model.open.clear()
        reader, _ = await running.send("too late")
        status, headers, body = await read_answer(reader)
        assert (status, headers["retry-after"], body["error"]["type"]) == (503, "1", "timeout")
        assert running.service.batcher.tokens == 0

    run(tiny_llama, tmp_path, use, Limits(seconds=0.3))


def connected(running: Running) -> socket.socket:
    """Return a connection of which the service, in this thread, does not know yet."""
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def all_sent(connection: socket.socket) -> list[bytes]:
    """Return the answers that were sent before the connection was closed."""
    with connection:
        return connection.makefile("rb").read().split(b"HTTP/1.1 ")[1:]


def test_what_has_arrived_unread_when_it_is_told_to_stop_is_answered(tiny_llama: Path, tmp_path: Path) -> None:
    """In the buffer of an idle connection, or on one that waits to be accepted: the system took it, so it counts."""
    running = Running(tiny_llama, tmp_path, Limits())

    async def live() -> None:
        server = running.server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[running.listening])
        idle = [connected(running) for _ in range(5)]
        await until(lambda: len(server.server_state.connections) == 5)
        new = [connected(running) for _ in range(5)]
        silent = connected(running)
        for number, connection in enumerate([*idle, *new]):
            connection.sendall(request([f"ahead {number}"]) + request([f"arrived {number}"]))
        await server.shutdown(sockets=[running.listening])
        for connection in [*idle, *new]:
            first, second = await asyncio.to_thread(all_sent, connection)
            assert first.startswith(b"200 OK")
            assert b"connection: close" not in first
            assert second.startswith(b"200 OK")
            assert b"connection: close" in second
        assert all_sent(silent) == []
        with pytest.raises(ConnectionRefusedError):
            connected(running)

    asyncio.run(asyncio.wait_for(live(), 60))
    assert running.server.exit_code == 0
    assert [running.model.times(f"arrived {number}") for number in range(10)] == [1] * 10


def test_a_service_that_does_not_compute_any_more_says_so_and_ends(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told, and the process ends as failed: whatever watches it starts a new one."""

    async def use(running: Running) -> None:
        def broken() -> list[object]:
            raise IndexError

        monkeypatch.setattr(running.service.batcher, "_batch", broken)
        reader, _ = await running.send("hello")
        assert (await read_answer(reader))[0] == 503
        assert running.ended is not None
        await asyncio.shield(running.ended)

    assert run(tiny_llama, tmp_path, use).server.exit_code == 1


def test_health_fails_where_nothing_is_computed(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every protocol: an orchestrator that asks starts it again."""
    service = service_of(saved(tiny_llama, tmp_path / "spam"))
    paths = ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready")

    def broken() -> list[object]:
        raise IndexError

    async def ask() -> list[list[int]]:
        async with client_of(service) as client:
            before = [(await client.get(path)).status_code for path in paths]
            monkeypatch.setattr(service.batcher, "_batch", broken)
            answer = await client.post("/v1/classify", json={"texts": ["hello"]})
            return [before, [answer.status_code], [(await client.get(path)).status_code for path in paths]]

    assert asyncio.run(asyncio.wait_for(ask(), 60)) == [[200] * 5, [503], [503] * 5]


def test_a_port_that_is_taken_and_a_name_that_is_none() -> None:
    """One line each, with what to do."""
    with bind("127.0.0.1", 0) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        with pytest.raises(SetupError, match=r"in use.*another --port") as taken:
            bind("127.0.0.1", port)
        assert taken.value.exit_code == 5
    with pytest.raises(ConfigError, match="is no address"):
        bind("no.such.name.invalid", 0)
