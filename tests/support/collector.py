"""A collector of traces: OTLP over HTTP on loopback, each span kept as it was sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class Collector:
    """What was received.

    Attributes:
        url: For OTEL_EXPORTER_OTLP_ENDPOINT.
        spans: In the order in which they came.
        resources: Attributes of what sent them, once per message.
        content: All bytes.
    """

    url: str
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    content: bytes = b""

    def take(self, body: bytes) -> None:
        """Keep the spans of one message."""
        self.content += body
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(each.resource))
            self.spans += [span for scope in each.scope_spans for span in scope.spans]


def attributes(thing: Any) -> dict[str, Any]:
    """Name -> value of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in thing.attributes}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Yield a collector that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            content = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
