"""The command line: parse, call one library function, show. Results go to stdout, everything else to stderr.

Imports only what ``--help`` needs; each command imports its library function when it runs. Exit codes are those of
tailtune.errors, 130 after Ctrl-C and 141 when the reader of stdout went away.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from tailtune import __version__
from tailtune.cli import (
    bench,
    cache,
    compare,
    experiments,
    label,
    ledger,
    models,
    predict,
    serve,
    suggest,
    sweep,
    train,
    zero_shot,
)
from tailtune.cli import data as data
from tailtune.cli import evaluate as evaluate
from tailtune.cli import import_ as import_
from tailtune.cli import inspect as inspect
from tailtune.cli import try_ as try_
from tailtune.cli.screen import show_error
from tailtune.errors import ConfigError, SetupError, TailtuneError, setup_error

__all__ = ["app", "main"]

# Click's root of usage errors: Typer re-exports only this child, and newer versions carry their own copy of Click.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])

app = typer.Typer(
    name="tailtune",
    help="Turn labelled texts into a classifier with trustworthy probabilities.",
    epilog="Start with: tailtune train messages.csv",
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tailtune {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Hold the options that come before any command."""


train.register(app)
sweep.register(app)
predict.register(app)
try_.register(app)
serve.register(app)
zero_shot.register(app)
evaluate.register(app)
compare.register(app)
suggest.register(app)
label.register(app)
data.register(app)
models.register(app)
import_.register(app)
inspect.register(app)
cache.register(app)
ledger.register(app)
bench.register(app)
experiments.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code after running one command line; what went wrong is one line on stderr, never a traceback.

    Args:
        arguments: Without the program's name; default: those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given or ["--help"])
    except typer.Exit as leaving:
        return leaving.exit_code
    except BrokenPipeError:
        # Python flushes stdout once more on its way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except (KeyboardInterrupt, typer.Abort):
        show_error("interrupted")
        return 130
    except MemoryError:
        show_error("not enough memory", "try fewer or shorter texts (--max-tokens), or a smaller --model")
        return SetupError.exit_code
    except (TailtuneError, _UsageError, OSError) as error:
        refusal = _as_tailtune_error(error, f"running tailtune {' '.join(given[:1])}".rstrip())
        show_error(refusal.message, refusal.hint)
        return refusal.exit_code


def _run(arguments: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a sign gets its escape, not a crash
            stream.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(app)
    try:
        with command.make_context("tailtune", arguments, obj=shlex.join(["tailtune", *arguments])) as context:
            command.invoke(context)
    finally:
        sys.stdout.flush()
    return 0


def _as_tailtune_error(error: TailtuneError | typer.BadParameter | OSError, doing: str) -> TailtuneError:
    if isinstance(error, TailtuneError):
        return error
    if isinstance(error, OSError):
        return setup_error(error, doing)
    message = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "tailtune"
    return ConfigError(message[:1].lower() + message[1:], hint=f"`{path} --help` shows what is accepted")
