"""Bytes of a file become text, or one clear refusal with its line. Knows nothing about columns or labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tailtune.data.dataset import Finding
from tailtune.errors import DataError, setup_error
from tailtune.storage import sha256_bytes

UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# Forms people hand over by mistake, by their first bytes; without this they would be refused as "NUL byte in line 1".
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx)",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceText:
    """The whole text of a file.

    Attributes:
        text: Decoded, byte order mark removed.
        sha256: Hash of the file's bytes.
        findings: What decoding had to say.
    """

    text: str
    sha256: str
    findings: tuple[Finding, ...]


def require_file(path: Path) -> None:
    """Refuse what is not a file with something in it.

    Raises:
        DataError: If ``path`` is missing, a folder, or empty.
        SetupError: If the operating system refuses to say.
    """
    try:
        if not path.exists():
            raise DataError("no such file", path=path, hint="check the name and the folder you are in")
        if path.is_dir():
            raise DataError(
                "is a folder, not a file", path=path, hint="name the file with the labelled texts inside it"
            )
        if path.is_file() and path.stat().st_size == 0:
            raise DataError("the file is empty", path=path, hint="a header line and labelled rows are needed")
    except OSError as error:
        raise setup_error(error, f"reading {path}") from error


def read_bytes(path: Path) -> bytes:
    """Return the bytes of ``path``.

    Raises:
        DataError: If it is missing, a folder, or empty.
        SetupError: If it cannot be read.
    """
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise setup_error(error, f"reading {path}") from error


def read_text(path: Path) -> SourceText:
    """Return the text of ``path``, checked and decoded.

    Raises:
        DataError: If it is missing, a folder, empty, of a foreign form, holds a NUL byte or is not UTF-8 (with line).
        SetupError: If it cannot be read.
    """
    data = read_bytes(path)
    for magic, what in _FOREIGN.items():
        if data.startswith(magic):
            raise DataError(f"this is {what}", path=path, hint="unpack it, or save it as CSV in UTF-8")
    findings: tuple[Finding, ...] = ()
    if data.startswith(UTF8_BOM):
        findings = (Finding(kind="byte_order_mark", message="a UTF-8 byte order mark at the start was removed"),)
    text = decode(data, path)
    if not text.strip():
        raise DataError("the file is empty: nothing but white space", path=path)
    return SourceText(text=text, sha256=sha256_bytes(data), findings=findings)


def decode(data: bytes, path: Path | str, *, first_line: int = 1) -> str:
    """Return ``data`` as text without a byte order mark at the file's start.

    Args:
        data: UTF-8 bytes, whole lines.
        path: The file, for messages.
        first_line: 1-based line number of the first line in ``data``.

    Raises:
        DataError: If there is a UTF-16 byte order mark, a NUL byte or broken UTF-8; with the line.
    """
    if first_line == 1 and data.startswith(_UTF16_BOMS):
        raise DataError(
            "the file is UTF-16, not UTF-8",
            path=path,
            line=1,
            hint="save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8 FILE > NEW",
        )
    if (at := data.find(b"\0")) >= 0:
        line, column = _position(data, at, first_line)
        raise DataError(
            f"NUL byte (byte {column} of the line)", path=path, line=line, hint="the file is binary or damaged"
        )
    try:
        return data.removeprefix(UTF8_BOM).decode() if first_line == 1 else data.decode()
    except UnicodeDecodeError as error:
        at = error.start + (len(UTF8_BOM) if first_line == 1 and data.startswith(UTF8_BOM) else 0)
        line, column = _position(data, at, first_line)
        raise DataError(
            f"broken UTF-8: byte 0x{data[at]:02x} (byte {column} of the line)",
            path=path,
            line=line,
            hint="save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
        ) from error


def _position(data: bytes, at: int, first_line: int) -> tuple[int, int]:
    return first_line + data.count(b"\n", 0, at), at - data.rfind(b"\n", 0, at)
