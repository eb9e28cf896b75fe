"""The routes and what they share, as one ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tailtune import __version__
from tailtune.service.access import Access
from tailtune.service.classify import Service
from tailtune.service.faults import internal, report
from tailtune.service.gate import ALWAYS, App, Gate, Shape, refusal_headers
from tailtune.service.keys import add_schemes
from tailtune.service.page import routes as page
from tailtune.service.refusals import STATUS, Refused
from tailtune.service.telemetry import metrics as metering
from tailtune.service.telemetry.watch import Exchange, Routes, Watch, note_refusal
from tailtune.service.wire import native, oip, sagemaker, tei, vllm
from tailtune.service.wire.answers import require_alive, require_ready
from tailtune.service.wire.documents import ANY, document, refusals
from tailtune.service.wire.reading import refusal_of

# Every protocol.
VIEWS = (tei, vllm, oip, sagemaker, native)
_TITLE = "Tailtune"
_SUMMARY = "The probability of each category for a text."
# What may be asked of a path; HEAD is GET.
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_KINDS = {status: kind for kind, status in STATUS.items()}
# What is said of requests that no route takes.
_NO_ROUTE = {404: "no such path", 405: "this path does not take that method"}


class _Documented(FastAPI):
    """The framework's application with our document."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made when it is first asked for."""
        if self.openapi_schema is None:
            made = document(_TITLE, version=__version__, summary=_SUMMARY, routes=self.routes, shape_of=shape_of)
            self.openapi_schema = add_schemes(made, free=ALWAYS) if self.state.keys else made
        return self.openapi_schema


class Status(BaseModel):
    """All is well."""

    status: Literal["ok"]


def create_app(
    service: Service,
    *,
    access: Access | None = None,
    log_texts: bool = False,
    metrics: metering.Metrics | None = None,
    ended: Sequence[Callable[[Exchange], None]] = (),
) -> Watch:
    """Return the ASGI application that answers with ``service``.

    Args:
        service: What answers.
        access: Who may ask; by default whoever reaches it.
        log_texts: Whether the log may repeat texts.
        metrics: Of the service; default: new ones.
        ended: Called with each request once it is over.
    """
    metrics = metrics or metering.Metrics(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    # No page with documentation: those that come with the library load scripts from elsewhere.
    app = _Documented(
        title=_TITLE, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.log_texts = log_texts
    app.state.keys = access is not None and access.keys is not None
    routers = [*(view.router(service) for view in VIEWS), page.router(service), metering.router(metrics)]
    for router in routers:
        app.include_router(router)
    _add_health(app, service)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_error)
    gate = Gate(cast("App", app), limits=service.limits, shape_of=shape_of, access=access, log_texts=log_texts)
    routes = Routes(route for each in (app, *routers) for route in each.routes)
    return Watch(gate, routes=routes, began=metrics.began, ended=[metrics.ended, *ended])


def shape_of(path: str) -> Shape:
    """Return the shape of refusals in the protocol that ``path`` belongs to, ours where it belongs to none."""
    own = (view for view in VIEWS if any(path == prefix or path.startswith(f"{prefix}/") for prefix in view.PATHS))
    shape: Shape = next(own, native).shape
    return shape


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get(
        "/health",
        tags=["Health"],
        response_model=Status,
        response_description="The process lives and computes.",
        responses=refusals(native.shape, native.ErrorResponse, (*ANY, "unready")),
    )
    async def health() -> JSONResponse:
        """Say that the process lives and computes; where not, it must be started again."""
        require_alive(service)
        return JSONResponse({"status": "ok"})

    @app.get(
        "/ready",
        tags=["Health"],
        response_model=Status,
        response_description="New requests are welcome.",
        responses=refusals(native.shape, native.ErrorResponse, (*ANY, "unready")),
    )
    async def ready() -> JSONResponse:
        """Say whether new requests are welcome."""
        require_ready(service)
        return JSONResponse({"status": "ok"})


def _answer(request: Request, refused: Refused) -> JSONResponse:
    note_refusal(refused.kind, refused.error_id)
    status, body = shape_of(request.url.path)(refused, request.state.request_id)
    return JSONResponse(body, status_code=status, headers=refusal_headers(refused))


async def _on_refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return _answer(request, error)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong and where; never the value, which may be a text."""
    assert isinstance(error, RequestValidationError)
    return _answer(request, refusal_of(error.errors()))


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    """Give the framework's own refusals, such as no such route, the shape of the path's protocol."""
    assert isinstance(error, HTTPException)
    message = _NO_ROUTE.get(error.status_code, str(error.detail))
    answer = _answer(request, Refused(_KINDS.get(error.status_code, "invalid"), message))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    if error.status_code == STATUS["method"]:
        answer.headers["Allow"] = ", ".join(_allowed(request))
    return answer


def _allowed(request: Request) -> list[str]:
    """The methods that some route takes at the path of ``request``; the framework names those of the first alone."""
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    routes = request.app.routes
    return [name for name, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    """Put the details into the log."""
    return _answer(request, internal(report(error, with_values=request.app.state.log_texts)))
