"""A hub on loopback: the part of its protocol that fetching a model uses, over real sockets.

Repositories are commits of files in memory, and branches that name one. Large files are answered as the hub does: a
redirect, with their size and hash in the headers of the redirect, to another host that takes ranges.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_good"


def large(name: str) -> bool:
    """Whether the hub keeps such a file outside git, under its SHA-256."""
    return name.endswith((".safetensors", ".bin", ".gguf"))


@dataclass
class Repository:
    """One repository.

    Attributes:
        commits: Commit -> name -> content.
        branches: Name -> commit.
        gated: Its files are given only to those who come with TOKEN.
        status: Everything about it is answered with this HTTP status instead; 0 for none.
        licence: In its card.
        sizes: Name -> size that is told instead of the true one.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    status: int = 0
    licence: str = "apache-2.0"
    sizes: dict[str, int] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Return the new commit that ``branch`` now names."""
        content = "".join(f"{name} {hashlib.sha1(data).hexdigest()}" for name, data in sorted(files.items()))
        name = hashlib.sha1(content.encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name

    def listing(self, commit: str) -> list[tuple[str, int, bytes]]:
        """Return name, size as told, and content of each file."""
        files = self.commits[commit]
        return [(name, self.sizes.get(name, len(data)), data) for name, data in sorted(files.items())]


class HubServer:
    """The server; a context manager.

    Attributes:
        repositories: Id -> repository.
        asked: Method, path and Range header of every request, in order.
        cuts: Name of a large file -> how often its transfer breaks off at half of what was asked for; then it is whole.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.cuts: dict[str, int] = {}
        handler = type("_HandlerOfThis", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port: the next request is refused."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, folder: Path, **more: bytes) -> Repository:
        """Return a new repository with one commit: the files of ``folder`` and ``more``."""
        repository = self.repositories[name] = Repository()
        repository.commit({**files_of(folder), **more})
        return repository

    def transfers(self, suffix: str) -> list[str]:
        """Return the Range headers of the GET requests of files whose name ends so; "" for a whole file."""
        return [span for method, path, span in self.asked if method == "GET" and path.endswith(suffix)]


def files_of(folder: Path) -> dict[str, bytes]:
    """Return name -> content of the files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        self.hub.asked.append((self.command, unquote(address.path), self.headers.get("Range", "")))
        if parts[0] == "cdn":
            self._give_large(*parts[1:])
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._about("/".join(parts[2:4]), parts[4:], parse_qs(address.query))
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse(404, "NotFound")

    def _repository(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            self._refuse(404, "RepoNotFound")
        elif found.status:
            self._refuse(found.status, "")
        else:
            return found
        return None

    def _about(self, name: str, rest: list[str], query: dict[str, list[str]]) -> None:
        if (repository := self._repository(name)) is None:
            return
        revision = rest[1] if len(rest) > 1 else "main"
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self._refuse(404, "RevisionNotFound")
        elif rest[:1] == ["tree"]:
            self._json([_leaf(*file) for file in repository.listing(commit)])
        else:
            siblings = [_sibling(*file, whole="blobs" in query) for file in repository.listing(commit)]
            about = {"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": []}
            gated = "manual" if repository.gated else False
            self._json({**about, "gated": gated, "cardData": {"license": repository.licence}})

    def _file(self, name: str, revision: str, file: str) -> None:
        if (repository := self._repository(name)) is None:
            return
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
            return
        commit = repository.branches.get(revision, revision)
        data = repository.commits.get(commit, {}).get(file)
        if data is None:
            self._refuse(404, "EntryNotFound")
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if large(file):
            headers |= {
                "Location": f"http://localhost:{self.hub.port}/cdn/{name}/{commit}/{file}",
                "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Linked-Size": str(len(data)),
            }
        self._answer(302 if large(file) else 200, b"" if large(file) else data, headers)

    def _give_large(self, organisation: str, name: str, commit: str, *path: str) -> None:
        file = "/".join(path)
        data = self.hub.repositories[f"{organisation}/{name}"].commits[commit][file]
        span = self.headers.get("Range", "")
        start = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if span else {}
        rest = data[start:]
        left = self.hub.cuts.get(file, 0)
        if left > 0:
            self.hub.cuts[file] = left - 1
        self._answer(206 if span else 200, rest, headers, sent=len(rest) // 2 if left else len(rest))

    def _answer(self, status: int, data: bytes, headers: Mapping[str, str], sent: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:sent])
        if sent is not None and sent < len(data):
            self.close_connection = True

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code} if code else {})


def _sibling(name: str, size: int, data: bytes, *, whole: bool) -> dict[str, Any]:
    if not whole:
        return {"rfilename": name}
    about: dict[str, Any] = {"rfilename": name, "size": size, "blobId": hashlib.sha1(data).hexdigest()}
    if large(name):
        about["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
    return about


def _leaf(name: str, size: int, data: bytes) -> dict[str, Any]:
    about: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": hashlib.sha1(data).hexdigest()}
    if large(name):
        about["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
    return about
