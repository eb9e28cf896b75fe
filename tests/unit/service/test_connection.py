"""A connection over a real socket: answers that nobody takes are not kept for ever."""

from __future__ import annotations

import asyncio
import socket
import time

import uvicorn

from support.raw_http import answer, request, status
from tailtune.service.connection import connections
from tailtune.service.gate import Receive, Scope, Send

LARGE = 20_000_000


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with more than any buffer holds."""
    headers = [(b"content-length", str(LARGE).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(LARGE)})


async def served(seconds: float) -> tuple[asyncio.Server, int]:
    """A server of ``large`` and its port."""
    config = uvicorn.Config(large, http=connections(seconds=seconds), ws="none", log_config=None)
    config.load()
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    make = config.http_protocol_class
    server = await loop.create_server(
        lambda: make(config=config, server_state=state, app_state={}, _loop=loop),  # type: ignore[call-arg]
        "127.0.0.1",
        0,
    )
    return server, server.sockets[0].getsockname()[1]


def taken(port: int, *, wait: float) -> int:
    """Bytes of the answer that come, where the client begins to read after ``wait`` seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request("GET", "/"))
        time.sleep(wait)
        found = answer(connection)
    assert status(found) == 200
    return len(found)


def test_an_answer_that_is_not_taken() -> None:
    """Is given up after so many seconds; one that is taken arrives whole."""

    async def run() -> tuple[int, int]:
        server, port = await served(0.5)
        async with server:
            whole = await asyncio.to_thread(taken, port, wait=0.0)
            part = await asyncio.to_thread(taken, port, wait=1.5)
        return whole, part

    whole, part = asyncio.run(run())
    assert whole > LARGE
    assert part < LARGE
