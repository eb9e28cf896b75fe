"""``tailtune serve``: a classifier behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError, SetupError
from tailtune.machine import cores


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(name="serve")(serve)


def serve(
    bundle: Annotated[
        str | None, typer.Argument(metavar="BUNDLE", help="Bundle or run folder; its name is that of the folder.")
    ] = None,
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A further classifier under a name; as often as wanted."),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Batches computed at once, one thread each; default: one per core.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes.")] = False,
) -> None:
    """Answer requests over HTTP: our own protocol, TEI, vLLM, Open Inference Protocol v2 and SageMaker."""
    paths = _named(bundle, model or [])
    try:
        from tailtune.service.classify import Service
        from tailtune.service.run import bind, serve
        from tailtune.service.served import Served
    except ModuleNotFoundError as error:
        raise SetupError(f"serve needs {error.name}", hint="pip install 'tailtune[serve]'") from error
    with Screen(quiet=quiet) as screen:
        listening = bind(host, port)
        served = {name: Served.load(name, path, device=device, threads=1) for name, path in paths.items()}
        shown = f"[{host}]" if ":" in host else host
        screen.say(f"serving {', '.join(served)} at http://{shown}:{listening.getsockname()[1]}")
        serve(Service(served, workers=workers or cores()), listening)


def _named(bundle: str | None, models: list[str]) -> dict[str, Path]:
    """Name -> path of what is served, in order."""
    found: dict[str, Path] = {}
    if bundle is not None:
        path = Path(bundle)
        folder = path.resolve()
        found[folder.parent.name if folder.name == "bundle" else folder.name] = path
    for each in models:
        name, equals, path_text = each.partition("=")
        if not equals or not name or not path_text:
            raise ConfigError(f"--model {each!r}: expected NAME=PATH")
        if name in found:
            raise ConfigError(f"--model {each!r}: there is a model {name!r} already", hint="give it another name")
        found[name] = Path(path_text)
    if not found:
        raise ConfigError("nothing to serve", hint="give a bundle or run folder, or --model NAME=PATH")
    return found
