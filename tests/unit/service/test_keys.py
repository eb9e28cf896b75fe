"""Keys: what a file of them may hold, how a request brings one, what is kept."""

from __future__ import annotations

import base64
import logging
import re
from pathlib import Path

import pytest

from tailtune.errors import ConfigError
from tailtune.service.keys import Keys, challenge

FIRST, SECOND = "k3y-of-the-first-0123456789", "k3y-of-the-second-987654321"


def write(path: Path, content: str | bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(write(tmp_path / "keys", f"\ufeff# who may ask\n\n  app: {FIRST}  \r\n{SECOND}\n"))


def test_ways_to_bring_a_key(keys: Keys) -> None:
    """As Bearer, as a header of its own, as the password of Basic; in any of them a good one is enough."""
    basic = base64.b64encode(f"any:one:{FIRST}".encode())
    assert keys.holder({b"authorization": b"Bearer " + FIRST.encode()}) == "app"
    assert keys.holder({b"authorization": b"bearer  " + SECOND.encode()}) == ""
    assert keys.holder({b"x-api-key": FIRST.encode()}) == "app"
    assert keys.holder({b"authorization": b"Basic " + basic}) is None  # the password is "one:" and the key
    password = base64.b64encode(f"me:{FIRST}".encode())
    assert keys.holder({b"authorization": b"Basic " + password}) == "app"
    assert keys.holder({b"authorization": b"Bearer of another service", b"x-api-key": SECOND.encode()}) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": FIRST.encode()},
        {b"authorization": b"Digest " + FIRST.encode()},
        {b"authorization": b"Bearer " + FIRST[:-1].encode()},
        {b"authorization": b"Bearer " + FIRST.upper().encode()},
        {b"authorization": b"Bearer " + FIRST.encode() + b" " + SECOND.encode()},
        {b"authorization": b"Basic " + FIRST.encode()},
        {b"authorization": b"Basic \xff\xfe"},
        {b"authorization": b"Basic " + base64.b64encode(FIRST.encode())},
        {b"authorization": b"Basic " + base64.b64encode(f"{FIRST}:".encode())},
        {b"x-api-key": b""},
        {b"x-api-key": b"app"},
        {b"x-api-key": b"# who may ask"},
        {b"cookie": b"key=" + FIRST.encode()},
    ],
)
def test_no_key(keys: Keys, headers: dict[bytes, bytes]) -> None:
    """A part, another spelling, another place, the name, or nothing."""
    assert keys.holder(headers) is None


def test_no_key_of_many(keys: Keys) -> None:
    """None that is only alike, in whatever part of its digest."""
    assert not [number for number in range(5000) if keys.holder({b"x-api-key": b"%d" % number}) is not None]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no key"),
        ("# nothing\n\n", "holds no key"),
        ("good: " + FIRST + "\nshort: 123456789012345\n", ":2: a key of 15 characters: at least 16"),
        ("two words of twenty letters", ":1: expected a key without spaces"),
        ("ключ-длиннее-шестнадцати", ":1: expected a key without spaces"),
        (b"\xff\xfe\x00\x01", "is no text"),
        ("a" * 1_000_001, "no list of keys"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str | bytes, said: str) -> None:
    """With the line, and never with what stands there."""
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        Keys(write(tmp_path / "keys", content))
    assert "123456789012345" not in str(refused.value)
    assert refused.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """One line says which."""
    with pytest.raises(ConfigError, match="none: No such file"):
        Keys(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        Keys(tmp_path)


def test_a_file_that_others_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Gets a warning, one of our own none."""
    path = write(tmp_path / "keys", FIRST)
    Keys(path)
    assert caplog.records == []
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        Keys(path)
    assert "every user of this machine can read these keys" in caplog.text
    assert FIRST not in caplog.text


def test_reading_again(tmp_path: Path) -> None:
    """New keys count from then on; where the file is no good any more, those before stay."""
    path = write(tmp_path / "keys", FIRST)
    keys = Keys(path)
    write(path, SECOND)
    assert keys.holder({b"x-api-key": SECOND.encode()}) is None
    keys.reload()
    assert keys.holder({b"x-api-key": SECOND.encode()}) == ""
    assert keys.holder({b"x-api-key": FIRST.encode()}) is None
    write(path, "")
    with pytest.raises(ConfigError):
        keys.reload()
    assert keys.holder({b"x-api-key": SECOND.encode()}) == ""


def test_only_digests_are_kept(keys: Keys) -> None:
    """Who reads the memory of the keys finds none."""
    assert FIRST not in repr(vars(keys))
    assert SECOND not in repr(vars(keys))


def test_what_a_browser_is_asked(keys: Keys) -> None:
    """Browsers that open a page ask their user, programs are told to bring one."""
    assert challenge({b"accept": b"text/html,application/xhtml+xml"}).startswith('Basic realm="tailtune"')
    assert challenge({b"accept": b"*/*"}) == "Bearer"
    assert challenge({}) == "Bearer"
