"""Prometheus metrics of one application: what was asked, how long it took, what was answered.

A registry of its own, and no state of the process: two applications in one process count apart. Label values are those
that the service itself knows: routes and protocols, statuses, kinds of refusals, names of models and of their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tailtune import __version__
from tailtune.predict import Prediction
from tailtune.service.batcher import Batch
from tailtune.service.classify import Answers, Service
from tailtune.service.served import Reload
from tailtune.service.telemetry.watch import Exchange
from tailtune.service.wire import native
from tailtune.service.wire.documents import QUERIES, refusals

_OPEN_METRICS = "application/openmetrics-text"
_TEXT = {"schema": {"type": "string"}}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192)
_CHARACTERS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Where a classifier is unsure, and where it is so sure that only the last per mille tell its texts apart.
_CONFIDENCE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
_UNLIKE = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """Counts what a service does.

    Args:
        service: Whose queue and classifiers are shown.
    """

    def __init__(self, service: Service) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(_Models(service))
        self._requests = _Requests(registry)
        self._batches = _Batches(registry)
        self._answers = _AnswersGiven(registry)
        self._reloads = Counter(
            "tailtune_reloads",
            "Times that a bundle was looked at again, by what came of it.",
            ("model", "outcome"),
            registry=registry,
        )
        self._inside = Gauge("tailtune_requests_inside", "Requests that wait or are being answered.", registry=registry)
        batcher = service.batcher
        for name, told, value in (
            ("tailtune_queue_pieces", "Parts of requests that wait for the processor.", lambda: batcher.waiting),
            ("tailtune_inside_tokens", "Tokens that wait or are being computed.", lambda: batcher.tokens),
        ):
            Gauge(name, told, registry=registry).set_function(value)
        batcher.seen.append(self._batches.see)

    def began(self, exchange: Exchange) -> None:
        """Count a request that is inside now."""
        self._inside.inc()

    def ended(self, exchange: Exchange) -> None:
        """Count a request that is over."""
        self._inside.dec()
        self._requests.see(exchange)
        for answers, texts in exchange.answered:
            self._requests.see_timing(answers)
            self._answers.see(answers, texts)

    def reloaded(self, reload: Reload) -> None:
        """Count a classifier whose files were looked at again."""
        self._reloads.labels(reload.name, reload.outcome).inc()

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics and their media type, in the format that ``accept`` asks for."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


def router(metrics: Metrics) -> APIRouter:
    """Return the route /metrics."""
    routes = APIRouter(tags=["Metrics"])

    @routes.get(
        "/metrics",
        response_class=PlainTextResponse,
        response_description="All metrics; OpenMetrics to whoever accepts it.",
        responses=refusals(native.shape, native.ErrorResponse, QUERIES) | {200: {"content": {_OPEN_METRICS: _TEXT}}},
    )
    async def page(request: Request) -> Response:
        """Give all metrics, in the format of Prometheus or OpenMetrics."""
        content, media_type = metrics.page(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": media_type})

    return routes


class _Requests:
    """Requests of every protocol."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = cache(
            Counter(
                "tailtune_requests", "Requests by protocol and status.", ("protocol", "status"), registry=registry
            ).labels
        )
        self._seconds = cache(
            Histogram(
                "tailtune_request_seconds",
                "From the first byte of a request to the last of its answer.",
                ("protocol",),
                buckets=_SECONDS,
                registry=registry,
            ).labels
        )
        self._refusals = cache(
            Counter("tailtune_refusals", "Requests without an answer, by reason.", ("kind",), registry=registry).labels
        )
        self._cancelled = Counter("tailtune_cancelled", "Requests whose client went away.", registry=registry)
        self._stages = {
            stage: Histogram(f"tailtune_{stage}_seconds", told, buckets=_SECONDS, registry=registry)
            for stage, told in (
                ("tokenization", "Cutting the texts of a request into tokens."),
                ("queue", "Waiting for the processor, of a request."),
                ("inference", "In batches, which hold the texts of others too, of a request."),
            )
        }

    def see(self, exchange: Exchange) -> None:
        self._count(exchange.protocol, "none" if exchange.status is None else str(exchange.status)).inc()
        self._seconds(exchange.protocol).observe(exchange.seconds)
        if exchange.refused is not None:
            self._refusals(exchange.refused).inc()
        if exchange.status is None:
            self._cancelled.inc()

    def see_timing(self, answers: Answers) -> None:
        self._stages["tokenization"].observe(answers.tokenization)
        self._stages["queue"].observe(answers.timing.queue)
        self._stages["inference"].observe(answers.timing.inference)


