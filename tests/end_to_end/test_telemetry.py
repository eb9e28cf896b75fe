"""What those who run the service see of it: its log, its metrics, its traces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.collector import attributes, collecting
from support.serving import saved, serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SECRET = "claim your secret prize"


def test_log_metrics_and_traces_agree(tiny_llama: Path, tmp_path: Path) -> None:
    """One request: a line, counts, and spans in the trace of the caller; its text stands in none of them."""
    bundle = saved(tiny_llama, tmp_path / "spam-filter")
    with collecting() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "spam"}
        with serving(bundle, log=tmp_path / "log", env=env) as server:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "order-7"}
            body = {"texts": [SECRET, "lunch?"], "highlights": True}
            assert httpx.post(f"{server.url}/v1/classify", json=body, headers=headers).status_code == 200
            assert httpx.post(f"{server.url}/v1/classify", json={"texts": []}).status_code == 422
            metrics = httpx.get(f"{server.url}/metrics").text
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    # The last request may be written down after the service was told to stop.
    assert [line["event"] for line in lines if line["event"] != "request"] == ["loaded", "start", "drain", "stop"]
    loaded, start, request, refused, *_, stop = lines
    assert len(lines) == 7
    assert stop["code"] == 0
    assert start["url"] == server.url
    assert request["request_id"] == "order-7"
    assert request["trace_id"] == TRACE
    assert (request["route"], request["status"], request["texts"]) == ("/v1/classify", 200, 2)
    assert request["model"] == "spam-filter"
    assert loaded["digest"] == request["digest"]
    assert 0 < request["inference_seconds"] <= request["seconds"]
    assert refused["refused"] == "invalid"
    assert 'tailtune_requests_total{protocol="tailtune",status="200"} 1.0' in metrics
    assert_spans(collector.spans)
    assert collector.resources[0]["service.name"] == "spam"
    for everything in (server.log.read_bytes(), metrics.encode(), collector.content):
        assert b"secret" not in everything


def assert_spans(spans: list[Any]) -> None:
    """The request's span hangs on the caller's, its stages on it, one behind the other within it."""
    own = {span.name: span for span in spans if span.trace_id.hex() == TRACE}
    assert set(own) == {"POST /v1/classify", "tokenise", "queue", "batch"}
    server = own["POST /v1/classify"]
    assert server.kind == 2
    assert server.parent_span_id.hex() == PARENT
    assert attributes(server)["http.response.status_code"] == 200
    stages = [own[name] for name in ("tokenise", "queue", "batch")]
    assert {stage.parent_span_id for stage in stages} == {server.span_id}
    times = [at for stage in stages for at in (stage.start_time_unix_nano, stage.end_time_unix_nano)]
    assert times == sorted(times)
    assert server.start_time_unix_nano <= times[0]
    assert times[-1] == server.end_time_unix_nano
    assert attributes(own["batch"])["tailtune.texts"] == 2


@pytest.mark.parametrize("style", ["text", "off"])
def test_other_styles(tiny_llama: Path, tmp_path: Path, style: str) -> None:
    """Where it listens is always said; a line per request only in text."""
    bundle = saved(tiny_llama, tmp_path / "spam-filter")
    with serving(bundle, "--log", style, log=tmp_path / "log") as server:
        assert httpx.post(f"{server.url}/v1/classify", json={"texts": ["lunch?"]}).status_code == 200
    said = server.log.read_text().splitlines()
    assert any(line.endswith(f"serving spam-filter at {server.url}") for line in said)
    requests = [line for line in said if re.search(r"method=POST route=/v1/classify status=200 .*texts=1", line)]
    assert len(requests) == (1 if style == "text" else 0)
    assert len(said) == (5 if style == "text" else 1)


def test_texts_where_asked_for_and_a_collector_that_is_not_there(tiny_llama: Path, tmp_path: Path) -> None:
    """--log-texts writes them; where nobody takes the spans the service answers, and goes when told to."""
    bundle = saved(tiny_llama, tmp_path / "spam-filter")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with serving(bundle, "--log-texts", log=tmp_path / "log", env=env) as server:
        assert httpx.post(f"{server.url}/v1/classify", json={"texts": [SECRET]}).status_code == 200
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["contents"] for line in lines if line["event"] == "request"] == [[SECRET]]


def test_a_style_that_there_is_not(tmp_path: Path) -> None:
    """One line, before anything is loaded."""
    refusal = r"ended with 2: error: --log 'loud': expected json, text or off"
    with pytest.raises(AssertionError, match=refusal), serving(tmp_path, "--log", "loud", log=tmp_path / "log"):
        pass
