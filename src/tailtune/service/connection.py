"""A client's connection: what uvicorn lets it do without end, ends here.

uvicorn waits for the end of a request's headers for ever, keeps however many of them come, and however many requests
are sent before the first is answered; and a client that reads no answer keeps it in memory. The body of a request has
its limits in the gate.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tailtune.service.gate import SECURITY_HEADERS

HEADER_BYTES = 32_768
"""Of a request's line and headers, about as much as other servers take."""

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
# Until the headers of a request are whole; a client that sends them at all needs a fraction of one.
_HEADER_SECONDS = 10.0
# Requests sent ahead on one connection; browsers and libraries send none.
_AHEAD = 16
# A connection closed on what the client still sends would take the answer along.
_LINGER_SECONDS = 1.0


class _Refusal(Exception):
    """Leaves the parser, which stops reading."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection with an end to waiting.

    Args:
        given: As uvicorn gives it.
        seconds: Until the headers of a request are whole, at most ten, and until the client has taken an answer.
        more: As uvicorn gives it.
    """

    def __init__(self, *given: Any, seconds: float, **more: Any) -> None:
        super().__init__(*given, **more)
        self._seconds = seconds
        self._status = HTTPStatus.BAD_REQUEST
        self._head, self._closing = 0, False
        self._asked: list[RequestResponseCycle] = []
        self._waiting: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        for timer in (self._waiting, self._unread):
            if timer is not None:
                timer.cancel()
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self._closing:
            return
        if self._waiting is None and self.cycle.response_complete:  # perhaps no more than an empty line
            self._await_headers()
        if self._waiting is not None:
            self._head += len(data)
            data = _without_upgrade(data)
        super().data_received(data)
        if self._waiting is not None and self._head > HEADER_BYTES and not self._closing:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Wait for its headers, also where it was sent ahead."""
        super().on_message_begin()
        if self._waiting is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        """Let the request in, unless it is one too many."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > HEADER_BYTES:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Refusal
        if len(self.pipeline) >= _AHEAD:
            self._status = HTTPStatus.TOO_MANY_REQUESTS
            raise _Refusal
        if self.parser.should_upgrade():  # its body would not be read
            raise _Refusal
        super().on_headers_complete()
        self._asked = [*(cycle for cycle in self._asked if not cycle.response_complete), self.cycle]

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; ``msg`` is uvicorn's. Behind a request without an answer yet, only close."""
        self._closing = True
        if not all(cycle.response_complete for cycle in self._asked):
            self._forget()
            self.transport.close()
            return
        status = self._status
        content = json.dumps({"error": {"type": "malformed", "message": status.phrase}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        lines = [b"%s: %s\r\n" % each for each in (*headers, (b"connection", b"close"), *SECURITY_HEADERS)]
        first = f"HTTP/1.1 {status} {status.phrase}\r\n".encode()
        self.transport.write(b"".join([first, *lines, b"\r\n", content]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a further request, even if its last answer was not taken."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._seconds, self._on_unread)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _await_headers(self) -> None:
        self._head = 0
        self._waiting = self.loop.call_later(min(self._seconds, _HEADER_SECONDS), self._on_slow)

    def _on_slow(self) -> None:
        if not self._head:  # opened ahead, as browsers do: an answer would be taken for that to what comes next
            self.transport.close()
            return
        self._status = HTTPStatus.REQUEST_TIMEOUT
        self.send_400_response("")

    def _on_unread(self) -> None:
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        """Let requests without an answer know that nobody waits for it; uvicorn tells the last one alone."""
        for cycle in self._asked:
            cycle.disconnected = True
            cycle.message_event.set()


def _without_upgrade(data: bytes) -> bytes:
    """Return the beginning of a request with its header Upgrade under a name that the parser does not know.

    Java's client, and curl with --http2, offer to go on in HTTP/2; a server may overlook it. This parser does not: it
    takes the request's body for HTTP/2.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest if _UPGRADE.search(head) else data


def connections(*, seconds: float) -> type[asyncio.Protocol]:
    """Return what uvicorn is to make connections with."""
    return cast("type[asyncio.Protocol]", functools.partial(Connection, seconds=seconds))
