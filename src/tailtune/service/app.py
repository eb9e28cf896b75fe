"""The routes and what they share, as one ASGI application."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tailtune import __version__
from tailtune.service.classify import Service
from tailtune.service.gate import App, Gate, Shape, refusal_headers
from tailtune.service.refusals import STATUS, Refused
from tailtune.service.wire import native

log = logging.getLogger("tailtune.service")

# Every protocol, the more particular paths first; ours owns what is left.
VIEWS = (native,)


def create_app(service: Service) -> Gate:
    """Return the ASGI application that answers with ``service``."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    # No page with documentation: those that come with the library load scripts from elsewhere.
    app = FastAPI(
        title="Tailtune",
        version=__version__,
        summary="The probability of each category for a text.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    for view in VIEWS:
        app.include_router(view.router(service))
    _add_health(app, service)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_error)
    return Gate(cast("App", app), limits=service.limits, shape_of=shape_of)


def shape_of(path: str) -> Shape:
    """Return the shape of refusals in the protocol that ``path`` belongs to."""
    view = next(view for view in VIEWS if any(path.startswith(own) for own in view.PATHS))
    shape: Shape = view.shape
    return shape


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["health"], responses={503: {"model": native.ErrorResponse}})
    async def health() -> dict[str, str]:
        """Say that the process lives and computes; where not, it must be started again."""
        if not service.alive:
            raise Refused("unready", "the service has failed and must be started again")
        return {"status": "ok"}

    @app.get("/ready", tags=["health"], responses={503: {"model": native.ErrorResponse}})
    async def ready() -> dict[str, str]:
        """Say whether new requests are welcome."""
        if not (service.ready and service.alive):
            raise Refused("unready", "the service is starting or stopping")
        return {"status": "ok"}


def _answer(request: Request, refused: Refused) -> JSONResponse:
    status, body = shape_of(request.url.path)(refused, request.state.request_id)
    return JSONResponse(body, status_code=status, headers=refusal_headers(refused))


async def _on_refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return _answer(request, error)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong and where; never the value, which may be a text, or be no Unicode."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _answer(request, Refused("invalid", f"{where}: {first['msg']}"))


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    """Give the framework's own refusals, such as no such route, the shape of the path's protocol."""
    assert isinstance(error, HTTPException)
    kinds = {status: kind for kind, status in STATUS.items()}
    answer = _answer(request, Refused(kinds.get(error.status_code, "invalid"), str(error.detail)))
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    """An error of ours: its details go to the log, the client gets the number to ask for them."""
    error_id = secrets.token_hex(8)
    log.error("error %s", error_id, exc_info=error)
    return _answer(request, Refused("internal", "an error of the service; its log has the details", error_id=error_id))
