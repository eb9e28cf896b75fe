"""Who may ask: names of the service, pages of other sites, keys on every route."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, Route

from support.serving import Ask, asked, saved, service_of
from tailtune.errors import ConfigError
from tailtune.service.access import LOOPBACK, Access, access_of, is_loopback
from tailtune.service.app import create_app
from tailtune.service.classify import Service
from tailtune.service.gate import ALWAYS
from tailtune.service.keys import Keys
from tailtune.service.refusals import Refused

KEY = "k3y-of-somebody-0123456789"
BRING = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def bundle(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_llama, tmp_path_factory.mktemp("bundles") / "spam")


@pytest.fixture
def service(bundle: Path) -> Service:
    return service_of(bundle)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Access:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"somebody: {KEY}")
    path.chmod(0o600)
    return Access(keys=Keys(path))


def paths_of(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    """Method and path of every route, however deep it lies, its parameters filled in."""
    found: set[tuple[str, str]] = set()
    for route in routes:
        inner: Any = getattr(route, "original_router", None) or getattr(route, "app", None)
        if isinstance(route, Route):
            path = "/".join("spam" if part.startswith("{") else part for part in route.path.split("/"))
            found |= {(method, path) for method in route.methods or {"GET"}}
        elif inner is not None:
            found |= paths_of(inner.routes)
        else:
            raise AssertionError(f"a kind of route that this test does not know: {route!r}")
    return found


def routes_of(service: Service) -> set[tuple[str, str]]:
    application: Any = create_app(service)
    while not isinstance(application, FastAPI):
        application = application.app
    found = paths_of(application.routes)
    # The walk must not lose any: each path of the document is among them, and each is one that the application takes.
    for path in application.openapi()["paths"]:
        assert any(known == "/".join("spam" if "{" in part else part for part in path.split("/")) for _, known in found)
    for method, path in found:
        scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}
        assert any(route.matches(scope)[0] is not Match.NONE for route in application.routes), path
    return found


def test_every_route_needs_a_key(service: Service, bundle: Path, keyed: Access) -> None:
    """But those that say whether the service is well, whoever adds whatever; also what is no route."""
    known = {*routes_of(service), ("GET", "/"), ("GET", "/no/such"), ("POST", "/no/such"), ("PUT", "/v1/classify")}
    assert ("POST", "/v1/classify") in known
    assert ("GET", "/openapi.json") in known
    spellings = [("GET", path) for path in ("/health/", "//health", "/HEALTH", "/health%2f", "/health;a", "/v1/health")]
    requests = [each for each in sorted([*known, *spellings]) if each[1] not in ALWAYS]
    bare: list[Ask] = [(method, path, {}) for method, path in requests]
    wrong: list[Ask] = [(method, path, {"headers": {"X-API-Key": KEY[:-1]}}) for method, path in requests]
    for request, answer in zip([*bare, *wrong], asked(service, *bare, *wrong, access=keyed), strict=True):
        assert answer.status_code == 401, request
        assert answer.headers["www-authenticate"] == "Bearer", request
    good: list[Ask] = [(method, path, {"headers": BRING}) for method, path in requests]
    for request, answer in zip(good, asked(service_of(bundle), *good, access=keyed), strict=True):
        assert answer.status_code != 401, request
        assert answer.status_code < 500, request


def test_health_needs_none(service: Service, keyed: Access) -> None:
    """Whoever looks after the service has none, and calls it by its address."""
    strange = {"Host": "10.0.0.7:8000", "Origin": "https://evil.example"}
    requests: list[Ask] = [("GET", path, {"headers": strange}) for path in sorted(ALWAYS)]
    access = Access(keys=keyed.keys, hosts=frozenset({"classifier.example.org"}))
    assert {answer.status_code for answer in asked(service, *requests, access=access)} == {200}


def test_refusals_have_the_shape_of_the_protocol(service: Service, keyed: Access) -> None:
    """A client that knows one of them reads the refusal like any other."""
    ours, tei, oip = asked(
        service,
        ("POST", "/v1/classify", {}),
        ("POST", "/predict", {}),
        ("POST", "/v2/models/spam/infer", {}),
        access=keyed,
    )
    assert ours.json()["error"]["type"] == "unauthorized"
    assert set(tei.json()) == {"error", "error_type"}
    assert set(oip.json()) == {"error"}


def test_the_document_names_the_keys(service: Service, bundle: Path, keyed: Access) -> None:
    """Where there are some; health needs none."""
    (without,) = asked(service_of(bundle), ("GET", "/openapi.json", {}))
    assert "security" not in without.json()
    first, second = asked(service, *[("GET", "/openapi.json", {"headers": BRING})] * 2, access=keyed)
    document = first.json()
    assert document == second.json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header", "basic"}
    assert document["security"] == [{"bearer": []}, {"header": []}, {"basic": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/classify"]["post"]


def test_a_browser_is_asked_for_the_key(service: Service, keyed: Access) -> None:
    """And comes back with it as a password."""
    first, second = asked(
        service,
        ("GET", "/", {"headers": {"Accept": "text/html"}}),
        ("GET", "/v1/model", {"auth": ("anybody", KEY)}),
        access=keyed,
    )
    assert first.status_code == 401
    assert first.headers["www-authenticate"].startswith("Basic")
    assert second.status_code == 200


def allowed(access: Access, **headers: str) -> str | None:
    """Why a request is refused; None if it is not."""
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    try:
        access.require(given, version="1.1")
    except Refused as refused:
        return refused.kind
    return None


def test_names_of_the_service() -> None:
    """A page whose name was made to mean this machine calls it by that name."""
    access = access_of("127.0.0.1", keys=None, allow_hosts=["Classifier.Example.org"])
    for host in (
        "127.0.0.1:8000",
        "localhost",
        "LOCALHOST:1",
        "[::1]:8000",
        "classifier.example.org:443",
        "localhost.",
    ):
        assert allowed(access, host=host) is None, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8000", "[::2]", "127.0.0.2", "0"):
        assert allowed(access, host=host) == "misdirected", host
    for host in ("", "a b", "localhost:80:80", "user@localhost", "localhost/", "[::1", "::1", "localhost:999999"):
        assert allowed(access, host=host) == "malformed", host
    assert allowed(access) == "malformed"
    assert access.require({}, version="1.0") is None
    assert allowed(Access(), host="any.example") is None


def test_pages_of_other_sites() -> None:
    """May not ask, however harmless the browser thinks it: what they send costs, though they see no answer."""
    access = access_of("127.0.0.1", keys=None, allow_origins=["https://App.example.org"])
    here = {"host": "localhost:8000"}
    for origin in ("https://evil.example", "null", "http://localhost:9000", "https://app.example.org.evil.example", ""):
        assert allowed(access, origin=origin, **here) == "forbidden", origin
    assert allowed(access, origin="https://app.example.org", **here) is None
    assert allowed(access, origin="http://localhost:8000", **here) is None
    assert allowed(access, origin="https://localhost:8000", **here) is None  # behind what speaks TLS for us
    assert allowed(access, origin="https://public.example", sec_fetch_site="same-origin", **here) is None
    assert allowed(access, origin="https://evil.example", sec_fetch_site="same-site", **here) == "forbidden"


def test_a_site_that_may_ask(service: Service) -> None:
    """Hears so before it asks, and its pages may read the answer; others hear nothing of it."""
    access = Access(origins=frozenset({"https://app.example.org"}))
    good, evil = ({"Origin": site} for site in ("https://app.example.org", "https://evil.example"))
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    before, answer, refused, other, plain = asked(
        service,
        ("OPTIONS", "/v1/classify", {"headers": good | asking}),
        ("POST", "/v1/classify", {"headers": good, "json": {"texts": ["a"]}}),
        ("POST", "/v1/classify", {"headers": good, "json": {"texts": []}}),
        ("OPTIONS", "/v1/classify", {"headers": evil | asking}),
        ("GET", "/v1/model", {}),
        access=access,
    )
    assert before.status_code == 204
    assert before.headers["access-control-allow-methods"] == "GET, POST"
    assert "authorization" in before.headers["access-control-allow-headers"]
    for each in (before, answer, refused):
        assert each.headers["access-control-allow-origin"] == "https://app.example.org"
        assert each.headers["vary"] == "origin"
    assert (answer.status_code, refused.status_code) == (200, 422)
    for each in (other, plain):
        assert not [name for name in each.headers if name.startswith("access-control")]


def test_preflight_needs_no_key(service: Service, keyed: Access) -> None:
    """Browsers send none with it; the request itself needs one."""
    access = Access(keys=keyed.keys, origins=frozenset({"https://app.example.org"}))
    site = {"Origin": "https://app.example.org"}
    before, answer = asked(
        service,
        ("OPTIONS", "/v1/model", {"headers": site | {"Access-Control-Request-Method": "GET"}}),
        ("GET", "/v1/model", {"headers": site}),
        access=access,
    )
    assert before.status_code == 204
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"


def test_open_by_mistake(keyed: Access) -> None:
    """Beyond this machine it needs keys, or a word that says so."""
    for host in ("0.0.0.0", "::", "192.168.1.5", "classifier.example.org", ""):
        with pytest.raises(ConfigError, match="anyone who reaches it") as refused:
            access_of(host, keys=None)
        assert "--api-key-file" in str(refused.value.hint)
        assert access_of(host, keys=None, allow_anyone=True).hosts is None
        assert access_of(host, keys=keyed.keys).keys is keyed.keys
    assert access_of("localhost", keys=None).hosts == LOOPBACK
    assert access_of("0.0.0.0", keys=None, allow_anyone=True, allow_hosts=["a.org"]).hosts == frozenset({"a.org"})


def test_what_contradicts_itself(keyed: Access) -> None:
    """One line each."""
    with pytest.raises(ConfigError, match="offer them to every page"):
        access_of("127.0.0.1", keys=keyed.keys, allow_origins=["*"])
    with pytest.raises(ConfigError, match="contradict"):
        access_of("0.0.0.0", keys=keyed.keys, allow_anyone=True)
    assert access_of("127.0.0.1", keys=None, allow_origins=["*"]).origins == {"*"}


@pytest.mark.parametrize(
    "origin", ["example.org", "https://example.org/", "https://*.example.org", "null", "", "file://"]
)
def test_sites_that_are_none(origin: str) -> None:
    """Scheme, name and port, and nothing else."""
    with pytest.raises(ConfigError, match="--allow-origin"):
        access_of("127.0.0.1", keys=None, allow_origins=[origin])


@pytest.mark.parametrize("host", ["https://example.org", "example.org/", "*.example.org", "", "a b"])
def test_names_that_are_none(host: str) -> None:
    """A name, and nothing else."""
    with pytest.raises(ConfigError, match="--allow-host"):
        access_of("127.0.0.1", keys=None, allow_hosts=[host])


def test_loopback() -> None:
    """All of 127/8, ::1 and localhost; nothing that only looks like it."""
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST")))
    assert not any(
        map(is_loopback, ("0.0.0.0", "::", "127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", ""))
    )


def test_names_are_told_apart() -> None:
    """Every kind of refusal here has a status of its own."""
    statuses = [Refused(kind, "").status for kind in ("unauthorized", "forbidden", "misdirected", "malformed")]
    assert all(first != second for first, second in itertools.combinations(statuses, 2))
