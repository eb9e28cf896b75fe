"""Amazon SageMaker: ``POST /invocations`` and ``GET /ping``, our own answers under the paths it calls.

Besides our own request it takes what its batch jobs send, one text per line: plain, as CSV, or as JSON lines. Those are
answered with one line of JSON each, which the job joins to its input again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.datastructures import Headers

from tailtune.service.classify import Service
from tailtune.service.refusals import Refused
from tailtune.service.wire import native
from tailtune.service.wire.answers import require_ready
from tailtune.service.wire.documents import ANY, TEXTS, refusals
from tailtune.service.wire.reading import JSON, BodyRoute, decode, parse_json, require_media_type

PATHS = ("/invocations", "/ping")
JSON_LINES = "application/jsonlines"

shape = native.shape


class Pong(BaseModel):
    """New requests are welcome."""

    status: str


def _lines(text: str) -> list[str]:
    """The lines of ``text``; only ends of lines end one, and a blank one counts."""
    found = text.replace("\r\n", "\n").split("\n")
    return found[:-1] if found[-1] == "" else found


def _csv(text: str) -> list[str]:
    """The one field of every row; a quoted one may hold commas and ends of lines."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise Refused("invalid", f"the body is no CSV: {error}") from None
    for place, row in enumerate(rows, start=1):
        if len(row) > 1:
            message = f"row {place} has {len(row)} fields: expected one; put a text with a comma between quotes"
            raise Refused("invalid", message)
    return ["".join(row) for row in rows]


def _json_lines(text: str) -> list[Any]:
    """The text of every line: the line's string, or what its object has under ``text``."""
    values = [parse_json(line.encode()) for line in _lines(text) if line.strip()]
    return [value.get("text") if isinstance(value, dict) else value for value in values]


# What a batch job sends, a text per line. JSON lines have no registered name; this is the one that its jobs use.
_OF_LINES: Mapping[str, Callable[[str], list[Any]]] = {
    "text/plain": _lines,
    "text/csv": _csv,
    JSON_LINES: _json_lines,
}
_REQUEST = {
    "requestBody": {
        "content": {
            "text/plain": {"example": "claim your prize now\nlunch at noon?\n"},
            "text/csv": {"example": '"claim your prize, now"\nlunch at noon?\n'},
            JSON_LINES: {"example": '{"text": "claim your prize now"}\n"lunch at noon?"\n'},
        }
    }
}
_ANSWER = {
    "description": "Answers in the order of the texts; to lines, one line of JSON each.",
    "content": {JSON_LINES: {"schema": {"type": "string"}}},
}


class InvocationRoute(BodyRoute):
    """A route that takes texts as JSON or as lines."""

    @staticmethod
    def read(headers: Headers, body: bytes) -> Any:
        """Return the request as if it were our own.

        Raises:
            Refused: If it cannot be read.
        """
        lines = _OF_LINES.get(require_media_type(headers, (JSON, *_OF_LINES)))
        return parse_json(body) if lines is None else {"texts": lines(decode(body))}


def router(service: Service) -> APIRouter:
    """Return ``/invocations`` and ``/ping``."""
    routes = APIRouter(tags=["SageMaker"], route_class=InvocationRoute)

    @routes.post(
        "/invocations",
        response_model=native.ClassifyResponse,
        responses=refusals(shape, native.ErrorResponse, (*TEXTS, "not_found")) | {200: _ANSWER},
        openapi_extra=_REQUEST,
    )
    async def invocations(asked: native.ClassifyRequest, request: Request) -> Response:
        """Give the probability of every category for each text."""
        found = await native.classify_texts(service, asked)
        if request.state.media_type == JSON:
            return JSONResponse(found)
        lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in found["results"]]
        return Response("".join(lines), media_type=JSON_LINES)

    @routes.get(
        "/ping",
        response_model=Pong,
        response_description="New requests are welcome.",
        responses=refusals(shape, native.ErrorResponse, (*ANY, "unready")),
    )
    async def ping() -> JSONResponse:
        """Say whether new requests are welcome."""
        require_ready(service)
        return JSONResponse({"status": "ok"})

    return routes
