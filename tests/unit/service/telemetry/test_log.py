"""Lines of the log: each one whole, none with a text, none that holds anybody up."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.serving import saved, service_of
from tailtune.service.telemetry.log import RequestLog, Style, event, logging_to, request_fields
from tailtune.service.telemetry.watch import Exchange

log = logging.getLogger("tailtune.service")


def exchange(**more: Any) -> Exchange:
    given = {"method": "POST", "route": "/v1/classify", "protocol": "tailtune", "request_id": "r1", "status": 200}
    return Exchange(**{**given, **more})


def lines(style: Style, say: Any) -> list[str]:
    stream = io.BytesIO()
    with logging_to(stream, style):
        say()
    return stream.getvalue().decode().splitlines()


def objects(say: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines("json", say)]


def fail() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("error %s", "e1")


def test_json() -> None:
    """One object a line, whatever is said; time as RFC 3339 has it, a traceback as a field."""

    def say() -> None:
        RequestLog().ended(exchange(seconds=0.0123456789, trace_id="t1"))
        event("start", "serving a\nb", url="http://127.0.0.1:8000", port=8000)
        logging.getLogger("uvicorn.error").warning("half a sign: \ud800")
        logging.getLogger("uvicorn.error").info("Started server process")
        fail()

    request, start, library, failed = objects(say)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", request.pop("time"))
    assert request == {
        "level": "info",
        "event": "request",
        "logger": "tailtune.service",
        "request_id": "r1",
        "trace_id": "t1",
        "method": "POST",
        "route": "/v1/classify",
        "protocol": "tailtune",
        "status": 200,
        "seconds": 0.012346,
    }
    assert (start["event"], start["message"], start["port"]) == ("start", "serving a", 8000)
    assert start["traceback"] == "b"
    assert (library["event"], library["level"], library["logger"]) == ("note", "warning", "uvicorn.error")
    assert (failed["level"], failed["message"]) == ("error", "error e1")
    assert failed["traceback"].startswith("Traceback")
    assert "ValueError: a\nb" in failed["traceback"]


def test_an_address_is_found_in_every_style() -> None:
    """Whoever starts the service reads where it listens from its log."""
    for style in ("json", "text"):
        (line,) = lines(style, lambda: event("start", "serving at http://[::1]:80", url="http://[::1]:80", n=1))
        assert set(re.findall(r"http://\S+:\d+", line)) == {"http://[::1]:80"}


def test_text() -> None:
    """A line for people; signs that would move the cursor are shown and not done."""

    def say() -> None:
        RequestLog().ended(exchange(status=429, refused="overloaded", seconds=0.5))
        log.warning("a\x1b[2J\nb")
        fail()

    request, warning, below, failed, *rest = lines("text", say)
    told = "method=POST route=/v1/classify status=429 seconds=0.5 refused=overloaded request_id=r1"
    assert request.partition(" ")[2] == told
    assert warning.endswith(r"warning: a\x1b[2J")
    assert below == "  b"
    assert failed.endswith("error: error e1")
    assert rest[0].startswith("  Traceback")
    assert rest[-2:] == ["  ValueError: a", "  b"]


def test_off() -> None:
    """Not a line per request; what goes wrong is still said."""

    def say() -> None:
        RequestLog().ended(exchange())
        event("stop", "stopped")
        log.error("error e1")

    (line,) = lines("off", say)
    assert line.endswith("error: error e1")


def test_probes_are_not_worth_a_line() -> None:
    """Unless they say that something is wrong."""

    def say() -> None:
        for status in (200, 503):
            RequestLog().ended(exchange(route="/ready", protocol="health", status=status))

    assert [line["status"] for line in objects(say)] == [503]


def test_texts_only_where_asked_for(tiny_llama: Path, tmp_path: Path) -> None:
    """What was computed is told, with its times; the texts stand in no line but where they were asked for."""
    service = service_of(saved(tiny_llama, tmp_path / "spam"))
    texts = ["my secret is a prize", "lunch"]

    async def ask() -> Exchange:
        service.batcher.start()
        answers = await service.classify(texts)
        await service.batcher.stop()
        return exchange(answered=[(answers, texts)])

    done = asyncio.run(ask())
    (plain,) = objects(lambda: RequestLog().ended(done))
    assert "secret" not in json.dumps(plain)
    assert plain["texts"] == 2
    assert plain["tokens"] == done.answered[0][0].tokens
    assert plain["digest"] == service.pick().digest
    assert plain["inference_seconds"] > 0
    (asked,) = objects(lambda: RequestLog(texts=True).ended(done))
    assert asked["contents"] == texts
    assert "secret" not in " ".join(lines("text", lambda: RequestLog().ended(done)))


def test_who_went_away() -> None:
    """No status, and said so."""
    assert request_fields(exchange(status=None))["cancelled"] is True


def test_a_reader_that_stops_holds_nobody_up() -> None:
    """A pipe that nobody reads: lines are given up and counted, the one who logs goes on, and the end comes."""
    reading, writing = os.pipe()
    started = time.monotonic()
    with os.fdopen(writing, "wb", buffering=0) as stream:
        with logging_to(stream, "json") as lost:
            for _ in range(40_000):
                log.info("x" * 100)
            assert lost() > 20_000
            found: list[bytes] = []

            def read() -> None:
                with os.fdopen(reading, "rb") as pipe:
                    found.extend(pipe)

            thread = threading.Thread(target=read)
            thread.start()
            deadline = time.monotonic() + 30
            while lost() and time.monotonic() < deadline:
                time.sleep(0.01)
        assert time.monotonic() - started < 60
    thread.join(30)
    told = [int(line.rpartition(b":")[2]) for line in found if line.startswith(b"lines lost")]
    assert told  # once, or again where the writer was late to begin
    assert 10_000 <= len(found) < 20_000
    assert len(found) - len(told) + sum(told) == 40_000


def test_logging_is_as_before_at_the_end() -> None:
    """No handler and no level is left."""
    root = logging.getLogger()
    before = root.level, list(root.handlers), log.parent.level if log.parent else None
    with pytest.raises(KeyError), logging_to(io.BytesIO(), "json"):
        raise KeyError
    assert before == (root.level, list(root.handlers), log.parent.level if log.parent else None)
    assert not [thread for thread in threading.enumerate() if thread.name == "tailtune-log"]