class _Batches:
    """What was computed at once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def of(name: str, told: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"tailtune_batch_{name}", told, buckets=buckets, registry=registry)

        self._tokens = of("tokens", "Tokens that were computed together.", _TOKENS)
        self._texts = of("texts", "Texts that were computed together.", _TEXTS)
        self._seconds = of("seconds", "Computing them.", _SECONDS)

    def see(self, batch: Batch) -> None:
        self._tokens.observe(batch.tokens)
        self._texts.observe(batch.texts)
        self._seconds.observe(batch.seconds)


class _AnswersGiven:
    """What the classifiers said."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, told: str, *labels: str) -> Callable[..., Counter]:
            return cache(Counter(name, told, ("model", *labels), registry=registry).labels)

        def histogram(name: str, told: str, buckets: Sequence[float]) -> Callable[..., Histogram]:
            return cache(Histogram(name, told, ("model",), buckets=buckets, registry=registry).labels)

        self._predictions = counter("tailtune_predictions", "Labels that texts were given.", "label")
        self._abstained = counter("tailtune_abstained_texts", "Texts whose label is too uncertain to count.")
        self._truncated = counter("tailtune_truncated_texts", "Texts of which a part was not read.")
        self._confidence = histogram("tailtune_confidence_ratio", "Probability of the label.", _CONFIDENCE)
        self._unlike = histogram("tailtune_out_of_scope_ratio", "Share of held-out texts less strange.", _UNLIKE)
        self._tokens = histogram("tailtune_text_tokens", "Tokens that were read of a text.", _TOKENS)
        self._characters = histogram("tailtune_text_characters", "Characters of a text.", _CHARACTERS)

    def see(self, answers: Answers, texts: Sequence[str]) -> None:
        model = answers.served.name
        for prediction, text in zip(answers.predictions, texts, strict=True):
            self._see_one(model, prediction)
            self._characters(model).observe(len(text))

    def _see_one(self, model: str, prediction: Prediction) -> None:
        for label in prediction.given:
            self._predictions(model, label).inc()
        self._confidence(model).observe(prediction.confidence)
        self._tokens(model).observe(prediction.tokens)
        if prediction.abstained:
            self._abstained(model).inc()
        if prediction.truncated:
            self._truncated(model).inc()
        if prediction.out_of_scope is not None:
            self._unlike(model).observe(prediction.out_of_scope)


class _Models(Collector):
    """What is served now, and how far its answers have moved; asked when the metrics are."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of what is served now."""
        bundles = GaugeMetricFamily(
            "tailtune_bundle_info", "A classifier that is served.", labels=("model", "digest", "version")
        )
        index = GaugeMetricFamily(
            "tailtune_drift_psi_ratio",
            "Population stability index of the last answers against the validation rows.",
            labels=("model", "measure"),
        )
        within = GaugeMetricFamily(
            "tailtune_drift_noise_ratio",
            "What the index of unmoved answers exceeds once in a thousand.",
            labels=("model", "measure"),
        )
        answers = GaugeMetricFamily("tailtune_drift_answers", "Answers that the index is of.", labels=("model",))
        for name, served in self._service.models.items():
            bundles.add_metric((name, served.digest, __version__), 1)
            count, compared = served.drift.compared()
            answers.add_metric((name,), count)
            for measure, (value, noise) in compared.items() if count else ():
                index.add_metric((name, measure), value)
                within.add_metric((name, measure), noise)
        yield from (bundles, index, within, answers)
