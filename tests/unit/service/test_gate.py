"""The gate, around small applications: what passes, what every answer carries, what nothing gets past."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tailtune.service.access import Access
from tailtune.service.faults import quiet_others
from tailtune.service.gate import SECURITY_HEADERS, App, Gate, Message, Receive, Scope, Send
from tailtune.service.limits import Limits
from tailtune.service.refusals import Refused
from tailtune.service.wire.native import shape

SECRET = "meet me at the old mill"
SMALL = Limits(body_bytes=100, requests=2, seconds=0.2)


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value.decode() for known, value in self.headers if known == name.encode()]
        assert len(found) <= 1, f"{name} more than once"
        return found[0] if found else None

    @property
    def error(self) -> dict[str, str]:
        error: dict[str, str] = json.loads(self.body)["error"]
        return error


def gate_of(app: App, limits: Limits = SMALL, **more: Any) -> Gate:
    return Gate(app, limits=limits, shape_of=lambda path: shape, **more)


async def ask(
    gate: Gate,
    *parts: bytes,
    path: str = "/v1/classify",
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
    after: Callable[[], Awaitable[Message]] | None = None,
) -> Answer | None:
    """The answer to a request whose body comes in ``parts``; ``after`` says what comes then, else it is whole.

    A client that has its answer goes away.
    """
    left = [{"type": "http.request", "body": part, "more_body": True} for part in parts] or [{"type": "http.request"}]
    if after is None:
        left[-1]["more_body"] = False
    sent: list[Message] = []
    answered = asyncio.Event()

    async def receive() -> Message:
        if left:
            return left.pop(0)
        if after is not None and not answered.is_set():
            return await after()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            answered.set()

    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path}
    await gate({**scope, "headers": [(b"host", b"localhost"), *headers]}, receive, send)
    if not sent:
        return None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    assert not sent[-1].get("more_body", False)
    return Answer(sent[0]["status"], sent[0]["headers"], body)


def asked(gate: Gate, *parts: bytes, **how: Any) -> Answer:
    found = asyncio.run(ask(gate, *parts, **how))
    assert found is not None
    return found


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    await JSONResponse({"method": scope["method"], "body": body.decode()})(scope, receive, send)


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"cannot read {SECRET!r}") from error


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"abc-123", True),
        (b"a" * 128, True),
        (b"", False),
        (b"a" * 129, False),
        (b"a b", False),
        (b"a\r\nSet-Cookie: x", False),
        (b"caf\xc3\xa9", False),
        (b"<script>", False),
    ],
)
def test_request_ids(given: bytes, kept: bool) -> None:
    """One that is well formed comes back, others are replaced; each request has another."""
    answers = [asked(gate_of(echo), headers=[(b"x-request-id", given)]) for _ in range(2)]
    found = [answer.header("x-request-id") for answer in answers]
    if kept:
        assert found == [given.decode()] * 2
    else:
        assert all(re.fullmatch("[0-9a-f]{16}", each or "") for each in found)
        assert found[0] != found[1]


def test_every_answer_has_the_headers() -> None:
    """Also refusals; what an answer says itself stays, once."""

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        policy = {"Content-Security-Policy": "default-src 'self'", "Cache-Control": "no-cache"}
        await Response("hello", headers=policy)(scope, receive, send)

    for answer in (asked(gate_of(echo)), asked(gate_of(echo), b"a" * 101), asked(gate_of(broken))):
        assert {name: answer.header(name.decode()) for name, _ in SECURITY_HEADERS} == {
            name: value.decode() for name, value in SECURITY_HEADERS
        }
        assert not [name for name, _ in answer.headers if name.startswith(b"access-control")]
    own = asked(gate_of(page))
    assert own.header("content-security-policy") == "default-src 'self'"
    assert own.header("cache-control") == "no-cache"
    assert own.header("x-frame-options") is None
    assert own.header("x-content-type-options") == "nosniff"


def test_bodies_are_read_whole_and_within_the_limit() -> None:
    """Counted as they come, refused by their length alone where it is told; then the connection ends."""
    assert asked(gate_of(echo), b"a" * 50, b"b" * 50).status == 200
    beyond = asked(gate_of(echo), b"a" * 50, b"b" * 51)
    assert (beyond.status, beyond.header("connection")) == (413, "close")
    lying = asked(gate_of(echo), b"a" * 101, headers=[(b"content-length", b"5")])
    assert lying.status == 413
    told = asked(gate_of(echo), headers=[(b"content-length", b"101")])
    assert told.status == 413
    assert asked(gate_of(echo), headers=[(b"content-encoding", b"gzip")]).status == 415
    assert asked(gate_of(echo), headers=[(b"content-encoding", b"identity")]).status == 200


def test_only_so_many_at_once() -> None:
    """Those beyond are told to come back, on the same connection; health is always answered; then there is room."""

    async def run() -> None:
        leave = asyncio.Event()

        async def waits(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] != "/health":
                await leave.wait()
            await echo(scope, receive, send)

        gate = gate_of(waits, Limits(requests=2))
        inside = [asyncio.create_task(ask(gate, b"{}")) for _ in range(2)]
        await asyncio.sleep(0.01)
        refused = await ask(gate, b"{", b"}")
        assert refused is not None
        assert (refused.status, refused.header("retry-after"), refused.header("connection")) == (429, "1", None)
        health = await ask(gate, path="/health", method="GET")
        assert health is not None
        assert health.status == 200
        leave.set()
        found = [*await asyncio.gather(*inside), await ask(gate, b"{}")]
        assert [each and each.status for each in found] == [200, 200, 200]
        assert gate.inside == 0

    asyncio.run(run())


def test_large_bodies_together() -> None:
    """Hold no more than so many bytes, however many requests there may be; what is over gives them back."""

    async def run() -> None:
        gate = gate_of(never, Limits(body_bytes=100, requests=1000, seconds=0.5))
        inside = [asyncio.create_task(ask(gate, b"a" * 100)) for _ in range(32)]
        await asyncio.sleep(0.05)
        refused = await ask(gate, b"a")
        assert refused is not None
        assert (refused.status, refused.error["message"]) == (429, "too many large requests at once")
        assert {each and each.status for each in await asyncio.gather(*inside)} == {503}
        late = await ask(gate, b"a")
        assert late is not None
        assert late.status == 503  # in, and not answered in time

    asyncio.run(run())


def test_a_refused_body_is_not_waited_for() -> None:
    """A client that is still sending gets its answer; one that asks first is not told to send."""

    async def stalls() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def untouched() -> Message:
        raise AssertionError("told to send its body")

    compressed = (b"content-encoding", b"gzip")
    slow = asked(gate_of(echo), b"a", headers=[compressed], after=stalls)
    assert (slow.status, slow.header("connection")) == (415, "close")
    gate = gate_of(echo)

    async def run() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                raise ConnectionError  # enough seen

        headers = [(b"host", b"localhost"), compressed, (b"expect", b"100-continue"), (b"content-length", b"5")]
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/", "headers": headers}
        with pytest.raises(ConnectionError):
            await gate(scope, untouched, send)
        return sent

    assert [message["type"] for message in asyncio.run(run())] == ["http.response.start", "http.response.body"]


def test_time_is_up() -> None:
    """Of a body that does not come, and of an answer that does not."""

    async def stalls() -> Message:
        await asyncio.sleep(10)
        raise AssertionError

    slow = asked(gate_of(echo), b"a", after=stalls)
    assert (slow.status, slow.error["type"], slow.header("connection")) == (408, "slow", "close")
    unanswered = asked(gate_of(never), b"a")
    assert (unanswered.status, unanswered.error["type"]) == (503, "timeout")
    assert unanswered.header("retry-after") == "1"


def test_who_goes_away_is_not_answered() -> None:
    """What was begun for it is cancelled, and it counts no more."""
    cancelled = []

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(scope["path"])
            raise

    async def leaves() -> Message:
        return {"type": "http.disconnect"}

    gate = gate_of(works)
    assert asyncio.run(ask(gate, b"a", after=leaves)) is None  # in the midst of its body: nothing was begun
    assert cancelled == []

    async def whole_then_gone() -> None:
        messages: list[Message] = [{"type": "http.request", "body": b"a"}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            await asyncio.sleep(0)
            return messages.pop(0)

        async def send(message: Message) -> None:
            raise AssertionError("answered")

        headers = [(b"host", b"localhost")]
        await gate(
            {"type": "http", "http_version": "1.1", "method": "GET", "path": "/gone", "headers": headers}, receive, send
        )

    asyncio.run(whole_then_gone())
    assert cancelled == ["/gone"]
    assert gate.inside == 0


def test_head_is_get() -> None:
    """For the routes; the server leaves the body out."""
    assert json.loads(asked(gate_of(echo), method="HEAD").body)["method"] == "GET"
    assert json.loads(asked(gate_of(echo), method="GET").body)["method"] == "GET"


@pytest.mark.parametrize("log_texts", [False, True])
def test_errors_of_ours(caplog: pytest.LogCaptureFixture, log_texts: bool) -> None:
    """The client gets a number, the log the place under that number, and what was at hand only if asked for."""
    answer = asked(gate_of(broken, log_texts=log_texts), b"{}")
    assert answer.status == 500
    assert SECRET not in answer.body.decode()
    assert answer.error["error_id"] in caplog.text
    assert "ValueError" in caplog.text
    assert "KeyError" in caplog.text
    assert "in broken" in caplog.text
    assert (SECRET in caplog.text) is log_texts


def test_an_error_after_the_answer_began(caplog: pytest.LogCaptureFixture) -> None:
    """Sends no second one."""

    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a"})
        raise Refused("timeout", "late")

    assert asked(gate_of(half)).body == b"a"


def test_what_others_log(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio puts the message of an exception that nobody asked for into its own; the text stays out of the log."""
    quiet_others()

    async def forgets() -> None:
        task = asyncio.get_running_loop().create_task(fails())
        await asyncio.sleep(0)
        del task

    async def fails() -> None:
        raise ValueError(SECRET)

    asyncio.run(forgets())
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    assert "Task exception was never retrieved" in caplog.text
    assert "Exception in ASGI application" in caplog.text
    assert caplog.text.count("in fails") == 1
    assert SECRET not in caplog.text


def test_keys_come_first() -> None:
    """Whoever brings none learns nothing, not even that there is too much to do."""
    gate = gate_of(never, Limits(requests=1), access=Access(hosts=frozenset({"other"})))
    gate.inside = 1
    assert asked(gate).status == 421
