"""The services that bench/service.py measures, each a process on loopback that is stopped at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tailtune.storage import read_json

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Running:
    """A service.

    Attributes:
        process: Its process.
        port: On loopback.
        seconds: From its start to its first answer.
    """

    process: subprocess.Popen[bytes]
    port: int
    seconds: float


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def unlimited() -> dict[str, str]:
    """Return this environment without limits on threads, which were set for other work."""
    return {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}


@contextlib.contextmanager
def running(command: Sequence[str], port: int, first: Mapping[str, Any], **env: str) -> Iterator[Running]:
    """Yield a service once it answers; it is told to stop at the end.

    Args:
        command: To run.
        port: Where it will listen.
        first: What its first request is: ``url`` and ``json``.
        env: Further environment variables.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=unlimited() | env)
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.post(**first, timeout=60).status_code == 200:
                    break
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)}: ended with {process.returncode}")
            time.sleep(0.02)
        yield Running(process, port, time.monotonic() - started)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def ours(run: Path, text: str, port: int | None = None) -> Iterator[Running]:
    """Yield ``tailtune serve`` with nothing but a port given.

    Args:
        run: Run folder or bundle.
        text: That it is asked first.
        port: Default: any that is free.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "tailtune.cli", "serve", str(run), "--port", str(port), "--quiet"]
    first = {"url": f"http://127.0.0.1:{port}/v1/classify", "json": {"texts": [text]}}
    with running(command, port, first) as service:
        yield service


@contextlib.contextmanager
def plain(run: Path, text: str, style: str) -> Iterator[Running]:
    """Yield the service of bench/service_reference.py on the pretrained model of a run.

    Args:
        run: Run folder.
        text: That it is asked first.
        style: How its one function is written: ``def`` or ``async``.
    """
    from tailtune.models.sources import catalog

    port, classes = free_port(), len(read_json(run / "metrics.json")["labels"])
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--factory", "service_reference:create_app"]
    first = {"url": f"http://127.0.0.1:{port}/classify", "json": {"text": text}}
    model = str(catalog.resolve(read_json(run / "config.json")["config"]["model"]).path)
    told = {"MODEL": model, "STYLE": style, "CLASSES": str(classes), "HF_HUB_OFFLINE": "1"}
    quiet = ["--port", str(port), "--log-level", "warning"]
    with running([*command, *quiet], port, first, **told) as service:
        yield service
