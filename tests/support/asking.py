"""Clients on plain sockets that know what became of every request they sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Told:
    """What clients were told.

    Attributes:
        answers: Texts of each request and the body of its answer, of those answered with 200.
        refusals: Status of the others that were answered.
        lost: What became of requests that were sent whole and got no answer.
        last: How many connections ended because the service asked for it.
    """

    answers: list[tuple[Sequence[str], Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    last: int = 0


def request(texts: Sequence[str], **more: object) -> bytes:
    """Return a whole request to classify ``texts``."""
    content = json.dumps({"texts": list(texts), **more}).encode()
    head = "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    """Return status, headers in lower case and the JSON body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


async def ask_on_and_on(port: int, texts: Callable[[], Sequence[str]], told: Told) -> None:
    """Ask on one connection, the next request after each answer, until the service ends it.

    Args:
        port: On loopback.
        texts: Called for each request.
        told: Gets what becomes of them.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            asked = texts()
            writer.write(request(asked))
            try:
                await writer.drain()
                status, headers, body = await read_answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                told.lost.append(repr(error))
                return
            if status == 200:
                told.answers.append((asked, body))
            else:
                told.refusals.append(status)
            if headers.get("connection") == "close":
                told.last += 1
                return
    finally:
        writer.close()
