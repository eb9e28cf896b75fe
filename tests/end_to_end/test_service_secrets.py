"""What a service keeps to itself: texts stay out of the log, and keys out of everything."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from support.raw_http import connect, exchange, request
from support.serving import Process, saved, serving

MARK = "zqx-my-own-words-zqx"
FIRST, SECOND, WRONG = ("zqx-key-of-the-first-0123", "zqx-key-of-the-second-4567", "zqx-key-that-is-wrong-89")


def failures(server: Process, headers: dict[str, str]) -> None:
    """Send the mark in every way that comes to no answer, and in some that do."""
    url, as_json = server.url, {**headers, "Content-Type": "application/json"}
    bodies: list[object] = [
        {"texts": [MARK]},
        {"texts": [MARK], "highlights": True},
        {"texts": [MARK], MARK: 1},
        {"texts": [MARK], "model": MARK},
        {"texts": MARK},
        {"texts": [{"text": MARK}]},
        {"texts": [MARK] * 5},
        {"texts": [MARK * 100]},
        {"texts": [MARK + "\ud800"]},
        {"inputs": MARK, "truncation_direction": MARK},
        {"input": [MARK, 1], "truncate_prompt_tokens": MARK},
        {"inputs": [{"name": MARK, "shape": [1], "datatype": "BYTES", "data": [MARK]}]},
        {"inputs": [{"name": "text", "shape": [2], "datatype": MARK, "data": [MARK]}]},
        {"instances": [MARK]},
        [MARK],
        MARK,
    ]
    raw = [json.dumps(body).encode() for body in bodies]
    raw += [raw[0][:-5], MARK.encode(), b'{"texts":["\xff' + MARK.encode() + b'"]}']
    with httpx.Client(headers=as_json) as client:
        for path in ("/v1/classify", "/predict", "/classify", "/invocations", "/v2/models/spam/infer", "/", f"/{MARK}"):
            for body in raw:
                answer = client.post(f"{url}{path}", content=body)
                assert answer.status_code < 500
                assert answer.status_code == 200 or MARK not in answer.text
        for path in (f"/v1/model?name={MARK}", f"/v2/models/{MARK}", f"/page/{MARK}", f"/report?model={MARK}"):
            assert client.get(f"{url}{path}").status_code == 404
    host = f"Authorization: {headers['Authorization']}"
    whole = request("POST", "/v1/classify", host, "Content-Type: application/json", body=raw[0])
    exchange(server.port, whole[:-3], end=True)
    exchange(server.port, whole.replace(b"POST", MARK.encode()))
    exchange(server.port, request("GET", "/v1/model", f"{MARK}: {MARK}\0", f"Authorization: Bearer {WRONG}"))
    exchange(server.port, request("GET", "/v1/model", f"Origin: https://{MARK}"))
    exchange(server.port, whole.replace(b"Host: 127.0.0.1", f"Host: {MARK}".encode()))
    with connect(server.port) as connection:  # gone while it is computed
        connection.sendall(whole)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.fixture
def bundle(tiny_llama: Path, tmp_path: Path) -> Path:
    return saved(tiny_llama, tmp_path / "spam")


def test_nothing_of_it_in_the_log(bundle: Path, tmp_path: Path) -> None:
    """Neither words nor keys, whatever goes wrong; with --log-texts the words alone. Keys change with SIGHUP."""
    file = tmp_path / "keys"
    file.write_text(f"first: {FIRST}")
    file.chmod(0o600)
    arguments = ("--api-key-file", file, "--texts", 4, "--characters", 1000, "--log", "json")
    bring = [{"Authorization": f"Bearer {key}"} for key in (FIRST, SECOND)]
    with serving(bundle, *arguments, log=tmp_path / "log") as server:
        failures(server, bring[0])
        model = f"{server.url}/v1/model"
        assert [httpx.get(model, headers=each).status_code for each in ({}, *bring)] == [401, 200, 401]
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        file.write_text(f"second: {SECOND}")
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while httpx.get(model, headers=bring[1]).status_code == 401 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [httpx.get(model, headers=each).status_code for each in bring] == [401, 200]
        metrics = httpx.get(f"{server.url}/metrics", headers=bring[1]).text
    log = server.log.read_text()
    assert '"status": 422' in log
    assert "zqx" not in log
    assert "zqx" not in metrics
    with serving(bundle, *arguments, "--log-texts", log=tmp_path / "told") as server:
        failures(server, bring[1])
    told = server.log.read_text()
    assert MARK in told
    assert "zqx-key" not in told
