"""HTTP by hand: bytes as they are sent to a port, and what comes back."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable

_PATIENCE_SECONDS = 20.0


def request(method: str, path: str, *headers: str, body: bytes | None = None, version: str = "1.1") -> bytes:
    """Return a request for 127.0.0.1; a body's length is given unless its headers say how long it is."""
    lines = [f"{method} {path} HTTP/{version}", "Host: 127.0.0.1", *headers]
    told = any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers)
    if body is not None and not told:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def classify(*texts: str) -> bytes:
    """Return a good request."""
    body = json.dumps({"texts": texts}).encode()
    return request("POST", "/v1/classify", "Content-Type: application/json", body=body)


def connect(port: int) -> socket.socket:
    """Return a connection to this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)


def exchange(port: int, *parts: bytes, pause: float = 0.0, end: bool = False) -> bytes:
    """Return the first answer to ``parts``, b"" where the connection is closed without one.

    Args:
        port: Of this machine.
        parts: Sent one after the other, as long as they are taken.
        pause: Seconds after each.
        end: Say at last that nothing more is sent.
    """
    with connect(port) as connection:
        _send(connection, parts, pause)
        if end:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        return answer(connection)


def _send(connection: socket.socket, parts: Iterable[bytes], pause: float) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for part in parts:
            connection.sendall(part)
            if pause:
                time.sleep(pause)


def answer(connection: socket.socket) -> bytes:
    """Return the next answer, as far as it comes before the connection is closed; must not come too late."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while (left := _left(found)) and (part := connection.recv(left)):
            found += part
    return found


def status(found: bytes) -> int | None:
    """Return the status of an answer, None for none."""
    return int(found.split(b" ", 2)[1]) if found else None


def _left(found: bytes) -> int:
    """Bytes to read next, and no further than this answer goes."""
    head, end, rest = found.partition(b"\r\n\r\n")
    if not end:
        return 1
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0]) - len(rest) if lengths else 0
