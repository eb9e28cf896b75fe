"""``tailtune serve``: a classifier behind HTTP."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tailtune import __version__
from tailtune.cli.screen import Screen
from tailtune.cli.serve_options import ServeOptions, parameters
from tailtune.errors import SetupError

if TYPE_CHECKING:
    from tailtune.service.access import Access
    from tailtune.service.served import Served

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
    paths, drain, every = options.paths(), options.drain(), options.watch_seconds()
    style = options.style(terminal=sys.stderr.isatty())
    load = _loader(options)
    if options.self_test:
        with Screen(quiet=options.quiet) as screen:
            for name, path in paths.items():
                screen.say(_about(load(name, path)))
        return
    try:
        from tailtune.service.app import create_app
        from tailtune.service.classify import Service
        from tailtune.service.faults import quiet_others
        from tailtune.service.reload import Reloader
        from tailtune.service.run import bind, serve
        from tailtune.service.telemetry.log import event
        from tailtune.service.telemetry.metrics import Metrics
        from tailtune.service.telemetry.reporting import reporting
    except ModuleNotFoundError as error:
        raise SetupError(f"serve needs {error.name}", hint="pip install 'tailtune[serve]'") from error
    access = _access(options)
    if not options.log_texts:
        quiet_others()
    stderr = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
    with (
        Screen(quiet=options.quiet) as screen,
        reporting(stderr, style, texts=options.log_texts) as ended,
        bind(options.host, options.port) as listening,
    ):
        served = {name: load(name, path) for name, path in paths.items()}
        for each in served.values():
            event("loaded", _about(each), model=each.name, digest=each.digest)
        limits = options.limits(next(iter(served.values())).predictor.device)
        service = Service(served, workers=options.workers, limits=limits)
        metrics = Metrics(service)
        reloader = Reloader(service, load, every=every)
        reloader.seen.append(metrics.reloaded)
        if access.keys is not None:
            reloader.first.append(access.keys.reload)
        shown = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{shown}:{listening.getsockname()[1]}"
        said = f"serving {', '.join(served)} at {url}"
        if style == "off":
            screen.say(said)
        event("start", said, url=url, version=__version__)
        app = create_app(service, access=access, log_texts=options.log_texts, metrics=metrics, ended=ended)
        code = serve(app, service, listening, reloader=reloader, **drain)
        event("stop", "stopped", code=code)
    if code:
        raise typer.Exit(code)


def _loader(options: ServeOptions) -> Callable[[str, Path], Served]:
    from tailtune.service.served import Served

    return partial(Served.load, device=options.device, threads=1)


def _about(served: Served) -> str:
    size = f"{served.file_bytes / 1e6:,.0f} MB"
    golden = len(served.predictor.bundle.golden)
    return f"{served.name}: {size}, version {served.digest[:12]}, {golden} golden texts answered as when it was saved"


def _access(options: ServeOptions) -> Access:
    from tailtune.service.access import access_of
    from tailtune.service.keys import Keys

    return access_of(
        options.host,
        keys=None if options.api_key_file is None else Keys(options.api_key_file),
        allow_anyone=options.allow_anyone,
        allow_hosts=options.allow_host or (),
        allow_origins=options.allow_origin or (),
    )
