"""Remembered hashes: large files are read once, and again when anything about them differs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailtune.models.hashes import REMEMBERED_FROM, remembered_sha256
from tailtune.storage import sha256_bytes

# Seconds; the default is two.
SETTLED = 0.05


def notes(home: Path) -> dict[str, Any]:
    file = home / "hashes.json"
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def remembered(path: Path) -> str:
    return remembered_sha256(path, smallest=1, settled=SETTLED)


@pytest.fixture
def file(tmp_path: Path, own_home: Path) -> Path:
    """A file whose hash is remembered, as a lie that shows whether it was read again."""
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    wait_until_settled(path)
    assert remembered(path) == sha256_bytes(b"weights")
    known = notes(own_home)
    assert list(known) == [str(path.resolve())]
    known[str(path.resolve())]["sha256"] = "remembered"
    (own_home / "hashes.json").write_text(json.dumps(known))
    assert remembered(path) == "remembered"
    return path


def wait_until_settled(path: Path) -> None:
    """Hashes of files that were just changed are not remembered."""
    while path.stat().st_ctime_ns > time.time_ns() - 1e9 * SETTLED:
        time.sleep(0.02)


def rewritten(path: Path) -> None:
    path.write_bytes(b"WEIGHTS")


def rewritten_at_the_same_time(path: Path) -> None:
    """As ``touch -d`` would hide it: only the time of any change tells."""
    seen = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replaced(path: Path) -> None:
    """Another file under its name, of the same size and time."""
    seen = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.replace(path)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


@pytest.mark.parametrize("change", [rewritten, rewritten_at_the_same_time, replaced, longer])
def test_a_changed_file_is_read_again(file: Path, change: Callable[[Path], None]) -> None:
    """Whatever its size and times say."""
    change(file)
    assert remembered(file) == sha256_bytes(file.read_bytes())


def test_a_link_is_the_file_that_it_means(file: Path, tmp_path: Path) -> None:
    """As the hub's cache has it: one file under many names."""
    (tmp_path / "link").symlink_to(file)
    assert remembered(tmp_path / "link") == "remembered"


def test_fresh_and_small_files_are_not_remembered(tmp_path: Path, own_home: Path) -> None:
    """A file may change again within the tick of the clock; small ones are read faster than looked up."""
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"fresh")
    assert remembered_sha256(fresh, smallest=1) == sha256_bytes(b"fresh")
    wait_until_settled(fresh)
    assert remembered_sha256(fresh, settled=0) == sha256_bytes(b"fresh")
    assert notes(own_home) == {}
    assert REMEMBERED_FROM > 10**6


def test_files_that_are_gone_are_forgotten(file: Path, tmp_path: Path, own_home: Path) -> None:
    """The notes hold no more than there are files."""
    file.rename(tmp_path / "moved")
    wait_until_settled(tmp_path / "moved")
    assert remembered(tmp_path / "moved") == sha256_bytes(b"weights")
    assert list(notes(own_home)) == [str((tmp_path / "moved").resolve())]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b'{"%s": 3}'])
def test_damaged_notes_are_made_anew(file: Path, own_home: Path, content: bytes) -> None:
    """They save time and decide nothing."""
    (own_home / "hashes.json").write_bytes(content.replace(b"%s", str(file).encode()))
    assert remembered(file) == sha256_bytes(b"weights")
    assert list(notes(own_home)) == [str(file.resolve())]


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash is given all the same."""
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    (tmp_path / "home").write_bytes(b"a file, no folder")
    monkeypatch.setenv("TAILTUNE_HOME", str(tmp_path / "home"))
    wait_until_settled(path)
    assert remembered(path) == sha256_bytes(b"weights")
