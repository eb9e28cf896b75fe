"""The life of ``tailtune serve``: how it starts, changes versions, ends when told to, and when it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from support.asking import Told, ask_on_and_on
from support.classifiers import probe_bundle, tail_bundle
from support.command_line import call, require_refusal
from support.serving import Process, saved, serving
from tailtune.bundle import MANIFEST
from tailtune.predict import Predictor
from tailtune.storage import canonical_json, sha256_bytes

_PATIENCE_SECONDS = 60.0
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def bundle(tiny_llama: Path, tmp_path: Path) -> Path:
    return saved(tiny_llama, tmp_path / "spam-filter")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(server: Process) -> int:
    """Return the exit code once the process is over."""
    return server.process.wait(_PATIENCE_SECONDS)


def texts_of(client: int) -> Callable[[], Sequence[str]]:
    """Return a function that makes other texts with each call."""
    counter = iter(range(10**9))
    return lambda: [f"client {client} message {next(counter)} part {part}" for part in range(6)]


def require_right(told: Told, bundle: Path) -> None:
    """Compare every answer with the predictor's."""
    expected = Predictor.load(bundle).predict_proba([text for texts, _ in told.answers for text in texts])
    got = [list(each["probabilities"].values()) for _, body in told.answers for each in body["results"]]
    assert np.abs(np.array(got) - expected).max() < 1e-6


async def load_until(server: Process, told: Told, act: Callable[[], None], *, clients: int = 24) -> None:
    """Let clients ask on and on, ``act`` when a hundred were answered, and wait for the clients' end."""
    asking = [asyncio.create_task(ask_on_and_on(server.port, texts_of(number), told)) for number in range(clients)]
    while len(told.answers) < 100:
        await asyncio.sleep(0.01)
    act()
    await asyncio.wait_for(asyncio.gather(*asking), _PATIENCE_SECONDS)


def test_told_to_stop_under_load_it_loses_nothing(bundle: Path, tmp_path: Path) -> None:
    """Every request sent has its right answer, the last on each connection says so, and the process ends with 0."""
    told = Told()
    with serving(bundle, log=tmp_path / "log") as server:
        asyncio.run(load_until(server, told, server.process.terminate))
        assert ended(server) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/ready")
    assert not told.lost
    assert not told.refusals
    assert told.last == 24
    require_right(told, bundle)


def test_a_delay_lets_others_know_first(bundle: Path, tmp_path: Path) -> None:
    """It says at once that it is not ready, and answers new connections until then; 130 says that it was Ctrl-C."""
    with serving(bundle, "--drain-delay", "2s", log=tmp_path / "log") as server:
        server.process.send_signal(signal.SIGINT)
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
        answer = httpx.post(f"{server.url}/v1/classify", json={"texts": ["still here?"]})
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert ended(server) == 130


# Some seconds of work: each of 256 texts, and each text without each of its words, in a batch of its own.
_LONG = {"texts": ["one two three four five six"] * 256, "highlights": True}


