"""Keys of those who may ask: read from a file, kept as digests, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError

log = logging.getLogger("tailtune.service")

# 16 random letters and digits hold 95 bits: beyond guessing over a network. Shorter ones are often words.
SHORTEST = 16
_FILE_BYTES = 1_000_000
_LINE = re.compile(r"(?:(?P<name>[A-Za-z0-9._@-]+):\s+)?(?P<key>[!-~]+)")
_HINT = "one key a line, alone or as `name: key`; python -c 'import secrets; print(secrets.token_hex(32))' makes one"


class Keys:
    """The keys in a file.

    Args:
        path: One key a line, alone or as ``name: key``; lines that begin with # and empty ones count nothing.

    Raises:
        ConfigError: If the file cannot be read, holds no key, or something that is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = _read(path)

    def reload(self) -> None:
        """Read the file again; the keys stay as they are where that fails.

        Raises:
            ConfigError: As at first.
        """
        self._names = _read(self._path)

    def holder(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the name of the key that a request brings, "" for one without a name, None where it brings none.

        Every key is compared, and whole: the time tells nothing of which is near.

        Args:
            headers: Names in lower case.
        """
        found = None
        for given in _given(headers):
            digest = hashlib.sha256(given).digest()
            for known, name in self._names.items():
                if hmac.compare_digest(digest, known):
                    found = name
        return found


def challenge(headers: Mapping[bytes, bytes]) -> str:
    """Return what WWW-Authenticate says: browsers ask their user for a name and a password, the password is the key."""
    return 'Basic realm="tailtune", charset="UTF-8"' if b"text/html" in headers.get(b"accept", b"") else "Bearer"


def add_schemes(document: dict[str, Any], *, free: frozenset[str]) -> dict[str, Any]:
    """Return an OpenAPI document that says how to bring a key.

    Args:
        document: Changed in place.
        free: Paths that need none.
    """
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "basic": {"type": "http", "scheme": "basic", "description": "Any user; the key is the password."},
    }
    document.setdefault("components", {})["securitySchemes"] = schemes
    document["security"] = [{name: []} for name in schemes]
    for path in free & document["paths"].keys():
        for operation in document["paths"][path].values():
            operation["security"] = []
    return document


def _given(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """What may be a key: of Authorization, as Bearer or password, and of X-API-Key."""
    found = [headers[b"x-api-key"]] if b"x-api-key" in headers else []
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        found.append(value.strip())
    elif scheme.lower() == b"basic":
        try:
            found.append(base64.b64decode(value.strip(), validate=True).partition(b":")[2])
        except binascii.Error:
            return found
    return found


def _read(path: Path) -> dict[bytes, str]:
    """SHA-256 of each key -> its name."""
    try:
        with path.open("rb") as file:
            content, mode = file.read(_FILE_BYTES + 1), os.fstat(file.fileno()).st_mode
        lines = content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"--api-key-file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"--api-key-file {path}: is no text", hint=_HINT) from None
    if len(content) > _FILE_BYTES:
        raise ConfigError(f"--api-key-file {path}: more than {_FILE_BYTES:,} bytes are no list of keys", hint=_HINT)
    found = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            name, key = _key(line, f"--api-key-file {path}:{number}")
            found[hashlib.sha256(key.encode()).digest()] = name
    if not found:
        raise ConfigError(f"--api-key-file {path}: holds no key", hint=_HINT)
    if os.name == "posix" and mode & stat.S_IROTH:
        log.warning("%s: every user of this machine can read these keys; chmod 600 it", path)
    return found


def _key(line: str, where: str) -> tuple[str, str]:
    """Name and key of a line, which no message may repeat."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ConfigError(f"{where}: expected a key without spaces, or `name: key`", hint=_HINT)
    if len(found["key"]) < SHORTEST:
        raise ConfigError(f"{where}: a key of {len(found['key'])} characters: at least {SHORTEST}", hint=_HINT)
    return found["name"] or "", found["key"]
