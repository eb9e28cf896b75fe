"""What every request passes, whatever its route: size, time, how many are inside; and every answer: an id, headers.

Plain ASGI, around the application. A body is read here, whole and within its limit, before anything else looks at it;
after that the only thing a client can still do is to go away, and then its work is cancelled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from tailtune.service.limits import Limits
from tailtune.service.refusals import Refused
from tailtune.service.telemetry.watch import note_refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
# From a refusal and the request's id to the status and the body of the answer.
Shape = Callable[[Refused, str], tuple[int, dict[str, Any]]]

log = logging.getLogger("tailtune.service")

# Answered whatever else happens: who watches the service must see it.
ALWAYS = frozenset({"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")


class Gate:
    """The application with all that its requests pass.

    Args:
        app: The routes.
        limits: Of bodies, seconds and requests inside.
        shape_of: From a path to the shape of refusals in its protocol.

    Attributes:
        inside: Requests now.
    """

    def __init__(self, app: App, *, limits: Limits, shape_of: Callable[[str], Shape]) -> None:
        self._app, self._limits, self._shape_of = app, limits, shape_of
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        reply = _Reply(send, request_id)
        self.inside += 1
        try:
            await self._pass(scope, receive, reply, headers)
        except Refused as refused:
            note_refusal(refused.kind)
            await reply.refuse(*self._shape_of(scope["path"])(refused, request_id), refused)
        finally:
            self.inside -= 1

    async def _pass(self, scope: Scope, receive: Receive, reply: _Reply, headers: dict[bytes, bytes]) -> None:
        always = scope["path"] in ALWAYS
        if self.inside > self._limits.requests and not always:
            raise Refused("overloaded", "too many requests at once", retry_after=1.0)
        deadline = asyncio.get_running_loop().time() + self._limits.seconds
        try:
            async with asyncio.timeout_at(deadline):
                body = await read_body(receive, headers, most=self._limits.body_bytes)
        except TimeoutError:
            raise Refused("slow", f"the body did not arrive within {self._limits.seconds:g} s") from None
        if body is None:
            return
        reply.whole = True
        try:
            async with asyncio.timeout_at(deadline):
                await self._run(scope, body, receive, reply)
        except TimeoutError:
            message = f"not answered within {self._limits.seconds:g} s"
            raise Refused("timeout", message, retry_after=1.0) from None

    async def _run(self, scope: Scope, body: bytes, receive: Receive, reply: _Reply) -> None:
        """Let the application answer, unless the client goes away first."""
        first = True

        async def replay() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await gone

        gone: asyncio.Future[Message] = asyncio.ensure_future(receive())
        work = asyncio.get_running_loop().create_task(self._app(scope, replay, reply))
        both: list[asyncio.Future[Any]] = [work, gone]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Gone away, or out of time: what still waits leaves the queue.
            if not work.done():
                work.cancel()
            gone.cancel()
            (outcome,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(outcome, Exception) and not reply.begun:  # else it is logged, and the client was told
            raise outcome


class _Reply:
    """``send`` that adds the headers of every answer.

    Attributes:
        begun: Whether an answer has begun.
        whole: Whether the request's body was read; where not, the connection cannot be used again.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.begun = False
        self.whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            message = {**message, "headers": [*message.get("headers", []), *self._headers()]}
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        own = [(b"x-request-id", self._request_id.encode())]
        return own if self.whole else [*own, (b"connection", b"close")]

    async def refuse(self, status: int, body: dict[str, Any], refused: Refused) -> None:
        """Send the refusal, unless an answer has begun."""
        if self.begun:
            return
        content = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in refusal_headers(refused).items()]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": content})


def refusal_headers(refused: Refused) -> dict[str, str]:
    """Return the headers of a refusal: when to come back."""
    return {} if refused.retry_after is None else {"Retry-After": str(max(1, math.ceil(refused.retry_after)))}


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, most: int) -> bytes | None:
    """Return a request's body, None where the client went away before its end.

    Args:
        receive: Of the request.
        headers: Of the request, names in lower case.
        most: Bytes; counted as they arrive, whatever the headers say.

    Raises:
        Refused: If it is larger.
    """
    message = f"the body is larger than {most:,} bytes"
    said = headers.get(b"content-length", b"0")
    if said.isdigit() and int(said[:20]) > most:
        raise Refused("too_large", message)
    parts, size = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        part = event.get("body", b"")
        size += len(part)
        if size > most:
            raise Refused("too_large", message)
        parts.append(part)
        if not event.get("more_body", False):
            return b"".join(parts)
