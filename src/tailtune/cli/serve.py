"""``tailtune serve``: a classifier behind HTTP."""

from __future__ import annotations

import inspect
import io
import sys
from typing import Any

import typer

from tailtune import __version__
from tailtune.cli.screen import Screen
from tailtune.cli.serve_options import ServeOptions, parameters
from tailtune.errors import SetupError
from tailtune.machine import cores

_HELP = "Answer requests over HTTP: our own protocol, TEI, vLLM, Open Inference Protocol v2 and SageMaker."
_EPILOG = "Every option can also be an environment variable: --batch-tokens is TAILTUNE_SERVE_BATCH_TOKENS."


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    def command(**given: Any) -> None:
        _serve(ServeOptions(**given))

    # Typer reads the signature: one parameter per field.
    command.__signature__ = inspect.Signature(parameters())  # type: ignore[attr-defined]
    app.command("serve", help=_HELP, epilog=_EPILOG)(command)


def _serve(options: ServeOptions) -> None:
    paths, limits, style = options.paths(), options.limits(), options.style(terminal=sys.stderr.isatty())
    try:
        from tailtune.service.access import access_of
        from tailtune.service.classify import Service
        from tailtune.service.keys import Keys
        from tailtune.service.run import bind, serve
        from tailtune.service.served import Served
        from tailtune.service.telemetry.log import event
        from tailtune.service.telemetry.reporting import reporting
    except ModuleNotFoundError as error:
        raise SetupError(f"serve needs {error.name}", hint="pip install 'tailtune[serve]'") from error
    access = access_of(
        options.host,
        keys=None if options.api_key_file is None else Keys(options.api_key_file),
        allow_anyone=options.allow_anyone,
        allow_hosts=options.allow_host or (),
        allow_origins=options.allow_origin or (),
    )
    stderr = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
    with Screen(quiet=options.quiet) as screen, reporting(stderr, style, texts=options.log_texts) as ended:
        listening = bind(options.host, options.port)
        served = {name: Served.load(name, path, device=options.device, threads=1) for name, path in paths.items()}
        shown = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        said = f"serving {', '.join(served)} at {url}"
        if style == "off":
            screen.say(said)
        event("start", said, url=url, models={name: each.digest for name, each in served.items()}, version=__version__)
        serve(
            Service(served, workers=options.workers or cores(), limits=limits),
            listening,
            access=access,
            log_texts=options.log_texts,
            ended=ended,
        )
        event("stop", "stopped")
