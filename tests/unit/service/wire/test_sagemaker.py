"""SageMaker: our own answers under its paths, and a text per line as its batch jobs send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.serving import Ask, Talk, saved, service_of, talking

TEXTS = ["claim your prize now", "lunch, at noon?", "", "naïve\u2028🙂"]


@pytest.fixture(scope="module")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with talking(service_of(saved(tiny_llama, tmp_path_factory.mktemp("sagemaker") / "spam-filter"))) as talk:
        yield talk


def lines(kind: str, body: str) -> Ask:
    return "POST", "/invocations", {"content": body.encode(), "headers": {"content-type": kind}}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", "\n".join(TEXTS)),
        ("text/plain; charset=utf-8", "\r\n".join(TEXTS) + "\r\n"),
        ("text/csv", "".join('"{}"\n'.format(text.replace('"', '""')) for text in TEXTS)),
        ("application/jsonlines", "\n".join(json.dumps(text) for text in TEXTS)),
        ("application/jsonlines", "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in TEXTS)),
    ],
)
def test_lines(talk: Talk, kind: str, body: str) -> None:
    """One line of JSON for each, in order; a blank line is a text, and only ends of lines end one."""
    (answer,) = talk.asked(lines(kind, body))
    assert answer.headers["content-type"].startswith("application/jsonlines")
    found = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    assert [each["label"] for each in found] == [each.label for each in talk.service.pick().predictor.predict(TEXTS)]


def test_json_is_our_own_request(talk: Talk) -> None:
    """With all that it can ask for."""
    invoked, own = (
        talk.posted(path, {"texts": TEXTS[:1], "highlights": True})[0] for path in ("/invocations", "/v1/classify")
    )
    assert invoked.json() == own.json()
    assert invoked.json()["results"][0]["highlights"]


@pytest.mark.parametrize(
    ("kind", "body", "status", "said"),
    [
        ("text/csv", "lunch, at noon?\n", 422, "row 1 has 2 fields"),
        ("text/csv", '"lunch', 422, "no CSV"),
        ("application/jsonlines", "{}\n", 422, "valid string"),
        ("application/jsonlines", "{\n", 422, "no JSON"),
        ("text/plain", "", 422, "at least 1 item"),
        ("application/x-www-form-urlencoded", "text=ok", 415, "text/csv"),
    ],
)
def test_refusals(talk: Talk, kind: str, body: str, status: int, said: str) -> None:
    """In our own shape."""
    (answer,) = talk.asked(lines(kind, body))
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_ping(talk: Talk) -> None:
    """Welcome, or stopping."""
    talk.service.ready = True
    (welcome,) = talk.asked(("GET", "/ping", {}))
    talk.service.ready = False
    (stopping,) = talk.asked(("GET", "/ping", {}))
    talk.service.ready = True
    assert (welcome.status_code, welcome.json()) == (200, {"status": "ok"})
    assert (stopping.status_code, stopping.json()["error"]["type"]) == (503, "unready")
