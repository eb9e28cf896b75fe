"""What is no good request gets a clear refusal or a closed connection, and the next good one its answer."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.raw_http import answer, classify, connect, exchange, request, status
from support.serving import Process, saved, serving

JSON = "Content-Type: application/json"
BODY_BYTES, SECONDS = 1_200_000, 3
LIMITS = ("--body-bytes", BODY_BYTES, "--seconds", f"{SECONDS}s", "--texts", 4, "--characters", 1000)


@pytest.fixture(scope="module")
def served(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("hostile")
    with serving(saved(tiny_llama, folder / "spam"), *LIMITS, log=folder / "log") as process:
        yield process


@pytest.fixture
def server(served: Process) -> Iterator[Process]:
    """Afterwards it still answers, and nothing went wrong that nobody had thought of."""
    yield served
    assert status(exchange(served.port, classify("lunch at noon?"))) == 200
    assert "Traceback" not in served.log.read_text()
    assert '"level": "error"' not in served.log.read_text()


def posts(server: Process) -> list[str]:
    """Every path that takes a body, whatever protocol it belongs to."""
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    names = {"{model}": "spam", "{name}": "spam", "{m}": "spam", "{model_name}": "spam", "{version}": "1"}
    found = [path for path, operations in paths.items() if "post" in operations]
    for (name, value), place in itertools.product(names.items(), range(len(found))):
        found[place] = found[place].replace(name, value)
    return found


DEEP = b"[" * 100_000
BODIES = {
    "deep lists": DEEP + b"]" * 100_000,
    "deep lists among the texts": b'{"texts":' + DEEP + b"]" * 100_000 + b"}",
    "deep objects": b'{"texts":' * 50_000 + b"1" + b"}" * 50_000,
    "deep without end": DEEP,
    "a number of a million digits": b'{"texts":' + b"9" * 1_000_000 + b"}",
    "a list with such a number": b'{"texts":["a",' + b"9" * 1_000_000 + b"]}",
    "a fraction of a million digits": b'{"texts":0.' + b"9" * 1_000_000 + b"}",
    "a number beyond all": b'{"texts":[1e999999999]}',
    "no number": b'{"texts":[NaN,-Infinity]}',
    "a NUL within a text": b'{"texts":["a\x00b"]}',
    "NULs": b"\x00" * 1000,
    "half a character": b'{"texts":["\\ud800"]}',
    "half a character as a name": b'{"texts":["a"],"\\udfff":1}',
    "halves the wrong way round": b'{"texts":["\\udc00\\ud800"]}',
    "half a character as bytes": b'{"texts":["\xed\xa0\x80"]}',
    "no UTF-8": b'{"texts":["\xff\xfe\xc0\xaf"]}',
    "cut in a character": b'{"texts":["\xf0\x9f\x98"]}',
    "cut": b'{"texts":["a',
    "nothing": b"",
    "a word": b"null",
    "other types": b'{"texts":{"a":[true,null]},"model":[],"highlights":"x"}',
    "a hundred thousand names": json.dumps(dict.fromkeys(map(str, range(100_000)))).encode(),
    "a long name": json.dumps({"texts": ["a"], "x" * 1_000_000: 1}).encode(),
    "too many texts": json.dumps({"texts": ["a"] * 5, "inputs": [["a"]] * 5, "input": ["a"] * 5}).encode(),
    "too long a text": json.dumps({name: ["a" * 1001] for name in ("texts", "inputs", "input")}).encode(),
    "too many characters in one": b'{"texts":["' + b"\\u0061" * 1001 + b'"]}',
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(server: Process, name: str) -> None:
    """Each of them, at each path that takes a body."""
    for path in posts(server):
        found = exchange(server.port, request("POST", path, JSON, body=BODIES[name]))
        assert status(found) in range(400, 500), path
        assert len(found) < 4000, path


def chunked(*chunks: bytes) -> list[bytes]:
    return [request("POST", "/v1/classify", JSON, "Transfer-Encoding: chunked"), *chunks]


def lengths(*values: str) -> bytes:
    return request(
        "POST", "/v1/classify", JSON, *(f"Content-Length: {value}" for value in values), body=b'{"texts":[]}'
    )


GOOD = b'{"texts":["a"]}'
FRAMES = {
    "a length too large": [lengths(str(BODY_BYTES + 1))],
    "a length beyond all": [lengths("9" * 40)],
    "a length of many digits": [lengths("9" * 50_000)],
    "no length": [lengths("-1")],
    "a length with a sign": [lengths("+12")],
    "a length in words": [lengths("twelve")],
    "two lengths": [lengths("12", "13")],
    "a list of lengths": [lengths("12, 12")],
    "a length and chunks": [lengths("12").replace(b"Content-Type", b"Transfer-Encoding: chunked\r\nContent-Type")],
    "an encoding that is none": [request("POST", "/v1/classify", "Transfer-Encoding: chunked, huh", body=GOOD)],
    "a chunk without size": chunked(b"\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "a chunk with a size beyond all": chunked(b"f" * 40 + b"\r\n" + GOOD),
    "a negative chunk": chunked(b"-5\r\nabcde\r\n0\r\n\r\n"),
    "a chunk longer than it says": chunked(b"3\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "compressed": [
        request("POST", "/v1/classify", JSON, "Content-Encoding: gzip", body=b"\x1f\x8b\x08\x00" + b"\x00" * 9)
    ],
    "compressed chunks": chunked(b"3\r\n\x1f\x8b\x08\r\n0\r\n\r\n"),
    "an extension without end": chunked(b"1;" + b"a=b;" * 100_000),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(server: Process, name: str) -> None:
    """A body whose length is not what it says, or beyond the limit, or in no plain form."""
    found = exchange(server.port, *FRAMES[name], end=name.startswith("an extension"))
    assert status(found) in (None, *range(400, 500))
    if name == "compressed":
        assert status(found) == 415


def test_streamed_bytes_count(server: Process) -> None:
    """A body without a length ends at the limit, and the client hears why although it was still sending."""
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    found = exchange(server.port, *chunked(*[chunk] * 60))
    assert status(found) == 413
    assert b"connection: close" in found
    assert f"{BODY_BYTES:,} bytes".encode() in found


def test_chunks_as_they_should_be(server: Process) -> None:
    """Also in single bytes, and with extensions, which nobody reads."""
    pieces = [b"1;name=value\r\n" + bytes([each]) + b"\r\n" for each in GOOD]
    assert status(exchange(server.port, *chunked(*pieces, b"0\r\nTrailer: x\r\n\r\n"))) == 200


def test_a_body_cut_short(server: Process) -> None:
    """Who goes away in the midst of it gets nothing and holds nothing."""
    for _ in range(50):
        assert exchange(server.port, lengths("1000"), end=True) == b""


HEADS = {
    "a large header": [request("GET", "/v1/model", "X: " + "a" * 40_000)],
    "ten thousand headers": [request("GET", "/v1/model", *(f"X-{place}: 1" for place in range(10_000)))],
    "a header without end": [b"GET /v1/model HTTP/1.1\r\nX: ", *[b"a" * 65_536] * 100],
    "a path without end": [b"GET /", *[b"a" * 65_536] * 100],
    "a long path": [request("GET", "/" + "a" * 40_000)],
    "headers without end": [b"GET /v1/model HTTP/1.1\r\n", *[b"X: 1\r\n" * 10_000] * 100],
    "a header without a colon": [request("GET", "/v1/model", "hello")],
    "a space before the colon": [request("GET", "/v1/model", "Content-Length : 5")],
    "a NUL in a header": [request("GET", "/v1/model", "X: a\0b")],
    "a line feed alone": [request("GET", "/v1/model", "X: a\nContent-Length: 5")],
    "no host": [b"GET /v1/model HTTP/1.1\r\n\r\n"],
    "another's name": [b"GET /v1/model HTTP/1.1\r\nHost: evil.example\r\n\r\n"],
    "a host that is none": [b"GET /v1/model HTTP/1.1\r\nHost: a b@c\r\n\r\n"],
    "a page of another site": [request("GET", "/v1/model", "Origin: https://evil.example")],
    "a websocket": [
        request("GET", "/v1/model", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA")
    ],
    "no such method": [request("BREW", "/v1/model")],
    "a method that is not meant": [request("DELETE", "/v1/model")],
    "a method in small letters": [request("get", "/v1/model")],
    "a trace": [request("TRACE", "/v1/model")],
    "a tunnel": [request("CONNECT", "example.org:443")],
    "options of all": [request("OPTIONS", "*")],
    "options of a route": [request("OPTIONS", "/v1/classify", "Origin: https://a.org")],
    "no such path": [request("GET", "/../../etc/passwd")],
    "a path with a NUL": [request("GET", "/%00%ff%2e%2e%2f")],
    "a path that is no ASCII": [request("GET", "/\xff\xfe")],
    "no path": [request("GET", "v1/model")],
    "another version": [request("GET", "/v1/model", version="3.7")],
    "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "TLS": [bytes.fromhex("16030100c8010000c40303") + bytes(200)],
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(server: Process, name: str) -> None:
    """Lines and headers that are none, are too large, or ask for what is not there."""
    refused = (431,) if "without end" in name else tuple(range(400, 500))
    assert status(exchange(server.port, *HEADS[name])) in (None, *refused)


def test_what_others_send(server: Process) -> None:
    """HTTP/1.0, HEAD, an absolute path, a client that offers HTTP/2 with its body, one that asks first."""
    assert status(exchange(server.port, b"GET /v1/model HTTP/1.0\r\n\r\n")) == 200
    head = exchange(server.port, request("HEAD", "/v1/model", "Connection: close"))
    assert status(head) == 200
    assert head.endswith(b"\r\n\r\n")
    assert status(exchange(server.port, request("GET", "http://127.0.0.1/v1/model"))) == 200
    offered = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    assert status(exchange(server.port, request("POST", "/v1/classify", JSON, *offered, body=GOOD))) == 200
    asking = request("POST", "/v1/classify", JSON, f"Content-Length: {len(GOOD)}", "Expect: 100-continue", body=b"")
    with connect(server.port) as connection:
        connection.sendall(asking)
        assert answer(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        assert status(answer(connection)) == 200
    assert status(exchange(server.port, asking.replace(b"Length: ", b"Length: 99999999"))) == 413


def test_requests_sent_ahead(server: Process) -> None:
    """A few are answered in order; of very many the connection is closed, and they are not kept."""
    with connect(server.port) as connection:
        connection.sendall(request("GET", "/health") + classify("a") + request("GET", "/no"))
        assert [status(answer(connection)) for _ in range(3)] == [200, 200, 404]
    with connect(server.port) as connection:
        connection.sendall(request("GET", "/health") * 5000)
        answers = [status(answer(connection)) for _ in range(20)]
    assert answers[-1] is None
    assert set(answers) <= {200, None}


def test_slow_clients(server: Process) -> None:
    """Who sends nothing, or only now and then a byte, or reads no answer, is told so, or left, after some seconds."""

    def trickled(before: bytes, each: bytes) -> Callable[[], bytes]:
        return lambda: exchange(server.port, before, *[each] * 40, pause=SECONDS / 20)

    def after_an_answer() -> bytes:
        with connect(server.port) as connection:
            connection.sendall(request("GET", "/health"))
            assert status(answer(connection)) == 200
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(40):
                    connection.sendall(b"\r\n")
                    time.sleep(SECONDS / 20)
            return answer(connection)

    clients: dict[str, tuple[Callable[[], bytes], set[int | None]]] = {
        "nothing": (lambda: exchange(server.port), {None}),
        "a beginning": (lambda: exchange(server.port, b"GET /"), {408}),
        "a path": (trickled(b"GET /", b"a"), {408}),
        "headers": (trickled(b"GET / HTTP/1.1\r\n", b"X: 1\r\n"), {408}),
        "empty lines": (trickled(b"", b"\r\n"), {408}),
        "empty lines behind an answer": (after_an_answer, {408}),
        "no body": (lambda: exchange(server.port, lengths("1000")), {408}),
        "a body": (trickled(lengths("1000"), b"a"), {408}),
        "chunks": (trickled(chunked()[0], b"1\r\na\r\n"), {408}),
    }
    with ThreadPoolExecutor(len(clients) + 1) as threads:
        started = time.monotonic()
        reader = threads.submit(read_nothing, server.port)
        found = {name: threads.submit(ask) for name, (ask, _) in clients.items()}
        statuses = {name: status(future.result()) for name, future in found.items()}
        assert {name for name, (_, expected) in clients.items() if statuses[name] not in expected} == set(), statuses
        assert reader.result() is None
    assert time.monotonic() - started > SECONDS


def read_nothing(port: int) -> None:
    """Ask for more and more without reading: the connection ends, and with it what is kept for it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", port))
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                connection.sendall(request("GET", "/openapi.json"))
                time.sleep(0.002)


VALID = classify("claim your prize now")
pieces = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"\r\n", b"\r\n\r\n", b":", b"\x00", b" ", b"0", b"chunked"])
)
damaged = st.builds(
    lambda start, length, piece: VALID[:start] + piece + VALID[start + length :],
    st.integers(0, len(VALID)),
    st.integers(0, 20),
    pieces,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.one_of(st.binary(max_size=200), damaged))
def test_random_bytes(served: Process, sent: bytes) -> None:
    """Bytes of any kind, or a good request with a piece of them in it; never is it an error of ours."""
    assert status(exchange(served.port, sent, end=True)) in (None, 200, *range(400, 500))


def test_it_still_answers(server: Process) -> None:
    """After all that."""
    assert httpx.get(f"{server.url}/ready").status_code == 200
