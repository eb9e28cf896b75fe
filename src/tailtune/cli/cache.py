"""``tailtune cache``: what models and features take on the disk, and making that less."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailtune.errors import ConfigError

if TYPE_CHECKING:
    from tailtune.features.cache import Stored, StoreSummary

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Models and features kept on the disk.", invoke_without_command=True)
    group.callback()(_show)
    group.command("clean")(_clean)
    app.add_typer(group, name="cache")


def _show(context: typer.Context, *, as_json: _JSON = False) -> None:
    """Show what models and features take on the disk, and the limit (TAILTUNE_CACHE_LIMIT)."""
    if context.invoked_subcommand is not None:
        return
    from tailtune.cli import show
    from tailtune.features.cache import model_names, stores
    from tailtune.models.sources.catalog import kept
    from tailtune.storage import cache_home, cache_limit

    home = cache_home()
    names = model_names(home / "models")
    found = stores(home / "features")
    held = [_described(store, names) for store in found]
    models: list[dict[str, Any]] = [{"name": model.name, "bytes": model.bytes} for model in kept()]
    limit = cache_limit()
    if as_json:
        show.as_json({"home": str(home), "limit_bytes": limit, "stores": held, "models": models})
        return
    show.line(str(home))
    if held:
        rows = [_row(store, summary.used) for store, summary in zip(held, found, strict=True)]
        show.listing(("features of", "precision", "segments", "texts", "size", "unused for"), rows)
    if models:
        show.listing(("models", "size"), [(item["name"], size_text(item["bytes"])) for item in models])
    taken = sum(store["bytes"] for store in held)
    show.line(f"features: {size_text(taken)} of at most {size_text(limit)} (TAILTUNE_CACHE_LIMIT)")


def _described(store: StoreSummary, names: dict[str, str]) -> dict[str, Any]:
    weights = str(store.fields.get("weights", ""))
    return {
        "store": store.folder.name,
        "model": store.fields.get("model") or names.get(weights),
        "weights": weights,
        "precision": store.fields.get("precision") or store.fields.get("dtype"),
        "segments": len(store.segments),
        "texts": store.texts,
        "bytes": store.bytes,
        "last_used": _moment(store.used),
        "fields": dict(store.fields),
    }


def _row(store: dict[str, Any], used: float | None) -> tuple[str, ...]:
    return (
        store["model"] or store["weights"][:12] or "unknown",
        store["precision"] or "unknown",
        f"{store['segments']:,}",
        f"{store['texts']:,}",
        size_text(store["bytes"]),
        "" if used is None else _age_text(time.time() - used),
    )


def _clean(
    *,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Features not used for so long: 12h, 30d, 8w.")
    ] = None,
    larger_than: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The longest unused features until the rest fits: 5GB, 500MB.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All features; models stay.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
    as_json: _JSON = False,
) -> None:
    """Remove stored features; without options, what exceeds the limit. They are computed again when needed."""
    from tailtune.cli import show
    from tailtune.features import cache
    from tailtune.storage import cache_home, cache_limit, parse_bytes

    root = cache_home() / "features"
    found = cache.stored(root)
    target = 0 if everything else parse_bytes(larger_than, "--larger-than") if larger_than else None
    if target is None and older_than is None:
        target = cache_limit()
    old = _unused_since(found, _moment_of(older_than)) if older_than else []
    young = [segment for segment in found if segment not in old]
    gone = [*old, *(cache.surplus(young, target) if target is not None else [])]
    if not dry_run:
        cache.remove(gone)
        cache.remove_abandoned(root)
        cache.remove_empty(root)
    freed = sum(segment.bytes for segment in gone)
    left = sum(segment.bytes for segment in found) - freed
    if as_json:
        removed = [str(segment.folder.relative_to(root)) for segment in gone]
        show.as_json({"dry_run": dry_run, "removed": removed, "freed_bytes": freed, "left_bytes": left})
    else:
        show.line(_cleaned(gone, dry_run=dry_run) + f"; {size_text(left)} of features left")


def _cleaned(gone: list[Stored], *, dry_run: bool) -> str:
    if not gone:
        return "nothing to remove"
    of = len({segment.folder.parent for segment in gone})
    what = f"{len(gone):,} segment{'s' * (len(gone) > 1)} of {of} store{'s' * (of > 1)}"
    freed = size_text(sum(segment.bytes for segment in gone))
    return f"would remove {what}, freeing {freed}" if dry_run else f"removed {what}, freed {freed}"


def _unused_since(segments: list[Stored], moment: float) -> list[Stored]:
    return [segment for segment in segments if segment.used < moment]


def _moment_of(age: str) -> float:
    """The time that lies ``age`` back, in seconds since 1970."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([hdw])", age.strip().casefold())
    if found is None:
        raise ConfigError(f"--older-than {age!r} is no age", hint="write it as 12h, 30d or 8w")
    return time.time() - float(found.group(1)) * _UNITS[found.group(2)]


def _moment(seconds: float | None) -> str | None:
    """Local time with its distance from UTC, as ISO 8601 has it."""
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _age_text(seconds: float) -> str:
    """The units are those of --older-than, and minutes."""
    for unit, length in (("d", _UNITS["d"]), ("h", _UNITS["h"])):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds) / 60:.0f} min"


def size_text(size: float) -> str:
    """Return a size in bytes as people read it, for example 21.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