def _begin_long(port: int) -> socket.socket:
    """Return a connection on which a long request was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    content = json.dumps(_LONG).encode()
    head = "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    return connection


def test_told_twice_it_ends_at_once(bundle: Path, tmp_path: Path) -> None:
    """Whatever it does."""
    more = ("--batch-tokens", 1, "--drain-delay", "60s")
    with serving(bundle, *more, log=tmp_path / "log") as server, _begin_long(server.port):
        server.process.terminate()
        until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
        server.process.terminate()
        assert ended(server) == 128 + signal.SIGTERM


def test_who_is_not_answered_in_the_time_to_end_is_told(bundle: Path, tmp_path: Path) -> None:
    """503 in place of silence, and the exit code says that something was lost."""
    with serving(bundle, "--batch-tokens", 1, "--drain-seconds", "0.1s", log=tmp_path / "log") as server:
        with _begin_long(server.port) as connection:
            until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
            server.process.terminate()
            assert connection.makefile("rb").readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
        assert ended(server) == 1
    assert "--drain-seconds" in server.log.read_text()


def test_killed_under_load_it_serves_again(bundle: Path, tmp_path: Path) -> None:
    """On the same port, from the same bundle: nothing lies about that says otherwise."""
    before, told = sorted(bundle.rglob("*")), Told()
    with serving(bundle, log=tmp_path / "log") as server:
        asyncio.run(load_until(server, told, server.process.kill))
        assert ended(server) == -signal.SIGKILL
    assert len(told.lost) == 24
    require_right(told, bundle)
    again = Told()
    with serving(bundle, "--port", server.port, log=tmp_path / "log-2") as second:
        assert second.port == server.port
        asyncio.run(load_until(second, again, second.process.terminate))
        assert ended(second) == 0
    assert not again.lost
    require_right(again, bundle)
    assert sorted(bundle.rglob("*")) == before


def _models(server: Process) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{server.url}/v1/models").json()
    return found


def test_hangup_loads_the_version_that_the_path_leads_to(tiny_llama: Path, tmp_path: Path) -> None:
    """Of each classifier; one that cannot be loaded leaves the old one answering and a line in the log."""
    versions = [saved(tiny_llama, tmp_path / name, make) for name, make in (("1", probe_bundle), ("2", tail_bundle))]
    now, new = tmp_path / "now", tmp_path / "new"
    now.symlink_to("1")
    with serving(now, "--model", f"other={versions[0]}", log=tmp_path / "log") as server:
        first = _models(server)[0]["digest"]
        new.symlink_to("2")
        new.rename(now)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: _models(server)[1]["last_reload"] is not None)
        changed, other = _models(server)
        assert changed["digest"] == Predictor.load(versions[1]).bundle.digest != first
        assert (changed["previous_digest"], changed["last_reload"]["outcome"]) == (first, "loaded")
        assert (other["digest"], other["last_reload"]["outcome"]) == (first, "unchanged")
        now.unlink()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: _models(server)[0]["last_reload"]["outcome"] == "failed")
        for name in (None, "other"):
            answer = httpx.post(f"{server.url}/v1/classify", json={"texts": ["hello"], "model": name})
            assert answer.json()["model"]["digest"] == _models(server)[name is not None]["digest"]
        answer = httpx.post(f"{server.url}/v1/classify", json={"texts": ["hello"], "model": "absent"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")
    assert "not loaded again" in server.log.read_text()
    assert server.process.returncode == 0


def test_watching_loads_it_unasked(tiny_llama: Path, tmp_path: Path) -> None:
    """A link that is switched is noticed."""
    for name, make in (("1", probe_bundle), ("2", tail_bundle)):
        saved(tiny_llama, tmp_path / name, make)
    now, new = tmp_path / "now", tmp_path / "new"
    now.symlink_to("1")
    new.symlink_to("2")
    with serving(now, "--watch", "0.1s", log=tmp_path / "log") as server:
        new.rename(now)
        until(lambda: _models(server)[0]["previous_digest"] is not None)


# The command line in a session of its own that has the terminal on stdin.
_IN_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.Handlers(int(sys.argv[1])))
from tailtune.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("by", "code"), [(signal.SIG_DFL, 0), (signal.SIG_IGN, None)], ids=["plain", "nohup"])
def test_a_terminal_that_is_closed_ends_what_was_started_from_it(
    bundle: Path, tmp_path: Path, by: signal.Handlers, code: int | None
) -> None:
    """It sends the signal that asks for new versions; started with nohup the service stays."""
    ours, theirs = pty.openpty()

    line = [sys.executable, "-c", _IN_TERMINAL, str(int(by)), "serve", str(bundle), "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(line, stdin=theirs, stdout=stderr, stderr=stderr)
    os.close(theirs)
    try:
        until(lambda: re.search(r"http://[\d.]+:\d+", log.read_text()) is not None)
        url = re.findall(r"http://[\d.]+:\d+", log.read_text())[0]
        until(lambda: answers(f"{url}/ready"))
        os.close(ours)
        if code is None:
            os.kill(process.pid, signal.SIGHUP)
            until(lambda: httpx.get(f"{url}/v1/model").json()["last_reload"] is not None)
        else:
            assert process.wait(_PATIENCE_SECONDS) == code
    finally:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)


def answers(url: str) -> bool:
    """Return whether anybody answers there."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def lie(bundle: Path) -> None:
    """Let the bundle remember other answers than it gives, with hashes that fit."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest["digest"]
    manifest["golden"][2]["probabilities"] = [0.0, 0.0, 1.0]
    manifest["digest"] = sha256_bytes(canonical_json(manifest).encode())
    (bundle / MANIFEST).write_text(canonical_json(manifest))


def test_what_cannot_be_served_is_refused_in_one_line(bundle: Path, tmp_path: Path, capfd: Capture) -> None:
    """A self-test says whether it would start; a service that would not says why."""
    found = call(capfd, "serve", bundle, "--self-test")
    assert found.code == 0
    assert re.fullmatch(r"spam-filter: \d+ MB, version [0-9a-f]{12}, 4 golden texts answered .*\n", found.err)
    assert "no such folder" in require_refusal(call(capfd, "serve", tmp_path / "absent", "--port", 0), 4)
    twice = call(capfd, "serve", bundle, "--model", f"spam-filter={bundle}")
    assert "there is a model 'spam-filter' already" in require_refusal(twice, 2)
    lie(bundle)
    for more in (["--self-test"], ["--port", 0]):
        said = require_refusal(call(capfd, "serve", bundle, *more), 4)
        assert said.startswith(f"error: {bundle}: the saved classifier answers differently")


def test_a_port_that_is_taken_is_said(bundle: Path, capfd: Capture) -> None:
    """In one line, with another idea."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        refused = call(capfd, "serve", bundle, "--port", port)
    assert require_refusal(refused, 5) == f"error: 127.0.0.1:{port}: Address already in use"
    assert "another --port" in refused.err
