"""What is remembered of a request: bounded names, the caller's trace, nothing outside of one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from tailtune.service.telemetry.watch import Exchange, Routes, Watch, note_refusal

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    scope["state"] = {"request_id": "r1", "key": "ours"}
    note_refusal("empty")
    await send({"type": "http.response.start", "status": 400})


async def ask(path: str, method: str = "GET", traceparent: bytes | None = None) -> Exchange:
    """What is remembered of one request."""
    router = APIRouter(prefix="/v2", tags=["Open Inference", "more"])
    router.add_api_route("/models/{name}/infer", lambda name: name, methods=["POST"])
    app = FastAPI(docs_url=None, redoc_url=None)
    app.add_api_route("/ready", lambda: None, tags=["health"])
    routes = Routes(route for each in (app, router) for route in each.routes)
    seen: list[Exchange] = []
    inside: list[Exchange] = []
    watch = Watch(answer, routes=routes, began=inside.append, ended=[seen.append])
    headers = [] if traceparent is None else [(b"traceparent", traceparent)]

    async def send(message: Any) -> None:
        assert len(inside) == 1
        assert not seen

    await watch({"type": "http", "method": method, "path": path, "headers": headers}, None, send)  # type: ignore[arg-type]
    (exchange,) = seen
    assert inside == seen
    return exchange


@pytest.mark.parametrize(
    ("path", "route", "protocol"),
    [
        ("/ready", "/ready", "health"),
        ("/v2/models/spam-filter/infer", "/v2/models/{name}/infer", "open-inference"),
        ("/v2/models/a/b/infer", "other", "other"),
        ("/ready/", "other", "other"),
        ("/openapi.json", "other", "other"),
        ("", "other", "other"),
    ],
)
def test_routes_are_those_declared(path: str, route: str, protocol: str) -> None:
    """A path is known by its route, and its protocol by the first tag; what clients make up is other."""
    exchange = asyncio.run(ask(path))
    assert (exchange.route, exchange.protocol) == (route, protocol)
    assert (exchange.status, exchange.refused) == (400, "empty")
    assert (exchange.request_id, exchange.key) == ("r1", "ours")


def test_methods_are_those_of_http() -> None:
    """What clients make up is other."""
    assert asyncio.run(ask("/ready", method="BREW")).method == "other"
    assert asyncio.run(ask("/ready", method="HEAD")).method == "HEAD"


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"01-{TRACE}-b7ad6b7169203331-00-what-the-future-brings", TRACE),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE}-b7ad6b7169203331-01\n", ""),
        ("", ""),
        ("\xff" * 2000, ""),
    ],
)
def test_traces_of_callers(given: str, trace: str) -> None:
    """W3C Trace Context; what is not valid is no trace."""
    exchange = asyncio.run(ask("/ready", traceparent=given.encode("latin-1")))
    assert exchange.trace_id == trace
    assert bool(exchange.traceparent) == bool(trace)


def test_outside_of_a_request() -> None:
    """Who asks the service without HTTP is nobody's request."""
    note_refusal("empty")
