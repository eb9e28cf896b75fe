"""Spans as a collector receives them."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from support.collector import attributes, collecting
from tailtune.service.telemetry.reporting import reporting
from tailtune.service.telemetry.traces import Traces, traces_wanted
from tailtune.service.telemetry.watch import Exchange

ASKED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "spam"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ASKED, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({**ASKED, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ASKED, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_only_where_the_environment_asks(environment: dict[str, str], wanted: bool) -> None:
    """A collector must be named, and nothing must say no."""
    assert traces_wanted(environment) is wanted


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables may be those of many programs: a line says what is missing, and the log alone is told."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", ASKED["OTEL_EXPORTER_OTLP_ENDPOINT"])
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    stream = io.BytesIO()
    with reporting(stream, "json") as ended:
        assert len(ended) == 1
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["level"], line["event"]) == ("warning", "no_traces")
    assert line["message"].endswith("opentelemetry.sdk.resources; pip install 'tailtune[otel]'")


def test_requests_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, cancelled and unknown: names and codes by the conventions; a probe makes no span."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        traces = Traces()
        own: dict[str, Any] = {"method": "POST", "route": "/v1/classify", "protocol": "tailtune"}
        full = Exchange(**own, status=429, refused="overloaded")
        gone = Exchange(**own, status=None)
        broken = Exchange(**own, status=500)
        unknown = Exchange(method="other", route="other", protocol="other", status=404)
        for each in (full, gone, broken, unknown, Exchange(method="GET", route="/r", protocol="health", status=200)):
            traces.ended(each)
        traces.stop()
    assert [span.name for span in collector.spans] == ["POST /v1/classify"] * 3 + ["HTTP"]
    found = [attributes(span) for span in collector.spans]
    assert [each.get("http.response.status_code") for each in found] == [429, None, 500, 404]
    assert [each.get("error.type") for each in found] == [None, "cancelled", "500", None]
    assert [span.status.code for span in collector.spans] == [0, 2, 2, 0]
    assert found[0]["tailtune.refused"] == "overloaded"
    assert found[3]["http.request.method"] == "_OTHER"
    assert "http.route" not in found[3]
    assert len({each.trace_id for each in (full, gone, broken, unknown)}) == 4
    assert full.trace_id == collector.spans[0].trace_id.hex()
    (resource,) = collector.resources
    assert resource["service.name"] == "tailtune"
    assert resource["deployment.environment.name"] == "test"
