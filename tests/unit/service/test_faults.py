"""Errors of ours: a number for the client, the place for the log, and no value in either."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from support.serving import saved, service_of
from tailtune.service.app import create_app
from tailtune.service.faults import without_values

SECRET = "meet me at the old mill"


def fails(text: str) -> None:
    try:
        dict[str, str]()[text]
    except KeyError as error:
        raise UnicodeEncodeError("utf-8", text, 0, 1, text) from error


@pytest.mark.parametrize("log_texts", [False, True])
def test_a_route_that_fails(
    tiny_llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, log_texts: bool
) -> None:
    """Through the framework's own handlers, once; the log says what led to what."""
    watched: Any = create_app(service_of(saved(tiny_llama, tmp_path / "spam")), log_texts=log_texts)
    app = cast("FastAPI", watched.app.app)

    async def route(text: str) -> None:
        fails(text)

    app.add_api_route("/v1/broken", route)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://service") as client:
            return await client.get("/v1/broken", params={"text": SECRET})

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert SECRET not in answer.text
    error_id = answer.json()["error"]["error_id"]
    (record,) = [each for each in caplog.records if error_id in each.getMessage()]
    assert record.levelname == "ERROR"
    assert "KeyError" in caplog.text
    assert "UnicodeEncodeError" in caplog.text
    assert caplog.text.count("in fails") == 2
    assert (SECRET in caplog.text) is log_texts


def test_what_is_kept() -> None:
    """Type and place of each that led to another, to a depth; what was suppressed stays so."""
    with pytest.raises(UnicodeEncodeError) as caught:
        fails(SECRET)
    bare = without_values(caught.value)
    assert (type(bare).__name__, bare.args) == ("UnicodeEncodeError", ())
    assert bare.__traceback__ is caught.value.__traceback__
    assert type(bare.__cause__).__name__ == "KeyError"
    assert without_values(caught.value, chain=1).__cause__ is None
    try:
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise ValueError(SECRET) from None
    except ValueError as error:
        assert without_values(error).__cause__ is None
