"""Who may ask: by which name of this service, from which pages, with which key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tailtune.errors import ConfigError
from tailtune.service.keys import Keys, challenge
from tailtune.service.refusals import Refused

# What a browser calls this machine.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ORIGIN = re.compile(r"https?://[a-z0-9._-]+(:\d{1,5})?|https?://\[[0-9a-f:.]+\](:\d{1,5})?")
_HOST = re.compile(rb"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{0,5})?")
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, x-api-key, x-request-id"),
    (b"access-control-max-age", b"600"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Who may ask; by default whoever reaches the socket, but no page of another site.

    Attributes:
        keys: One of which a request needs; None for none.
        hosts: Names that requests may call the service by, in lower case; None for any.
        origins: Sites whose pages may ask; "*" for all.
    """

    keys: Keys | None = None
    hosts: frozenset[str] | None = None
    origins: frozenset[str] = frozenset()

    def require(self, headers: Mapping[bytes, bytes], *, version: str) -> str | None:
        """Return the name of the request's key, None where none is needed.

        Args:
            headers: Of the request, names in lower case.
            version: Of HTTP.

        Raises:
            Refused: If it calls the service by another name, comes from a page of another site, or brings no key.
        """
        self._require_host(headers, version)
        self._require_origin(headers)
        if self.keys is None:
            return None
        holder = self.keys.holder(headers)
        if holder is None:
            message = "a key is needed: as Authorization: Bearer, as X-API-Key, or as the password of Basic"
            raise Refused("unauthorized", message, challenge=challenge(headers))
        return holder

    def shared(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Return the headers that let the page of a site that may ask read the answer."""
        origin = headers.get(b"origin")
        if not self.origins or origin is None or not self._welcome(origin):
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"x-request-id, retry-after"),
            (b"vary", b"origin"),
        ]

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]] | None:
        """Return what a browser that asks for a page is told besides ``shared``; None if the page may not ask."""
        if method != "OPTIONS" or b"access-control-request-method" not in headers:
            return None
        return list(_PREFLIGHT) if self.shared(headers) else None

    def _welcome(self, origin: bytes) -> bool:
        return "*" in self.origins or origin.decode("latin-1").lower() in self.origins

    def _require_host(self, headers: Mapping[bytes, bytes], version: str) -> None:
        """Refuse names of others: a page whose name was made to mean this machine gives its own."""
        given = headers.get(b"host")
        if given is None and version == "1.0":
            return
        found = _HOST.fullmatch(given or b"")
        if found is None:
            raise Refused("malformed", "the Host header is missing, or is no name")
        name = (found["six"] or found["name"]).decode().lower().rstrip(".")
        if self.hosts is not None and name not in self.hosts:
            message = "this service is not known by the name in the Host header; --allow-host adds one"
            raise Refused("misdirected", message)

    def _require_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse pages of other sites: browsers send their requests, though not let them see the answers."""
        origin = headers.get(b"origin")
        if origin is None or headers.get(b"sec-fetch-site") == b"same-origin" or self._welcome(origin):
            return
        if origin.partition(b"://")[2].lower() != headers.get(b"host", b"").lower():
            raise Refused("forbidden", "pages of other sites may not ask; --allow-origin lets one")


def access_of(
    host: str,
    *,
    keys: Keys | None,
    allow_anyone: bool = False,
    allow_hosts: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
) -> Access:
    """Return who may ask a service that listens at ``host``.

    Args:
        host: Address or name, as given.
        keys: Needed beyond this machine.
        allow_anyone: Listen beyond this machine without keys.
        allow_hosts: Names of the service, besides those of this machine where it listens there.
        allow_origins: Sites whose pages may ask.

    Raises:
        ConfigError: If it would be open by mistake, or something is no name or no site.
    """
    names = frozenset(map(_name, allow_hosts))
    origins = frozenset(map(_origin, allow_origins))
    if "*" in origins and keys is not None:
        hint = "name the sites, or give no --api-key-file"
        raise ConfigError("--allow-origin '*' together with keys would offer them to every page", hint=hint)
    if keys is not None and allow_anyone:
        raise ConfigError("--allow-anyone and --api-key-file contradict each other", hint="give one of them")
    local = is_loopback(host)
    if not local and keys is None and not allow_anyone:
        message = f"--host {host}: anyone who reaches it could ask"
        raise ConfigError(message, hint="give --api-key-file, or --allow-anyone if that is what you want")
    hosts = names | LOOPBACK | {host.lower()} if local else names or None
    return Access(keys=keys, hosts=hosts, origins=origins)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _name(given: str) -> str:
    name = given.lower().strip("[]").rstrip(".")
    if _HOST.fullmatch((f"[{name}]" if ":" in name else name).encode()) is None:
        raise ConfigError(f"--allow-host {given!r}: expected a name without port, such as classifier.example.org")
    return name


def _origin(given: str) -> str:
    origin = given.lower()
    if origin != "*" and _ORIGIN.fullmatch(origin) is None:
        raise ConfigError(
            f"--allow-origin {given!r}: expected scheme, name and port alone, such as https://example.org"
        )
    return origin
