"""Each request and what became of it, told to those who count once it is over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from tailtune.service.classify import Answers
    from tailtune.service.gate import App, Message, Receive, Scope, Send

OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# W3C Trace Context: version, trace, parent, flags. All zeros is no trace.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request and what became of it.

    Attributes:
        method: Of HTTP, OTHER for one that is unknown.
        route: Path as it was declared, OTHER where there is none: what clients make up never becomes a name here.
        protocol: That the route belongs to.
        traceparent: As the client gave it, empty without a valid one.
        trace_id: Of the caller's trace, or of the span that was made for it; empty without either.
        began: Seconds since 1970.
        seconds: It took.
        request_id: Empty only while the request is not over.
        key: Name of the key that it brought, not the key; None where none was needed, or it was wrong.
        status: Of the answer; None where the client went away before it.
        refused: Why there was no answer, a ``refusals.Kind``.
        error_id: Under which the log has the details of an internal error.
        answered: What was computed for it, with the texts.
    """

    method: str
    route: str
    protocol: str
    traceparent: str = ""
    trace_id: str = ""
    began: float = field(default_factory=time.time)
    seconds: float = 0.0
    request_id: str = ""
    key: str | None = None
    status: int | None = None
    refused: str | None = None
    error_id: str | None = None
    answered: list[tuple[Answers, Sequence[str]]] = field(default_factory=list)

    @property
    def probe(self) -> bool:
        """Whether it only looked after the service, and found it well."""
        return self.protocol == "health" and self.status == 200


_NOW: ContextVar[Exchange | None] = ContextVar("tailtune_exchange", default=None)


def note_answers(answers: Answers, texts: Sequence[str]) -> None:
    """Remember what was computed for the request that is being answered; does nothing outside of one."""
    if (exchange := _NOW.get()) is not None:
        exchange.answered.append((answers, texts))


def note_refusal(kind: str, error_id: str | None = None) -> None:
    """Remember why the request that is being answered gets no answer; does nothing outside of one."""
    if (exchange := _NOW.get()) is not None:
        exchange.refused, exchange.error_id = kind, error_id


class Routes:
    """The routes there are, found by the path of a request.

    Args:
        routes: Of all routers; those that are no API routes have no name here. The first tag of one is its protocol,
            in small letters.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._plain: dict[str, tuple[str, str]] = {}
        self._patterns: list[tuple[re.Pattern[str], tuple[str, str]]] = []
        for route in routes:
            if not isinstance(route, APIRoute):
                continue
            named = (route.path, str(route.tags[0]).lower().replace(" ", "-") if route.tags else OTHER)
            if "{" in route.path:
                self._patterns.append((route.path_regex, named))
            else:
                self._plain[route.path] = named

    def find(self, path: str) -> tuple[str, str]:
        """Return the declared path and the protocol; OTHER twice where there is none."""
        if (plain := self._plain.get(path)) is not None:
            return plain
        return next((named for pattern, named in self._patterns if pattern.match(path)), (OTHER, OTHER))


class Watch:
    """The whole application, watched.

    Args:
        app: What answers.
        routes: There are.
        began: Called with each request at its beginning.
        ended: Called with each request once it is over, in order.

    Attributes:
        app: As given.
    """

    def __init__(
        self,
        app: App,
        *,
        routes: Routes,
        began: Callable[[Exchange], None],
        ended: Sequence[Callable[[Exchange], None]],
    ) -> None:
        self.app, self._routes, self._began, self._ended = app, routes, began, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` answer one request; see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = self._exchange(scope)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)

        token, started = _NOW.set(exchange), time.perf_counter()
        self._began(exchange)
        try:
            await self.app(scope, receive, note)
        finally:
            _NOW.reset(token)
            exchange.seconds = time.perf_counter() - started
            known = scope.get("state", {})
            exchange.request_id, exchange.key = known.get("request_id", ""), known.get("key")
            for see in self._ended:
                see(exchange)

    def _exchange(self, scope: Scope) -> Exchange:
        route, protocol = self._routes.find(scope["path"])
        method = scope["method"]
        traceparent = _traceparent(scope)
        return Exchange(
            method=method if method in _METHODS else OTHER,
            route=route,
            protocol=protocol,
            traceparent=traceparent,
            trace_id=traceparent[3:35],
        )


def _traceparent(scope: Any) -> str:
    """The header where there is one that is valid."""
    given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    text = given.decode("latin-1")
    return text if _TRACEPARENT.fullmatch(text) else ""
