"""Unlabelled texts from a file of any form: tables, JSON, exports of labelling tools, or one plain text per line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailtune.data.read import TextRows
    from tailtune.progress import Progress

_PLAIN = {".txt", ".text", ""}


def read_unlabelled(path: Path, text_column: str | None, progress: Progress) -> TextRows:
    """Return the texts of a file; labels that are there are not read.

    A file called .txt, or without an extension, is one text per line unless it is a table, JSON or "label TAB text".

    Raises:
        DataError: If it is missing, empty, broken or has no clear text column; with the line.
        SetupError: If the operating system does not let it be read.
    """
    from tailtune.cli.lines import records
    from tailtune.data.decode import require_file
    from tailtune.data.read import TextRows, read_texts

    require_file(path)
    if text_column is not None or path.suffix.casefold() not in _PLAIN or not _is_lines(path):
        return read_texts(path, text_column=text_column, progress=progress)
    with path.open("rb") as stream:
        found = [record for chunk in records(stream, str(path), None, full=True) for record in chunk]
    return TextRows(texts=tuple(record.text for record in found), lines=tuple(record.line for record in found))


def _is_lines(path: Path) -> bool:
    from tailtune.data.columns import Wanted, is_known_name
    from tailtune.data.decode import read_text
    from tailtune.data.read import recognise

    text = read_text(path).text
    header = re.split(r"[,;\t]", text.split("\n", 1)[0])
    return recognise(path, text, Wanted(labelled=False)) == "delimited" and not any(map(is_known_name, header))
