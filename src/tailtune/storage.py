"""Files that are either whole or absent: atomic writes, hashes, locks; where the cache lies and how large it may be.

Knows nothing about what the files mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError, ModelError, SetupError, TailtuneError, setup_error


def cache_home() -> Path:
    """Return the folder for models, data and features.

    ``TAILTUNE_HOME`` if set, else ``$XDG_CACHE_HOME/tailtune``, else ``~/.cache/tailtune``.
    """
    if home := os.environ.get("TAILTUNE_HOME"):
        return Path(home).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tailtune"


def cache_limit() -> int:
    """Return the most bytes that all stored features together may take: ``TAILTUNE_CACHE_LIMIT``, else 20 GiB.

    Raises:
        ConfigError: If the variable holds no size.
    """
    given = os.environ.get("TAILTUNE_CACHE_LIMIT", "").strip()
    return parse_bytes(given, "TAILTUNE_CACHE_LIMIT") if given else 20 * 2**30


def parse_bytes(text: str, name: str) -> int:
    """Return the bytes that a size such as 500MB, 1.5 GiB or 4096 means; case does not matter.

    Args:
        text: The size; without a unit it counts bytes.
        name: Of the setting, said in the error.

    Raises:
        ConfigError: If it is no size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]i?)?b?", text.strip().casefold())
    if found is None:
        raise ConfigError(f"{name} {text!r} is no size", hint="write it as 5GB, 500MB or 2GiB")
    prefix = found.group(2) or ""
    step = 1024 if prefix.endswith("i") else 1000
    return int(float(found.group(1)) * step ** " kmgt".find(prefix[:1] or " "))


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below ``folder``; what vanishes while it is looked at counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def publish(temporary: Path, path: Path) -> None:
    """Give the whole file ``temporary`` its final name ``path`` beside it, durably."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_dir(path.parent)


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys, two-space indent and a final newline; NaN is refused."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def fsync_dir(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` durably, on any failure it is gone.

    Raises:
        SetupError: If the disk has no room or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise setup_error(error, f"writing {path}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        publish(temporary, path)
    except OSError as error:
        raise setup_error(error, f"writing {path}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside ``path``; on success it becomes ``path``, on any failure it is gone.

    Raises:
        SetupError: If the disk has no room, the parent cannot be written, or ``path`` already holds something.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise setup_error(error, f"writing {path}") from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
                file.chmod(0o644)
        temporary.chmod(0o755)
        temporary.rename(path)
        fsync_dir(path.parent)
    except OSError as error:
        raise setup_error(error, f"writing {path}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all.

    Raises:
        SetupError: If it cannot be written.
    """
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as canonical JSON to ``path``, whole or not at all.

    Raises:
        SetupError: If it cannot be written.
    """
    write_text(path, canonical_json(value))


def append_line(path: Path, line: str) -> None:
    """Add one line to the end of ``path`` (created when missing), durably; a torn last line is ended first.

    Raises:
        SetupError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fsync_dir(path.parent)
    except OSError as error:
        raise setup_error(error, f"writing {path}") from error


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (created when missing) against other processes.

    Args:
        path: The lock file.
        wait: Until another process lets go of it.

    Raises:
        BlockingIOError: If another process holds it and ``wait`` is false.
        SetupError: If the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise setup_error(error, f"locking {path}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def require_room(folder: Path, needed: int, doing: str) -> None:
    """Refuse to start when the disk of ``folder`` has fewer than ``needed`` bytes free.

    Raises:
        SetupError: If there is not enough room; it names both sizes.
    """
    existing = next(part for part in (folder, *folder.parents) if part.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise SetupError(
            f"no room on the disk while {doing} {folder}: {needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free",
            hint="free some space, or set TAILTUNE_HOME or --out elsewhere",
        )


def read_toml(path: Path, *, said: str | None = None, hint: str) -> dict[str, Any]:
    """Return what the TOML file ``path`` holds.

    Args:
        path: The file.
        said: What it is called in errors; default: its path.
        hint: How its lines read, for errors.

    Raises:
        ConfigError: If it cannot be read, or is no TOML.
    """
    import tomllib

    where = said or path
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: broken TOML: {error}", hint=hint) from error


def read_json(path: Path, error: type[TailtuneError] = ModelError) -> dict[str, Any]:
    """Return the JSON object in ``path``.

    Raises:
        TailtuneError: Of the given class, if the file cannot be read or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise error(f"{path}: no such file") from missing
    except OSError as unreadable:
        raise error(f"{path}: cannot be read: {unreadable.strerror}") from unreadable
    except (ValueError, RecursionError) as broken:
        raise error(f"{path}: not valid JSON: {broken}") from broken
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value
