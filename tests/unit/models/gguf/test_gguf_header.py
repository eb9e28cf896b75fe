"""A damaged or hostile GGUF header is refused at once; the package's reader would loop as often as the file says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tailtune.errors import ModelError
from tailtune.models.gguf.header import require_sane_header

_UINT32, _STRING, _ARRAY = 4, 8, 9


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _header(*, tensors: int = 0, fields: int = 0, body: bytes = b"", version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, fields) + body


def _array(kind: int, count: int, values: bytes = b"") -> bytes:
    return _string(b"key") + struct.pack("<IIQ", _ARRAY, kind, count) + values


def _tensor(*sizes: int, offset: int = 0) -> bytes:
    return _string(b"t") + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, 0, offset)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (_header(magic=b"PK\x03\x04"), "not a GGUF file"),
        (_header(version=9), "GGUF version 9; supported: 2, 3"),
        (_header(version=3 << 16), "GGUF version"),
        (b"GGUF\x03\x00", "cut short"),
        (_header(fields=2**60), "fields do not fit"),
        (_header(tensors=2**60), "tensors do not fit"),
        (_header(fields=1, body=_array(_UINT32, 2**60)), "values do not fit"),
        (_header(fields=1, body=_array(_STRING, 2**60)), "strings do not fit"),
        (_header(fields=1, body=_array(_ARRAY, 1, bytes(16))), "arrays of kind 9"),
        (_header(fields=1, body=struct.pack("<Q", 2**63) + bytes(8)), "cut short"),
        (_header(fields=1, body=_string(b"key") + struct.pack("<I", 77)), "unknown kind of field 77"),
        (_header(tensors=1, body=_tensor(2**40, 2**40)), "weights at 0"),
        (_header(tensors=1, body=_tensor(4, offset=2**50)), f"weights at {2**50}"),
        (_header(tensors=1, body=_tensor(*[1] * 9)), "9 dimensions"),
    ],
)
def test_refuses_what_does_not_fit_the_file(tmp_path: Path, data: bytes, said: str) -> None:
    """Every count, length, size and offset beyond the file is one line that names the file."""
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.gguf: ") as caught:
        require_sane_header(path)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_missing_file_is_said(tmp_path: Path) -> None:
    """A path with no file is a ModelError, not an operating system error."""
    with pytest.raises(ModelError, match="no such file"):
        require_sane_header(tmp_path / "absent.gguf")


def test_a_whole_header_passes_and_every_prefix_of_it_is_refused(tmp_path: Path) -> None:
    """Cutting at any byte of the header is noticed."""
    body = _array(_STRING, 2, _string(b"one") + _string(b"two")) + _tensor(2, 2)
    whole = _header(fields=1, tensors=1, body=body)
    path = tmp_path / "model.gguf"
    path.write_bytes(whole + bytes(32))
    require_sane_header(path)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            require_sane_header(path)
