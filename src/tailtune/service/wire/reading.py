"""How a body is read: JSON as RFC 8259 has it, one way for every protocol, and refusals that repeat none of it.

What clients disagree on is refused and not guessed at: a key twice, NaN, numbers beyond a double's, half a character.
"""

from __future__ import annotations

import json
import math
import re
from asyncio import to_thread
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers

from tailtune.service.refusals import Refused

JSON = "application/json"
# Bytes that are parsed in the event loop, in a few milliseconds; more go to a thread. Two million of very many small
# objects take tenths of a second.
_AT_ONCE = 65_536
# An escape that writes one half of a character outside the basic plane; the other half may follow.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_NO_MODEL = ("body", "query", "path", "header")


class Asked(BaseModel):
    """A part of a request: a number is no string of digits, and 0 is not false. Unknown keys are passed over."""

    model_config = ConfigDict(strict=True)


class BodyRoute(APIRoute):
    """A route that takes one JSON value, in whatever envelope ``read`` opens.

    What that was is found in ``request.state.media_type``.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def opened(request: Request) -> Response:
            request.state.media_type = media_type(request.headers)
            body = await request.body()
            large = len(body) > _AT_ONCE
            value = await to_thread(self.read, request.headers, body) if large else self.read(request.headers, body)
            return await handler(_Opened(request, value))

        return opened

    @staticmethod
    def read(headers: Headers, body: bytes) -> Any:
        """Return the value that is validated, from a request's headers and body.

        Raises:
            Refused: If there is none.
        """
        require_media_type(headers, (JSON,))
        return parse_json(body)


class _Opened(Request):
    """A request as the framework knows to validate it: JSON that is parsed already."""

    def __init__(self, request: Request, value: Any) -> None:
        headers = [(name, content) for name, content in request.scope["headers"] if name != b"content-type"]
        super().__init__({**request.scope, "headers": [*headers, (b"content-type", JSON.encode())]})
        self._value = value

    async def body(self) -> bytes:
        return b"parsed"

    async def json(self) -> Any:
        return self._value


def media_type(headers: Headers) -> str:
    """Return the media type of a body in lower case, without parameters; empty where none is named."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(headers: Headers, accepted: Sequence[str]) -> str:
    """Return the media type, after it was found to be one of ``accepted``.

    None is not taken for the first of them: a page elsewhere may post what names no type, or ``text/plain``, to a
    service on this machine without asking, but not ``application/json``.

    Raises:
        Refused: If it is another.
    """
    if (found := media_type(headers)) not in accepted:
        raise Refused("media_type", f"Content-Type: expected {' or '.join(accepted)}")
    return found


def decode(body: bytes) -> str:
    """Return the characters of a body.

    Raises:
        Refused: If it is no UTF-8.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("invalid", f"the body is no UTF-8 at byte {error.start}") from None


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body: all its strings can be written as UTF-8, all its numbers are finite.

    Raises:
        Refused: If it is no JSON, or any of that does not hold; it names the character.
    """
    text = decode(body)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("invalid", "a string of the body has half a character, a surrogate without the other") from None
    except json.JSONDecodeError as error:
        said = error.msg.removesuffix(" at")
        raise Refused("invalid", f"the body is no JSON at character {error.pos}: {said}") from None
    except RecursionError:
        raise Refused("invalid", "the body is no JSON that can be read: too many brackets within each other") from None
    except ValueError:  # the one that is left: more digits than Python reads
        raise Refused("invalid", "the body has a number of too many digits") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused("invalid", "an object of the body has a key twice")
    return found


def _constant(name: str) -> Any:
    raise Refused("invalid", f"the body is no JSON: {name} is no number")


def _float(digits: str) -> float:
    if not math.isfinite(found := float(digits)):
        raise Refused("invalid", "the body has a number beyond those of double precision")
    return found


def refusal_of(errors: Iterable[Mapping[str, Any]]) -> Refused:
    """Return what is wrong with a value and where; never the value, nor a key that the client made up.

    Args:
        errors: As Pydantic lists them, at least one; the first is told.
    """
    first = next(iter(errors))
    place, kind, message = first["loc"], first["type"], first["msg"]
    if kind == "extra_forbidden":
        place, message = place[:-1], "an unknown key"
    message = message.removeprefix("Value error, ")
    where = ".".join(str(part) for part in place)
    param = next((str(part) for part in place if part not in _NO_MODEL), None)
    return Refused("invalid", f"{where}: {message}", param=param)
