"""What every request passes, whatever its route: size, time, how many are inside; and every answer: an id, headers.

Plain ASGI, around the application. A body is read here, whole and within its limit, before anything else looks at it;
after that the only thing a client can still do is to go away, and then its work is cancelled.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any

from tailtune.service.access import Access
from tailtune.service.faults import internal, report
from tailtune.service.limits import Limits
from tailtune.service.refusals import Refused
from tailtune.service.telemetry.watch import note_refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
Headers = list[tuple[bytes, bytes]]
# From a refusal and the request's id to the status and the body of the answer.
Shape = Callable[[Refused, str], tuple[int, dict[str, Any]]]

# Answered whatever else happens, and whoever asks: who watches the service must see it.
ALWAYS = frozenset({"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
# So long the rest of a body that nobody reads is taken in: a connection closed on it would take the answer along.
_LINGER_SECONDS, _LINGER_BYTES = 1.0, 10_000_000
# Bodies of the largest size that all requests inside may hold together: few are large, and 512 of them were a gigabyte.
_HELD = 32
# Added to answers that do not have their own: a browser is to run, keep, frame and tell nothing of them.
SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Gate:
    """The application with all that its requests pass.

    Args:
        app: The routes.
        limits: Of bodies, seconds and requests inside.
        shape_of: From a path to the shape of refusals in its protocol.
        access: Who may ask.
        log_texts: Whether the log may repeat texts.

    Attributes:
        app: As given.
        inside: Requests now, of those that may ask.
    """

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        shape_of: Callable[[str], Shape],
        access: Access | None = None,
        log_texts: bool = False,
    ) -> None:
        self.app, self._limits, self._shape_of = app, limits, shape_of
        self._access, self._log_texts = access or Access(), log_texts
        self.inside = 0
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        reply = _Reply(send, request_id, shared=self._access.shared(headers))
        try:
            await self._admit(scope, receive, reply, headers)
        except Refused as refused:
            note_refusal(refused.kind, refused.error_id)
            await reply.refuse(*self._shape_of(scope["path"])(refused, request_id), refused, receive)

    async def _admit(self, scope: Scope, receive: Receive, reply: _Reply, headers: dict[bytes, bytes]) -> None:
        """Answer whoever may ask, as long as there is room."""
        preflight = self._access.preflight(scope["method"], headers)
        if preflight is not None:
            reply.whole = await dropped(receive, headers, most=self._limits.body_bytes)
            await reply.say(204, b"", preflight)
            return
        try:
            self._require(scope, headers)
        except Refused:
            reply.whole = await dropped(receive, headers, most=self._limits.body_bytes)
            raise
        self.inside += 1
        try:
            await self._pass(scope, receive, reply, headers)
        finally:
            self.inside -= 1

    def _require(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Refuse before a byte of the body is read; most requests of a service with too much to do end here."""
        if scope["path"] not in ALWAYS:
            scope["state"]["key"] = self._access.require(headers, version=scope["http_version"])
            if self.inside >= self._limits.requests:
                raise Refused("overloaded", "too many requests at once", retry_after=1.0)
        if b"sec-websocket-key" in headers:
            raise Refused("malformed", "no websockets here")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused("media_type", "the body must not be compressed: no Content-Encoding")

    async def _pass(self, scope: Scope, receive: Receive, reply: _Reply, headers: dict[bytes, bytes]) -> None:
        deadline = asyncio.get_running_loop().time() + self._limits.seconds
        size = 0

        def hold(more: int) -> None:
            nonlocal size
            size, self._held = size + more, self._held + more
            if self._held > _HELD * self._limits.body_bytes:
                raise Refused("overloaded", "too many large requests at once", retry_after=1.0)

        try:
            async with asyncio.timeout_at(deadline):
                body = await read_body(receive, headers, most=self._limits.body_bytes, hold=hold)
            if body is not None:
                await self._answer(scope, body, receive, reply, deadline)
        except TimeoutError:
            raise Refused("slow", f"the body did not arrive within {self._limits.seconds:g} s") from None
        finally:
            self._held -= size

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, reply: _Reply, deadline: float) -> None:
        reply.whole = True
        # HEAD is GET without the body, which the server leaves out: no route needs to know.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            async with asyncio.timeout_at(deadline):
                await self._run(asked, body, receive, reply)
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
        work = asyncio.get_running_loop().create_task(self.app(scope, replay, reply))
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
            raise internal(report(outcome, with_values=self._log_texts))


