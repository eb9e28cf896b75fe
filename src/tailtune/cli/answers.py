"""Answers on their way to a file: appended by chunk beside the final name, renamed when whole, resumed after a kill.

Each line is a JSON object with the input's ``line`` and, where it had one, its ``id``. Knows nothing about classifiers.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tailtune.cli.lines import Record
from tailtune.errors import ConfigError, DataError
from tailtune.storage import publish


class Answers:
    """The file ``out`` while it is written as ``out``.part; use as a context manager.

    A chunk is kept only whole: where its answers were cut, all of them are written again, from the same batch of texts
    as without the interruption and so to the same bytes.

    Args:
        out: The final name.
        resume: Go on with what an earlier process left in the part.

    Attributes:
        kept: Answers of the earlier process that were found in place.

    Raises:
        ConfigError: If ``out`` is there, a part is there without ``resume``, or another process writes it.
        SetupError: If it cannot be written.
    """

    def __init__(self, out: Path, *, resume: bool) -> None:
        self._out = out
        self._part = out.with_name(f"{out.name}.part")
        self.kept = 0
        if out.exists():
            raise ConfigError(f"--out {out}: is there already", hint="name another file; no answers are overwritten")
        if self._part.exists() and not resume:
            raise ConfigError(
                f"--out {out}: {self._part} of an earlier call is there",
                hint="go on with it: --resume; or remove it, or name another file",
            )
        self._file: BinaryIO = self._part.open("r+b" if self._part.exists() else "x+b")
        self._start = 0
        self._exhausted = False

    def __enter__(self) -> Answers:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ConfigError(f"--out {self._out}: another process is writing {self._part}") from None
        return self

    def __exit__(self, *_: object) -> None:
        empty = not self._file.seek(0, 2)
        if empty and self._part.exists():
            self._part.unlink()
        self._file.close()

    def held(self, chunk: Sequence[Record]) -> list[dict[str, Any]]:
        """Return the answers to the first texts of ``chunk`` that an earlier process left; to be called in order.

        Raises:
            DataError: If what it left is no answer to these texts: it was given another input.
        """
        self._start = self._file.tell()
        found: list[dict[str, Any]] = []
        while not self._exhausted and len(found) < len(chunk):
            answer = self._next()
            if answer is None:
                self._exhausted = True
                break
            self._require_same(answer, chunk[len(found)])
            found.append(answer)
            self.kept += 1
        return found

    def _next(self) -> dict[str, Any] | None:
        """The next whole line of the part; None where it ends or is cut."""
        line = self._file.readline()
        if not line.endswith(b"\n"):
            return None
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not {"line", "probabilities"} <= answer.keys():
            raise DataError("not an answer", path=self._part, line=self.kept + 1, hint="remove the file, start again")
        return answer

    def _require_same(self, answer: dict[str, Any], record: Record) -> None:
        if answer["line"] != record.line or answer.get("id") != record.kept.get("id"):
            raise DataError(
                f"answers line {answer['line']} (id {answer.get('id')!r}), "
                f"but the input has line {record.line} (id {record.kept.get('id')!r}) there",
                path=self._part,
                hint="resume with the same input, or remove the file",
            )

    def write(self, lines: Sequence[str]) -> None:
        """Append the answers to the whole chunk last given to ``held``, in place of those it was cut in."""
        self._file.seek(self._start)
        self._file.truncate()
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()

    def publish(self) -> None:
        """Give the file its final name.

        Raises:
            DataError: If an earlier process answered more texts than the input has.
        """
        end = self._file.tell()
        if self._next() is not None:
            raise DataError(
                f"holds more answers than the input has texts ({self.kept})",
                path=self._part,
                hint="resume with the same input, or remove the file",
            )
        self._file.truncate(end)
        self._file.flush()
        publish(self._part, self._out)
