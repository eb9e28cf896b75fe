"""What ``tailtune serve`` may be told: each field is a flag and an environment variable, TAILTUNE_SERVE_<NAME>."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tailtune.errors import ConfigError
from tailtune.service.limits import Limits
from tailtune.settings import parse_seconds
from tailtune.storage import parse_bytes

_PREFIX = "TAILTUNE_SERVE_"
_WHERE, _WHO, _LIMITS, _LIFE = "Where and what", "Who may ask", "Limits", "Start, new versions and end"
_DEFAULT = Limits()


def _option(panel: str, about: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=about, rich_help_panel=panel, **more)


def _switch(panel: str, flag: str, about: str) -> Any:
    return typer.Option(flag, help=about, rich_help_panel=panel)


def _count(about: str) -> Any:
    return _option(_LIMITS, about, "N", min=1)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options as they were given; the panels of the help are the groups."""

    bundle: Annotated[
        str | None, typer.Argument(metavar="BUNDLE", help="Bundle or run folder; its name is that of the folder.")
    ] = None

    model: Annotated[
        list[str] | None, _option(_WHERE, "A further classifier under a name; as often as wanted.", "NAME=PATH")
    ] = None
    host: Annotated[str, _option(_WHERE, "Where to listen.", "ADDRESS")] = "127.0.0.1"
    port: Annotated[int, _option(_WHERE, "0 for any that is free.", min=0, max=65535)] = 8000
    device: Annotated[str, _option(_WHERE, "Where to compute.", "auto|cpu|cuda|mps")] = "auto"
    workers: Annotated[
        int | None,
        _option(_WHERE, "Batches computed at once, one thread each; default: one per core, one on a GPU.", min=1),
    ] = None
    log: Annotated[
        str | None, _option(_WHERE, "Lines on stderr; default: text on a terminal, else json.", "json|text|off")
    ] = None
    quiet: Annotated[bool, _switch(_WHERE, "--quiet", "No notes.")] = False

    api_key_file: Annotated[
        Path | None, _option(_WHO, "Keys, one a line, one of which every request needs but those for health.", "FILE")
    ] = None
    allow_anyone: Annotated[bool, _switch(_WHO, "--allow-anyone", "Listen beyond this machine without keys.")] = False
    allow_host: Annotated[
        list[str] | None, _option(_WHO, "A name that requests may call this service by; may be repeated.", "NAME")
    ] = None
    allow_origin: Annotated[
        list[str] | None,
        _option(_WHO, "A site whose pages may ask, such as https://a.org; may be repeated.", "ORIGIN"),
    ] = None
    log_texts: Annotated[bool, _switch(_WHO, "--log-texts", "Let the log hold what requests say; never else.")] = False

    body_bytes: Annotated[str, _option(_LIMITS, "Of a request's body.", "SIZE")] = "2MB"
    texts: Annotated[int, _count("Of one request.")] = _DEFAULT.texts
    characters: Annotated[int, _count("Of one text.")] = _DEFAULT.characters
    tokens: Annotated[int, _count("That the classifier reads for one request.")] = _DEFAULT.tokens
    requests: Annotated[int, _count("Inside at once; further ones are told to come back.")] = _DEFAULT.requests
    waiting_tokens: Annotated[
        int | None, _count("Inside at once, waiting or being read; default 16384, and 262144 where a GPU computes.")
    ] = None
    batch_tokens: Annotated[
        int | None, _count("Read together by one worker; default 1024, and 16384 where a GPU computes.")
    ] = None
    seconds: Annotated[str, _option(_LIMITS, "Until a request has its answer.", "TIME")] = "30s"

    self_test: Annotated[
        bool, _switch(_LIFE, "--self-test", "Verify what would be served, try it on its golden texts, and leave.")
    ] = False
    watch: Annotated[
        str | None,
        _option(_LIFE, "Look so often whether a path leads to a new version; SIGHUP has it loaded at once.", "TIME"),
    ] = None
    drain_delay: Annotated[
        str | None, _option(_LIFE, "Told to stop, accept new connections for so long: until all know of it.", "TIME")
    ] = None
    drain_seconds: Annotated[
        str, _option(_LIFE, "Most that requests inside are waited for when told to stop.", "TIME")
    ] = "30s"

    def watch_seconds(self) -> float | None:
        """Return the seconds between looks for new versions; None for none.

        Raises:
            ConfigError: If it is no time.
        """
        return None if self.watch is None else parse_seconds(self.watch, "--watch")

    def drain(self) -> dict[str, float]:
        """Return how the service ends, in seconds: the arguments of ``run.serve``.

        Raises:
            ConfigError: If one is no time.
        """
        delay = 0.0 if self.drain_delay is None else parse_seconds(self.drain_delay, "--drain-delay")
        return {"drain_delay": delay, "drain_seconds": parse_seconds(self.drain_seconds, "--drain-seconds")}

    def limits(self, device: str) -> Limits:
        """Return the limits.

        Args:
            device: That computes: "cpu", "cuda" or "mps".

        Raises:
            ConfigError: If one is no size, no time, or does not fit another.
        """
        counts = {name: getattr(self, name) for name in _COUNTS}
        body_bytes = parse_bytes(self.body_bytes, "--body-bytes")
        return Limits.of(device, body_bytes=body_bytes, seconds=parse_seconds(self.seconds, "--seconds"), **counts)

    def style(self, *, terminal: bool) -> Literal["json", "text", "off"]:
        """Return how the log is written; where notes are not wanted, not at all unless it is asked for.

        Args:
            terminal: Whether it goes to one.

        Raises:
            ConfigError: If there is no such style.
        """
        match self.log or ("off" if self.quiet else "text" if terminal else "json"):
            case "json" | "text" | "off" as style:
                return style
            case other:
                raise ConfigError(f"--log {other!r}: expected json, text or off")

    def paths(self) -> dict[str, Path]:
        """Return name -> path of what is served, in order.

        Raises:
            ConfigError: If nothing is, or two under one name.
        """
        found: dict[str, Path] = {}
        if self.bundle is not None:
            path = Path(self.bundle)
            folder = path.resolve()
            found[folder.parent.name if folder.name == "bundle" else folder.name] = path
        for each in self.model or ():
            name, equals, path_text = each.partition("=")
            if not equals or not name or not path_text:
                raise ConfigError(f"--model {each!r}: expected NAME=PATH")
            if name in found:
                raise ConfigError(f"--model {each!r}: there is a model {name!r} already", hint="give it another name")
            found[name] = Path(path_text)
        if not found:
            raise ConfigError("nothing to serve", hint="give a bundle or run folder, or --model NAME=PATH")
        return found


_COUNTS = ("texts", "characters", "tokens", "requests", "waiting_tokens", "batch_tokens")


def parameters() -> list[inspect.Parameter]:
    """Return one parameter of the command per option."""
    hints: Mapping[str, Any] = typing.get_type_hints(ServeOptions, include_extras=True)
    found = []
    for field in dataclasses.fields(ServeOptions):
        (info,) = hints[field.name].__metadata__
        info.envvar, info.show_envvar = _PREFIX + field.name.upper(), False
        kind = inspect.Parameter.KEYWORD_ONLY
        found.append(inspect.Parameter(field.name, kind, annotation=hints[field.name], default=field.default))
    return found
