"""The file of answers: CSV with text and label, whole after every answer, to go on with later and to train on."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tailtune.data.delimited import allow_long_fields
from tailtune.errors import ConfigError, DataError, setup_error
from tailtune.storage import append_line, write_text

_HEADER = '"text","label"'
_END = b'"\n'


class AnswersFile:
    """Answers in the order in which they were given.

    Each one is on the disk before the next question. A row that a crash tore is taken off when the file is opened.

    Args:
        path: Ends in .csv; absent, or written by this class.

    Attributes:
        path: As given.
        answers: (text, label), those of earlier sittings first.

    Raises:
        ConfigError: If it is not called .csv.
        DataError: If it holds something else.
        SetupError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.casefold() != ".csv":
            raise ConfigError(f"--out {path}: the answers are CSV", hint="give it a name that ends in .csv")
        self.path = path
        self.answers: list[tuple[str, str]] = []
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise setup_error(error, f"reading {path}") from error
        if content:
            self._take_up(content)

    def _take_up(self, content: bytes) -> None:
        whole = _whole(content)
        try:
            text = whole.decode("utf-8")
            allow_long_fields(len(text))
            rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
            self.answers = [(text, label) for text, label in rows]
        except (ValueError, csv.Error) as error:  # other bytes, or other columns
            raise self._foreign() from error
        if not text.startswith(f"{_HEADER}\n"):
            raise self._foreign()
        if whole != content:
            write_text(self.path, text)

    def _foreign(self) -> DataError:
        hint = "name another file with --out"
        return DataError("is no file of answers, which starts with the line " + _HEADER, path=self.path, hint=hint)

    def add(self, text: str, label: str) -> None:
        """Write one answer.

        Raises:
            SetupError: If the disk refuses; the answer does not count then.
        """
        if not self.path.exists():
            write_text(self.path, f"{_HEADER}\n")
        append_line(self.path, _row(text, label))
        self.answers.append((text, label))

    def undo(self) -> tuple[str, str] | None:
        """Take back the last answer and return it; None where there is none.

        Raises:
            SetupError: If the disk refuses; the answer still counts then.
        """
        if not self.answers:
            return None
        rows = [_HEADER, *(_row(*answer) for answer in self.answers[:-1])]
        write_text(self.path, "".join(f"{row}\n" for row in rows))
        return self.answers.pop()


def _row(text: str, label: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow([text, label])
    return out.getvalue()


def _whole(content: bytes) -> bytes:
    """The rows that are complete: every field is quoted, so a row ends at a quote, after an even number of them."""
    end = len(content)
    while end and not (content.endswith(_END, 0, end) and content.count(b'"', 0, end) % 2 == 0):
        end = content.rfind(_END, 0, end - 1) + len(_END) if _END in content[: end - 1] else 0
    return content[:end]
