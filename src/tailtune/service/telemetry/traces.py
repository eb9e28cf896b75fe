"""A span per request by OpenTelemetry, where the environment names a collector; never a text.

Spans are made when a request is over, from the times that were measured anyway: nothing is added to the way of an
answer, and a span is sent in the background. The names are those of the semantic conventions for HTTP servers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tailtune import __version__
from tailtune.service.telemetry.watch import OTHER, Exchange

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from tailtune.service.classify import Answers

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def traces_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment names a collector of traces, and nothing there says no."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not off and not none and any(environment.get(name) for name in _ENDPOINTS)


class Traces:
    """Sends spans to the collector that the environment names, by its settings: OTEL_SERVICE_NAME and the others.

    Needs the extra ``otel``.
    """

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        own = Resource.create({"service.name": "tailtune", "service.version": __version__})
        # Of this application alone: the process-wide provider belongs to whoever runs it.
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tailtune.service", __version__)

    def ended(self, exchange: Exchange) -> None:
        """Make the spans of a request that is over; ``exchange`` gets the trace id where the caller gave none."""
        from opentelemetry import trace

        if exchange.probe:
            return
        start = int(exchange.began * 1e9)
        end = start + int(exchange.seconds * 1e9)
        named = exchange.method if exchange.method != OTHER else "HTTP"
        span = self._tracer.start_span(
            named if exchange.route == OTHER else f"{named} {exchange.route}",
            context=_parent(exchange),
            kind=trace.SpanKind.SERVER,
            attributes=_attributes(exchange),
            start_time=start,
        )
        if exchange.status is None or exchange.status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        self._parts(span, exchange, end)
        span.end(end)
        if context := span.get_span_context().trace_id:
            exchange.trace_id = f"{context:032x}"

    def _parts(self, span: Span, exchange: Exchange, end: int) -> None:
        """Spans of the stages, one behind the other up to the end: of several batches the stages are summed."""
        from opentelemetry import trace

        context = trace.set_span_in_context(span)
        for answers, _ in reversed(exchange.answered):
            stages: tuple[tuple[str, float, dict[str, Any]], ...] = (
                ("batch", answers.timing.inference, _answered(answers)),
                ("queue", answers.timing.queue, {}),
                ("tokenise", answers.tokenization, {"tailtune.characters": answers.characters}),
            )
            for name, seconds, attributes in stages:
                start = end - int(seconds * 1e9)
                self._tracer.start_span(name, context=context, attributes=attributes, start_time=start).end(end)
                end = start

    def stop(self) -> None:
        """Send what waits, and stop."""
        self._provider.shutdown()


def _parent(exchange: Exchange) -> Context | None:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": exchange.traceparent}, context=Context())


def _attributes(exchange: Exchange) -> dict[str, Any]:
    found = {
        "http.request.method": exchange.method if exchange.method != OTHER else "_OTHER",
        "http.route": None if exchange.route == OTHER else exchange.route,
        "http.response.status_code": exchange.status,
        "url.scheme": "http",
        "error.type": _error_type(exchange),
        "tailtune.protocol": exchange.protocol,
        "tailtune.request_id": exchange.request_id,
        "tailtune.refused": exchange.refused,
    }
    return {name: value for name, value in found.items() if value is not None}


def _error_type(exchange: Exchange) -> str | None:
    if exchange.status is None:
        return "cancelled"
    return str(exchange.status) if exchange.status >= 500 else None


def _answered(answers: Answers) -> dict[str, Any]:
    return {
        "tailtune.texts": len(answers.predictions),
        "tailtune.tokens": answers.tokens,
        "tailtune.model": answers.served.name,
        "tailtune.digest": answers.served.digest,
    }
