"""The process: bind, serve, and let what was accepted be answered before it goes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tailtune.errors import ConfigError, SetupError
from tailtune.service.classify import Service
from tailtune.service.connection import connections
from tailtune.service.gate import App, Message, Receive, Scope, Send
from tailtune.service.reload import Reloader
from tailtune.service.telemetry.log import event

# Connections that wait in the system's queue.
_BACKLOG = 2048
# For a request that is on its way when the service is told to stop: no connection within a network needs as long.
_GRACE_SECONDS = 1.0
_LOOK_SECONDS = 0.02
# For which a thread keeps the interpreter while another one wants it. The event loop needs it for a moment; of
# Python's own 5 ms it takes several to hand an answer out and the next batch in.
_SWITCH_SECONDS = 0.0005


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: Address or name.
        port: 0 for any that is free.

    Raises:
        ConfigError: If the name means no address of this machine.
        SetupError: If it is taken, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"--host {host!r}: is no address", hint="127.0.0.1 for this machine alone") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        hint = "another process listens there; give another --port"
        raise SetupError(f"{host}:{port}: {error.strerror}", hint=hint) from error
    return listening


class Server(uvicorn.Server):
    """Answers requests until it is told to stop; what was accepted until then is answered first.

    Told to stop, it answers as before, asks clients to come back on a new connection and says that it is not ready.
    After ``drain_delay`` it stops listening. Connections that wait in the system's queue then are accepted still, and
    those without a request are kept for a second: a request may be on its way.

    Args:
        app: Of ``create_app``.
        service: What it answers with.
        drain_delay: Seconds for which new connections are accepted after it was told to stop, so that whoever sends
            them can learn of it.
        drain_seconds: Most that those inside are waited for after that.
        reloader: Loads new versions; None for never.

    Attributes:
        exit_code: Of the process once it is over.
    """

    def __init__(
        self, app: App, service: Service, *, drain_delay: float, drain_seconds: float, reloader: Reloader | None = None
    ) -> None:
        self._app, self._service, self._reloader = app, service, reloader
        self._delay, self._seconds = drain_delay, drain_seconds
        self._told: int | None = None
        self.exit_code = 0
        super().__init__(
            uvicorn.Config(
                self._answer,
                http=connections(seconds=service.limits.seconds),
                interface="asgi3",
                ws="none",
                proxy_headers=False,  # nobody here asks who a request comes from
                log_config=None,
                log_level="error",  # it would write a line for whatever is no HTTP, and anyone can send that
                access_log=False,
                server_header=False,
                lifespan="on",
                backlog=_BACKLOG,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals ourselves: the library's own way ends a process that was told to stop as if it were killed."""
        handlers: dict[int, Any] = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._on_hangup()
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._told is not None:
            os._exit(128 + number)  # told twice: threads that compute are not waited for
        self._told = number
        self._service.ready = False
        self.should_exit = True

    def _on_hangup(self) -> Callable[[int, FrameType | None], None]:
        """What SIGHUP does: it asks for new versions, but a terminal that is closed ends what was started from it."""
        loop = asyncio.get_running_loop()
        by_hand = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

        def handle(number: int, frame: FrameType | None) -> None:
            if by_hand and not _has_terminal():
                if self._told is None:  # the system and the shell may both send it
                    self._stop(number, frame)
            elif self._reloader is not None:
                loop.call_soon_threadsafe(self._reloader.ask)

        return handle

    async def main_loop(self) -> None:
        """Serve until told to stop, or nothing is computed any more."""
        reloading = asyncio.ensure_future(self._reloader.run()) if self._reloader else None
        try:
            await super().main_loop()
        finally:
            if reloading:
                reloading.cancel()

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to stop; see uvicorn."""
        return await super().on_tick(counter) or not self._service.alive

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let everything that was accepted be answered, at most ``drain_seconds``."""
        self.should_exit = True
        failed = not self._service.alive
        inside = self.server_state
        event("drain", f"told to stop: {len(inside.tasks)} requests inside", requests=len(inside.tasks))
        if self._delay and not failed:
            await asyncio.sleep(self._delay)
        await self._stop_listening(sockets or [])
        clock = asyncio.get_running_loop().time
        stopped = clock()
        while (inside.connections or inside.tasks) and clock() < stopped + self._seconds:
            if clock() >= stopped + _GRACE_SECONDS:
                self._close_idle()
            await asyncio.sleep(_LOOK_SECONDS)
        if lost := len(inside.tasks):
            said = f"{lost} requests were not answered within the {self._seconds:g} s of --drain-seconds"
            event("drain", said, level=logging.ERROR, requests=lost)
        await self.lifespan.shutdown()  # whoever waits still is told
        if inside.tasks:
            await asyncio.wait(inside.tasks, timeout=_GRACE_SECONDS)
        for connection in list(inside.connections):
            connection.transport.close()
        self.exit_code = 1 if failed or lost else 130 if self._told == signal.SIGINT else 0

    async def _stop_listening(self, sockets: Sequence[socket.socket]) -> None:
        """Close the listening sockets, without those connections being reset that wait in their queues."""
        last = [listening.dup() for listening in sockets]
        for server in self.servers:
            server.close()
        waiting: list[socket.socket] = []
        for listening, given in zip(last, sockets, strict=True):
            given.close()
            listening.setblocking(False)
            with listening, contextlib.suppress(OSError):  # none waits, or no file may be opened any more
                while len(waiting) < _BACKLOG:
                    waiting.append(listening.accept()[0])
        for connection in waiting:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _close_idle(self) -> None:
        """Close connections that wait for a request of which nothing has arrived."""
        idle = [
            connection
            for connection in self._connections()
            if connection.cycle is None or connection.cycle.response_complete
        ]
        poll = select.poll()
        of_file = {connection.transport.get_extra_info("socket").fileno(): connection for connection in idle}
        for file in of_file:
            poll.register(file, select.POLLIN)
        arriving = {file for file, _ in poll.poll(0)}
        for file, connection in of_file.items():
            if file not in arriving:
                connection.transport.close()

    def _connections(self) -> list[HttpToolsProtocol]:
        return [each for each in self.server_state.connections if isinstance(each, HttpToolsProtocol)]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application; once told to stop its answers ask clients to come back on a new connection."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self.should_exit and self._is_last(scope):
                kept = [header for header in message.get("headers", []) if header[0].lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, closing)

    def _is_last(self, scope: Scope) -> bool:
        """Whether no other request was read on the same connection behind this one."""
        return any(each.cycle is not None and each.cycle.scope is scope for each in self._connections())


def _has_terminal() -> bool:
    """Whether the terminal that this process was started from is there; False where it was started from none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def serve(
    app: App,
    service: Service,
    listening: socket.socket,
    *,
    drain_delay: float = 0.0,
    drain_seconds: float = 30.0,
    reloader: Reloader | None = None,
) -> int:
    """Return the exit code after answering requests until the process was told to stop: 0, or 130 after Ctrl-C.

    It is 1 where requests were left without an answer, or the service has failed.

    Args:
        app: Of ``create_app``.
        service: What it answers with.
        listening: From ``bind``.
        drain_delay: See ``Server``.
        drain_seconds: See ``Server``.
        reloader: Loads new versions; None for never.

    Raises:
        SetupError: If it does not start; the log has why.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    # A collection that looks through all that PyTorch brought holds every thread for a tenth of a second.
    gc.collect()
    gc.freeze()
    server = Server(app, service, drain_delay=drain_delay, drain_seconds=drain_seconds, reloader=reloader)
    try:
        server.run(sockets=[listening])
    except SystemExit as error:
        raise SetupError("the service did not start", hint="the lines above say why") from error
    return server.exit_code
