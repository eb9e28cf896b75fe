"""The OpenAPI document: what routes say of themselves, and each protocol's refusals in its own shape.

The refusals that are documented are made by the function that makes those that are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from tailtune.service.gate import Shape
from tailtune.service.refusals import Kind, Refused

# What each kind is for, with a message as it could be sent.
_SAYS: Mapping[Kind, str] = {
    "invalid": "body.texts: List should have at least 1 item after validation, not 0",
    "empty": "no text: expected at least one",
    "malformed": "the Host header is missing, or is no name",
    "too_large": "300 texts: at most 256 in one request",
    "slow": "the body did not arrive within 30 s",
    "media_type": "Content-Type: expected application/json",
    "unauthorized": "no key, or one that is not known",
    "forbidden": "pages of other sites may not ask; --allow-origin lets one",
    "misdirected": "this service is not known by that name",
    "not_found": "no model of that name; there is 'spam-filter'",
    "method": "this path does not take that method",
    "overloaded": "the service has more to do than it can answer soon",
    "timeout": "not answered within 30 s",
    "unready": "the service is stopping",
    "internal": "an error of the service; its log has the details",
}
# Those that any request can meet, even one after the service's health.
ANY: tuple[Kind, ...] = ("malformed", "slow", "too_large", "media_type", "timeout", "internal")
# Those that further routes can answer with, whatever is asked.
QUERIES: tuple[Kind, ...] = (*ANY, "unauthorized", "forbidden", "misdirected", "overloaded")
# Those of routes that take texts.
TEXTS: tuple[Kind, ...] = (*QUERIES, "invalid", "empty", "unready")
_RETRY = {"Retry-After": {"description": "Seconds until another try is worth it.", "schema": {"type": "integer"}}}
# Under which a response lists its reasons until they become examples.
_KINDS = "x-kinds"
_REQUEST_ID = "1f0a6c3e5b7d9284"


def refusals(shape: Shape, model: type[BaseModel], kinds: tuple[Kind, ...]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that refuses for these reasons; ``document`` adds the examples.

    Args:
        shape: Of the protocol.
        model: Of the bodies that ``shape`` returns.
        kinds: Why.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, _ = shape(Refused(kind, _SAYS[kind]), _REQUEST_ID)
        entry = found.setdefault(status, {"model": model, "description": HTTPStatus(status).phrase, _KINDS: []})
        entry[_KINDS].append(kind)
        if kind in ("overloaded", "timeout"):
            entry["headers"] = _RETRY
    return found


def document(
    title: str, *, version: str, summary: str, routes: list[BaseRoute], shape_of: Callable[[str], Shape]
) -> dict[str, Any]:
    """Return the OpenAPI document of ``routes``.

    Args:
        title: Its title.
        version: Ours.
        summary: One line.
        routes: All of them.
        shape_of: From a path to the shape of refusals in its protocol.
    """
    made = get_openapi(title=title, version=version, summary=summary, routes=routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    # What the framework adds to every route with parameters: it is never sent.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, operations in made["paths"].items():
        for operation in operations.values():
            _drop_foreign(operation["responses"])
            for response in operation["responses"].values():
                _add_examples(response, shape_of(path))
    return made


def _add_examples(response: dict[str, Any], shape: Shape) -> None:
    """Show a refusal for each reason; here, as the framework leaves out what is null."""
    if (kinds := response.pop(_KINDS, None)) is None:
        return
    # Whatever the route answers otherwise, the type that the framework writes the schema under: refusals are JSON.
    (content,) = response["content"].values()
    response["content"] = {"application/json": content}
    examples = content.setdefault("examples", {})
    for kind in kinds:
        error_id = "5d41402abc4b2a76" if kind == "internal" else None
        _, body = shape(Refused(kind, _SAYS[kind], error_id=error_id), _REQUEST_ID)
        examples[kind] = {"summary": _SAYS[kind], "value": body}


def _drop_foreign(responses: dict[str, Any]) -> None:
    content = responses.get("422", {}).get("content", {}).get("application/json", {})
    if content.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]
