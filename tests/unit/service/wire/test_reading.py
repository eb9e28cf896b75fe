"""How bodies are read: what clients disagree on is refused, and nothing of a body is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.serving import Talk, saved, service_of, talking
from tailtune.service.refusals import Refused
from tailtune.service.wire.reading import parse_json


@pytest.fixture(scope="module")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with talking(service_of(saved(tiny_llama, tmp_path_factory.mktemp("reading") / "spam-filter"))) as talk:
        yield talk


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no JSON at character 0: Expecting value"),
        (b'{"a": 1', "no JSON"),
        (b'{"a": "secret\x00"}', "at character 13: Invalid control character"),
        (b"[" * 100_000, "too many brackets within each other"),
        (b'{"a":' * 100_000, "too many brackets within each other"),
        (b"9" * 5000, "a number of too many digits"),
        (b"1e999", "beyond those of double precision"),
        (b"[NaN]", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b'{"secret": 1, "secret": 2}', "has a key twice"),
        (b'[{"a": [{"secret": 1, "b": 1, "secret": 2}]}]', "has a key twice"),
        (b'"secret\\ud800"', "half a character"),
        (b'{"secret\\udfff": 1}', "half a character"),
        (b'["\\udc00\\ud800"]', "half a character"),
        (b'"\xff"', "no UTF-8 at byte 1"),
        ("ä".encode("latin-1"), "no UTF-8 at byte 0"),
        ('"ok"'.encode("utf-16"), "no UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "no JSON"),
        (b'"\xed\xa0\x80"', "no UTF-8"),
    ],
)
def test_no_json(body: bytes, said: str) -> None:
    """One line, with the place where it helps."""
    with pytest.raises(Refused) as refused:
        parse_json(body)
    assert said in refused.value.message
    assert "secret" not in refused.value.message
    assert (refused.value.kind, "\n" in refused.value.message) == ("invalid", False)


def test_json() -> None:
    """Escapes of whole characters, and NUL, are text like any other."""
    assert parse_json('{"a": "\\ud83d\\ude42 \\u0000 ä", "b": [1, 2.5, true, null]}'.encode()) == {
        "a": "🙂 \x00 ä",
        "b": [1, 2.5, True, None],
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonx", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_types(talk: Talk, kind: str | None, status: int) -> None:
    """curl without a header says that it sends a form."""
    headers = {} if kind is None else {"content-type": kind}
    (answer,) = talk.asked(("POST", "/v1/classify", {"content": b'{"texts": ["ok"]}', "headers": headers}))
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["message"] == "Content-Type: expected application/json"


def test_large_bodies(talk: Talk) -> None:
    """Those that are parsed beside the event loop are answered and refused like any other."""
    answer, refused = talk.posted("/v1/classify", {"texts": ["ok " * 30_000]}, {"texts": ["ok " * 30_000], "new": 1})
    assert (answer.status_code, answer.json()["results"][0]["truncated"]) == (200, True)
    assert (refused.status_code, refused.json()["error"]["message"]) == (422, "body: an unknown key")


def test_paths_and_methods(talk: Talk) -> None:
    """In the shape of the protocol that the path belongs to, ours where it belongs to none."""
    asks = [
        ("GET", "/predict"),
        ("PUT", "/classify"),
        ("GET", "/v2/nothing"),
        ("GET", "/nothing"),
        ("POST", "/predictor"),
    ]
    tei, vllm, oip, own, other = (answer.json() for answer in talk.asked(*((*ask, {}) for ask in asks)))
    (shared,) = talk.asked(("PUT", "/", {}))
    assert (shared.status_code, shared.headers["allow"]) == (405, "GET, POST")
    assert tei == {"error": "this path does not take that method", "error_type": "Validation"}
    assert vllm["error"]["code"] == 405
    assert oip == {"error": "no such path"}
    assert own["error"]["type"] == other["error"]["type"] == "not_found"
