"""``tailtune predict``: every category with its probability, for texts given, piped in or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError

if TYPE_CHECKING:
    from tailtune.cli.lines import ByteStream, Record
    from tailtune.predict import Prediction

_TABLES = {".csv", ".tsv", ".tab", ".parquet", ".pq"}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("predict")(_predict)


def _predict(
    *,
    classifier: Annotated[str, typer.Argument(metavar="BUNDLE_OR_RUN", help="Folder made by train.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; - reads lines or JSONL from stdin.")
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts: CSV, TSV, Parquet, JSONL, lines.")] = None,
    text_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column or JSON key with the texts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per text, without the text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Show the probability of every category for each text."""
    if (file is None) == (not texts):
        raise ConfigError("expected texts or --file, one of the two", hint="a single - reads the texts from stdin")
    from tailtune.predict import Predictor

    with Screen(quiet=quiet) as screen:
        predictor = Predictor.load(classifier)
        done = 0
        for chunk in _chunks(texts or [], file, text_column):
            # On a terminal the answers themselves show how far it is; a bar would run through them.
            if not sys.stdout.isatty():
                screen.progress("predicting", done, 0, "texts")
            _show(chunk, predictor.predict([record.text for record in chunk]), as_json=as_json)
            done += len(chunk)


def _show(chunk: Sequence[Record], predictions: Sequence[Prediction], *, as_json: bool) -> None:
    from tailtune.cli import show

    for record, prediction in zip(chunk, predictions, strict=True):
        if as_json:
            answer = {
                "line": record.line,
                **record.kept,
                "label": prediction.label,
                "probabilities": dict(prediction.probabilities),
                "confidence": prediction.confidence,
                "tokens": prediction.tokens,
                "truncated": prediction.truncated,
            }
            show.json_line(answer)
        else:
            show.prediction(record.text, prediction.probabilities, truncated=prediction.truncated)
    sys.stdout.flush()


def _chunks(texts: Sequence[str], file: Path | None, text_column: str | None) -> Iterator[list[Record]]:
    """Yield the records asked for, in order, in chunks small enough to answer one by one."""
    from tailtune.cli.lines import Record, records, require_text

    if file is not None:
        yield from _from_file(file, text_column)
    elif list(texts) == ["-"]:
        yield from records(cast("ByteStream", sys.stdin.buffer), "stdin", text_column)
    else:
        yield [Record(line=line, text=require_text(text, f"text {line}")) for line, text in enumerate(texts, start=1)]


def _from_file(file: Path, text_column: str | None) -> Iterator[list[Record]]:
    from tailtune.cli.lines import CHUNK_LINES, Record, records
    from tailtune.data.decode import require_file

    require_file(file)
    if file.suffix.casefold() not in _TABLES:
        with file.open("rb") as stream:
            yield from records(stream, str(file), text_column)
        return
    from tailtune.data.read import read_texts

    table = read_texts(file, text_column=text_column)
    rows = [Record(line=line, text=text) for line, text in zip(table.lines, table.texts, strict=True)]
    for start in range(0, len(rows), CHUNK_LINES):
        yield rows[start : start + CHUNK_LINES]
