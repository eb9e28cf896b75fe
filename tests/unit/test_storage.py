"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tailtune.errors import ConfigError, SetupError
from tailtune.storage import (
    cache_home,
    cache_limit,
    canonical_json,
    folder_bytes,
    locked,
    parse_bytes,
    require_room,
    sha256_bytes,
    sha256_file,
    write_json,
    write_text,
    writing,
    writing_folder,
)


def test_cache_home_prefers_tailtune_home_then_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The documented order; an empty variable is none."""
    monkeypatch.setenv("TAILTUNE_HOME", str(tmp_path / "own"))
    assert cache_home() == tmp_path / "own"
    monkeypatch.setenv("TAILTUNE_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_home() == tmp_path / "xdg" / "tailtune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / ".cache" / "tailtune"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("0", 0),
        ("500MB", 500_000_000),
        ("5 gb", 5_000_000_000),
        ("1.5GiB", 3 * 2**29),
        ("2k", 2000),
        ("1 TB", 10**12),
        ("7b", 7),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    """Decimal and binary units in any case, with or without a space; no unit counts bytes."""
    assert parse_bytes(text, "--larger-than") == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "5 G B", "1e9", "5XB", "1.GB", "ib"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """With the name of the setting."""
    with pytest.raises(ConfigError, match=r"--larger-than .* is no size"):
        parse_bytes(text, "--larger-than")


def test_the_limit_of_the_cache_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset or empty it is 20 GiB."""
    assert cache_limit() == 20 * 2**30
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", " ")
    assert cache_limit() == 20 * 2**30
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", "500MB")
    assert cache_limit() == 500_000_000


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    """At any depth; links count as links, and what is not there counts nothing."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(b"x" * 100)
    (tmp_path / "b").write_bytes(b"x" * 11)
    assert folder_bytes(tmp_path) == 111
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    assert folder_bytes(tmp_path) == 111
    assert folder_bytes(tmp_path / "none") == 0


def test_hashes_agree(tmp_path: Path) -> None:
    """A file's hash is the hash of its bytes; the expected one is SHA-256's published value for b"abc"."""
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "f") == sha256_bytes(b"abc") == known


def test_canonical_json_does_not_depend_on_key_order() -> None:
    """Equal values give equal bytes, so that hashes of them can be compared; NaN has no JSON."""
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1}) == '{\n  "a": "é",\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    """Never a half-written file, never a temporary one left behind."""
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")

    def fail_half_way() -> None:
        with writing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


def test_written_files_are_readable_by_others(tmp_path: Path) -> None:
    """Temporary files are private; what is published is not."""
    write_json(tmp_path / "a.json", {"x": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """A run or bundle folder that exists is complete."""
    with writing_folder(tmp_path / "run") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("x")
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "inner" / "file").read_text() == "x"

    def fail_half_way() -> None:
        with writing_folder(tmp_path / "second") as temporary:
            (temporary / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert [item.name for item in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    """Someone's earlier run is never overwritten."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    with pytest.raises(SetupError, match="not empty"), writing_folder(tmp_path / "run") as temporary:
        (temporary / "file").write_text("y")
    assert [item.name for item in (tmp_path / "run").iterdir()] == ["precious"]
    assert [item.name for item in tmp_path.iterdir()] == ["run"]


def test_a_parent_that_is_a_file_is_a_setup_error(tmp_path: Path) -> None:
    """The system's refusal becomes one line that names the path."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupError, match=r"writing .*file/below"):
        write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(SetupError, match=r"writing .*file/below"), writing_folder(tmp_path / "file" / "below"):
        raise AssertionError("the folder cannot exist")


def test_a_full_disk_while_writing_is_named(tmp_path: Path) -> None:
    """A real device without room: what was there before stays."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(SetupError, match="no room on the disk"), writing(path), Path("/dev/full").open("wb") as full:
        full.write(b"x" * 10)
        full.flush()
    assert path.read_text() == "old"


def test_require_room_names_both_sizes(tmp_path: Path) -> None:
    """Refused before anything is written, also for a folder that does not exist yet."""
    with pytest.raises(SetupError, match=r"1000000000000\.0 MB needed, \d+\.\d MB free"):
        require_room(tmp_path / "not" / "yet", 10**18, "storing features in")
    require_room(tmp_path / "not" / "yet", 1, "storing features in")


_HOLDER = """
import sys, time
from pathlib import Path
from tailtune.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
    Path(sys.argv[1] + ".done").touch()
"""


def test_a_lock_keeps_other_processes_out(tmp_path: Path) -> None:
    """The second holder enters only after the first has left."""
    lock = tmp_path / "deep" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        with locked(lock):
            assert Path(f"{lock}.done").exists()
        holder.communicate()
    assert holder.returncode == 0
