"""What /metrics says after known traffic, to the last count; names and labels as Prometheus wants them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from support.classifiers import ruled_bundle, scoped_bundle
from support.serving import client_of, saved, service_of
from tailtune.drift import Answered, Reference
from tailtune.predict import Predictor
from tailtune.service.classify import Service
from tailtune.service.limits import Limits
from tailtune.service.reload import Reloader
from tailtune.service.served import Served
from tailtune.service.telemetry.metrics import Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
TEXTS = ["lunch at noon?", "claim your prize now", "ok " * 80]


def samples(page: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(page)
        for sample in family.samples
    }


def after(service: Service, ask: Callable[[httpx.AsyncClient], Awaitable[object]]) -> Samples:
    """What is counted after ``ask``."""

    async def run() -> Samples:
        async with client_of(service) as client:
            await ask(client)
            return samples((await client.get("/metrics")).text)

    return asyncio.run(run())


def of(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


@pytest.fixture
def service(tiny_llama: Path, tmp_path: Path) -> Service:
    return service_of(saved(tiny_llama, tmp_path / "ruled", ruled_bundle), limits=Limits(texts=4, body_bytes=2_000))


def test_known_traffic(service: Service) -> None:
    """Three requests answered, six refused in six ways: each is counted once, where it belongs."""

    async def ask(client: httpx.AsyncClient) -> None:
        for texts in (TEXTS, TEXTS[:1], TEXTS[1:2]):
            assert (await client.post("/v1/classify", json={"texts": texts})).status_code == 200
        await client.post("/v1/classify", json={"texts": ["a"] * 5})
        await client.post("/v1/classify", json={"texts": "no list"})
        await client.post("/v1/classify", json={"texts": ["a"], "model": "another"})
        await client.post("/v1/classify", content=b"x" * 3_000)
        await client.get("/v1/classify")
        for path in ("/wp-admin.php", "/v1/classify/../../etc", "/another"):
            await client.get(path)
        await client.get("/health")

    found = after(service, ask)
    asked = {key[1]: value for key, value in found.items() if key[0] == "tailtune_requests_total"}
    assert asked == {
        (("protocol", "tailtune"), ("status", "200")): 3,
        (("protocol", "tailtune"), ("status", "404")): 1,
        (("protocol", "tailtune"), ("status", "405")): 1,
        (("protocol", "tailtune"), ("status", "413")): 2,
        (("protocol", "tailtune"), ("status", "422")): 1,
        (("protocol", "other"), ("status", "404")): 3,
        (("protocol", "health"), ("status", "200")): 1,
    }
    refused = {dict(key[1])["kind"]: value for key, value in found.items() if key[0] == "tailtune_refusals_total"}
    assert refused == {"too_large": 2, "invalid": 1, "not_found": 4, "method": 1}
    assert of(found, "tailtune_request_seconds_count", protocol="tailtune") == 8
    assert of(found, "tailtune_queue_seconds_count") == 3
    assert of(found, "tailtune_inference_seconds_sum") > 0
    assert of(found, "tailtune_batch_texts_sum") == 5
    assert of(found, "tailtune_requests_inside") == 1  # the one that asks for this
    assert of(found, "tailtune_inside_tokens") == of(found, "tailtune_queue_pieces") == 0
    assert of(found, "tailtune_cancelled_total") == 0
    assert of(found, "process_resident_memory_bytes") > 1e6


def test_what_was_answered(service: Service) -> None:
    """Labels, promises, confidence, lengths and texts cut short, as the predictor itself has them."""
    predictor = service.pick().predictor
    expected = predictor.predict(TEXTS)
    found = after(service, lambda client: client.post("/v1/classify", json={"texts": TEXTS}))
    for label in predictor.labels:
        count = sum(each.label == label for each in expected)
        assert found.get(("tailtune_predictions_total", (("label", label), ("model", "ruled"))), 0) == count
    assert sum(each.truncated for each in expected) == 1
    assert of(found, "tailtune_truncated_texts_total", model="ruled") == 1
    abstained = sum(bool(each.abstained) for each in expected)
    assert found.get(("tailtune_abstained_texts_total", (("model", "ruled"),)), 0) == abstained > 0
    assert of(found, "tailtune_confidence_ratio_sum", model="ruled") == pytest.approx(
        sum(each.confidence for each in expected), abs=1e-5
    )
    assert of(found, "tailtune_text_tokens_sum", model="ruled") == sum(each.tokens for each in expected)
    assert of(found, "tailtune_text_characters_sum", model="ruled") == sum(map(len, TEXTS))
    version = {key[1] for key in found if key[0] == "tailtune_bundle_info"}
    assert [dict(each)["digest"] for each in version] == [predictor.bundle.digest]


def test_out_of_scope(tiny_llama: Path, tmp_path: Path) -> None:
    """Where the bundle can tell, how strange texts are."""
    service = service_of(saved(tiny_llama, tmp_path / "scoped", scoped_bundle))
    expected = sum(each.out_of_scope or 0.0 for each in service.pick().predictor.predict(TEXTS))
    found = after(service, lambda client: client.post("/v1/classify", json={"texts": TEXTS}))
    assert of(found, "tailtune_out_of_scope_ratio_sum", model="scoped") == pytest.approx(expected, abs=1e-5)
    assert of(found, "tailtune_out_of_scope_ratio_count", model="scoped") == 3


def test_drift_where_the_bundle_can_tell(tiny_llama: Path, tmp_path: Path) -> None:
    """The index of each measure with its noise, in /metrics and in /v1/model."""
    predictor = Predictor(ruled_bundle(tiny_llama))
    texts = [f"message number {number} about lunch at {number % 13}" for number in range(90)]
    rows = predictor.predict_proba(texts)
    lengths = predictor.bundle.tokenizer.read(texts)[1].lengths
    decided = predictor.bundle.rules.decide(rows)
    reference = Reference.of(Answered.of(predictor.labels, rows, decided, lengths))
    assert reference is not None
    predictor.save(tmp_path / "new", extra={"metrics.json": json.dumps({"drift": reference.as_json()})})
    service = service_of(tmp_path / "new", limits=replace(Limits(), texts=100))

    async def run() -> None:
        async with client_of(service) as client:
            assert not [key for key in samples((await client.get("/metrics")).text) if "psi" in key[0]]
            await client.post("/v1/classify", json={"texts": texts})
            found = samples((await client.get("/metrics")).text)
            told = (await client.get("/v1/model")).json()["drift"]
        assert of(found, "tailtune_drift_answers", model="new") == told["answers"] == 90
        index = of(found, "tailtune_drift_psi_ratio", model="new", measure="scores")
        assert index == pytest.approx(0, abs=1e-3)  # the same texts: those near an edge may fall on its other side
        assert of(found, "tailtune_drift_noise_ratio", model="new", measure="scores") > 0.1
        assert told["psi"]["scores"] is None or told["psi"]["scores"] == pytest.approx(index)

    asyncio.run(run())


def test_a_client_that_goes_away(service: Service) -> None:
    """Counted as cancelled, without a status."""

    async def run() -> Samples:
        async with client_of(service) as client:
            transport = client._transport
            assert isinstance(transport, httpx.ASGITransport)
            body = json.dumps({"texts": ["lunch?"]}).encode()
            events: list[dict[str, object]] = [
                {"type": "http.request", "body": body, "more_body": True},
                {"type": "http.disconnect"},
            ]
            said: list[object] = []

            async def receive() -> dict[str, object]:
                return events.pop(0)

            async def send(message: object) -> None:
                said.append(message)

            scope: dict[str, object] = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/classify"}
            scope |= {"headers": [(b"host", b"service")], "query_string": b""}
            await transport.app(scope, receive, send)
            assert not said
            return samples((await client.get("/metrics")).text)

    found = asyncio.run(run())
    assert of(found, "tailtune_cancelled_total") == 1
    assert of(found, "tailtune_requests_total", protocol="tailtune", status="none") == 1


def test_labels_are_bounded(service: Service) -> None:
    """However many paths, methods, models and ids are made up, no series is added."""

    async def ask(client: httpx.AsyncClient) -> None:
        for number in range(30):
            await client.request(f"M{number}", f"/made/up/{number}", headers={"x-request-id": f"id{number}"})
            await client.post("/v1/classify", json={"texts": ["a"], "model": f"model {number}"})

    found = after(service, ask)
    assert not [key for key in found if any("made" in value or "model " in value for _, value in key[1])]
    assert len([key for key in found if key[0] == "tailtune_requests_total"]) == 2


def test_reloads(tiny_llama: Path, tmp_path: Path) -> None:
    """What came of each look; the new version is told of in the place of the old one, and its answers begin anew."""
    saved(tiny_llama, tmp_path / "one", ruled_bundle)
    saved(tiny_llama, tmp_path / "two")
    (tmp_path / "now").symlink_to("one")
    service = service_of(tmp_path / "now")
    metrics, reloader = Metrics(service), Reloader(service, Served.load)
    reloader.seen.append(metrics.reloaded)

    async def run() -> None:
        await reloader.reload()
        for target in ("two", "nowhere"):
            (tmp_path / "now").unlink()
            (tmp_path / "now").symlink_to(target)
            await reloader.reload()

    asyncio.run(run())
    found = samples(metrics.page()[0].decode())
    for outcome in ("unchanged", "loaded", "failed"):
        assert of(found, "tailtune_reloads_total", model="now", outcome=outcome) == 1
    told = [dict(key[1])["digest"] for key in found if key[0] == "tailtune_bundle_info"]
    assert told == [Served.load("now", tmp_path / "two").digest]


def families(service: Service, accept: str, read: Callable[[str], Iterator[Metric]]) -> list[Metric]:
    async def run() -> str:
        async with client_of(service) as client:
            await client.post("/v1/classify", json={"texts": TEXTS})
            answer = await client.get("/metrics", headers={"accept": accept})
            assert answer.headers["content-type"].startswith(accept)
            return answer.text

    return list(read(asyncio.run(run())))


@pytest.mark.parametrize(
    ("accept", "read"), [("text/plain", read_text), ("application/openmetrics-text", read_open)], ids=["text", "open"]
)
def test_names(service: Service, accept: str, read: Callable[[str], Iterator[Metric]]) -> None:
    """Base units, a unit at the end, help for each; no reserved label, no colon, no type in a name; both formats."""
    own = [each for each in families(service, accept, read) if each.name.startswith("tailtune_")]
    assert len(own) > 20
    units = ("seconds", "ratio", "tokens", "texts", "characters", "pieces", "answers", "inside", "info")
    for family in own:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(milliseconds|ms|percent|gauge|counter|histogram|count|sum|bucket)$", family.name)
        assert "_total" not in family.name.removesuffix("_total")
        if family.name.endswith("_created"):
            continue
        if family.type == "counter":
            assert all(each.name.endswith(("_total", "_created")) for each in family.samples), family.name
        else:
            assert not family.name.endswith("_total")
            assert family.name.rpartition("_")[2] in units, family.name
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= {"protocol", "status", "kind", "model", "label", "measure", "digest", "version", "le"}


def test_two_applications_count_apart(tiny_llama: Path, tmp_path: Path) -> None:
    """No state of the process: one application knows nothing of another's requests."""
    first = service_of(saved(tiny_llama, tmp_path / "first"))
    second = service_of(saved(tiny_llama, tmp_path / "second"))
    after(first, lambda client: client.post("/v1/classify", json={"texts": TEXTS}))
    found = after(second, lambda client: client.get("/health"))
    assert not [key for key in found if ("protocol", "tailtune") in key[1]]


def test_the_page_names_them_all(tiny_llama: Path, tmp_path: Path) -> None:
    """docs/how-to/watch-a-service.md has each metric with its labels, and no other."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "how-to" / "watch-a-service.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(tailtune_\w+)` \| ([a-z, ]*) ?\|", page, re.MULTILINE)
    told = {name: frozenset(labels.strip().split(", ")) - {""} for name, labels in rows}
    service = service_of(saved(tiny_llama, tmp_path / "spam"))
    names: set[str] = set()

    async def ask(client: httpx.AsyncClient) -> None:
        await client.post("/v1/classify", json={"texts": TEXTS})
        await client.get("/another")
        types = re.findall(r"^# TYPE (tailtune_\w+) ", (await client.get("/metrics")).text, re.MULTILINE)
        names.update(name for name in types if not name.endswith("_created"))

    found = after(service, ask)
    assert set(told) == names
    for name, labels in found:
        family = next((each for each in told if re.fullmatch(f"{each}(_bucket|_sum|_count)?", name)), None)
        if family is not None:
            assert {label for label, _ in labels} - {"le"} == told[family], name
