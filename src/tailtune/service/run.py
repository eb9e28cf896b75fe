"""The process: bind, serve, and let what was accepted be answered before it goes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import uvicorn

from tailtune.errors import ConfigError, SetupError
from tailtune.service.access import Access
from tailtune.service.app import create_app
from tailtune.service.classify import Service
from tailtune.service.connection import connections
from tailtune.service.faults import quiet_others
from tailtune.service.telemetry.watch import Exchange


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: Address or name.
        port: 0 for any that is free.

    Raises:
        ConfigError: If the name means no address of this machine.
        SetupError: If it is taken, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"--host {host!r}: is no address", hint="127.0.0.1 for this machine alone") from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        hint = "another process listens there; give another --port"
        raise SetupError(f"{host}:{port}: {error.strerror}", hint=hint) from error
    return listening


def serve(
    service: Service,
    listening: socket.socket,
    *,
    access: Access | None = None,
    log_texts: bool = False,
    drain_seconds: float = 30.0,
    ended: Sequence[Callable[[Exchange], None]] = (),
) -> None:
    """Answer requests until the process is told to stop; those inside are answered first.

    Args:
        service: What answers.
        listening: From ``bind``.
        access: Who may ask; by default whoever reaches it.
        log_texts: Whether the log may repeat texts.
        drain_seconds: Most that those inside are waited for.
        ended: Called with each request once it is over.
    """
    if not log_texts:
        quiet_others()
    config = uvicorn.Config(
        create_app(service, access=access, log_texts=log_texts, ended=ended),
        http=connections(seconds=service.limits.seconds),
        ws="none",
        proxy_headers=False,  # nobody here asks who a request comes from
        log_config=None,
        log_level="error",  # it would write a line for whatever is no HTTP, and anyone can send that
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=int(drain_seconds),
        limit_concurrency=None,
        backlog=2048,
    )
    uvicorn.Server(config).run(sockets=[listening])