class _Reply:
    """``send`` that adds the headers of every answer.

    Args:
        send: Of the request.
        request_id: Told with the answer.
        shared: Headers for the pages of other sites.

    Attributes:
        begun: Whether an answer has begun.
        whole: Whether the request's body was read; where not, the connection cannot be used again.
    """

    def __init__(self, send: Send, request_id: str, *, shared: Headers) -> None:
        self._send, self._request_id, self._shared = send, request_id, shared
        self.begun = False
        self.whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        await self._send(message)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> Headers:
        headers = list(given)
        known = {name for name, _ in headers}
        if b"content-security-policy" in known:  # which says who may frame it
            known.add(b"x-frame-options")
        headers += [each for each in SECURITY_HEADERS if each[0] not in known]
        headers += [(b"x-request-id", self._request_id.encode()), *self._shared]
        return headers if self.whole else [*headers, (b"connection", b"close")]

    async def refuse(self, status: int, body: dict[str, Any], refused: Refused, receive: Receive) -> None:
        """Send the refusal, unless an answer has begun."""
        if self.begun:
            return
        headers = [(b"content-type", b"application/json")]
        headers += [(name.lower().encode(), value.encode()) for name, value in refusal_headers(refused).items()]
        await self.say(status, json.dumps(body).encode(), headers, None if self.whole else receive)

    async def say(self, status: int, content: bytes, headers: Headers, unread: Receive | None = None) -> None:
        """Send a whole answer, and then take in what the client still sends, so that it comes to read it."""
        sized = [*headers, (b"content-length", str(len(content)).encode())] if status != 204 else headers
        await self({"type": "http.response.start", "status": status, "headers": sized})
        await self({"type": "http.response.body", "body": content, "more_body": unread is not None})
        if unread is not None:
            await dropped(unread, {}, most=_LINGER_BYTES)
            await self({"type": "http.response.body", "body": b""})


def refusal_headers(refused: Refused) -> dict[str, str]:
    """Return the headers of a refusal: when to come back, how to bring a key."""
    headers = {}
    if refused.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refused.retry_after)))
    if refused.challenge is not None:
        headers["WWW-Authenticate"] = refused.challenge
    return headers


async def dropped(receive: Receive, headers: dict[bytes, bytes], *, most: int) -> bool:
    """Return whether the rest of a body came within a second, and ``most`` bytes; it is forgotten as it comes.

    A small body is there already, beside its headers, and the connection can be used again.

    Args:
        receive: Of the request.
        headers: Of the request, names in lower case; a client that waits to be told to send its body is not told.
        most: Bytes.
    """
    said = headers.get(b"content-length", b"0")
    if b"expect" in headers or (said.isdigit() and int(said[:20]) > most):
        return False
    size = 0
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while size <= most:
                event = await receive()
                if not event.get("more_body", False):  # a client that went away has none either
                    return True
                size += len(event.get("body", b""))
    except TimeoutError:
        return False
    return False


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], *, most: int, hold: Callable[[int], None]
) -> bytes | None:
    """Return a request's body, None where the client went away before its end.

    Args:
        receive: Of the request.
        headers: Of the request, names in lower case.
        most: Bytes; counted as they arrive, whatever the headers say.
        hold: Called with the bytes of each part.

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
        hold(len(part))
        parts.append(part)
        if not event.get("more_body", False):
            return b"".join(parts)
