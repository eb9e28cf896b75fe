"""``tailtune predict``: every category with its probability, for texts given, piped in or in a file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from tailtune.cli.screen import Screen, clock_text
from tailtune.errors import BundleError, ConfigError, DataError

if TYPE_CHECKING:
    from tailtune.cli.lines import ByteStream, Record
    from tailtune.explain import Highlight
    from tailtune.predict import Prediction, Predictor
    from tailtune.template import Template

    Chunks = Callable[[Template | None], Iterator[list[Record]]]

_TABLES = {".csv", ".tsv", ".tab", ".parquet", ".pq"}
# When a part is gone on with, so many of its answers are asked again, and may differ by so much: batches differ.
_ASKED_AGAIN = 4
_SAME = 1e-3


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
    reject: Annotated[
        float | None,
        typer.Option(
            "--reject-out-of-scope",
            metavar="SHARE",
            help="Mark texts unlike the training texts; at most SHARE of texts like those, such as 0.05.",
        ),
    ] = None,
    sure: Annotated[
        float | None,
        typer.Option(
            "--sure",
            metavar="SHARE",
            help="Of labels that are paths, show the finest one at least so probable, such as 0.9.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show which words the answer hangs on: each left out in turn.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="ANSWERS", help="Write the answers to --file here, as JSON lines.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with ANSWERS.part of an interrupted call.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Show the probability of every category for each text."""
    if (file is None) == (not texts):
        raise ConfigError("expected texts or --file, one of the two", hint="a single - reads the texts from stdin")
    if out is not None and file is None:
        raise ConfigError("--out needs --file", hint="answers to texts and to stdin are printed")
    if resume and out is None:
        raise ConfigError("--resume needs --out", hint="only answers in a file can be gone on with")
    if reject is not None and not 0 < reject < 1:
        raise ConfigError(f"--reject-out-of-scope: expected a share above 0, below 1, got {reject}")
    if sure is not None and not 0 < sure <= 1:
        raise ConfigError(f"--sure: expected a share above 0, at most 1, got {sure}")
    asked = Asked(reject=reject, sure=sure, explain=explain)
    chunks = partial(chunks_of, texts or [], file, text_column)
    with Screen(quiet=quiet) as screen:
        from tailtune.predict import Predictor

        if out is not None:
            to_file(chunks, partial(Predictor.load, classifier), out, screen, asked, resume=resume)
        else:
            answer(chunks, Predictor.load(classifier), screen, asked, as_json=as_json)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What every answer shall say besides.

    Attributes:
        reject: Share of texts like the training texts that may be marked as unlike them; None for no marks.
        sure: Least probability of the label of a path that is shown; None for none.
        explain: Whether to say which words the answer hangs on.
    """

    reject: float | None = None
    sure: float | None = None
    explain: bool = False

    def require(self, predictor: Predictor) -> None:
        """Refuse what the classifier cannot tell.

        Raises:
            BundleError: It says what to train it with.
        """
        if self.reject is not None and predictor.bundle.scope is None:
            message = "--reject-out-of-scope: this classifier cannot tell texts that are unlike its training texts"
            raise BundleError(message, hint="train it with --out-of-scope")
        if self.sure is not None and not predictor.bundle.labels.separator:
            raise BundleError("--sure: the labels of this classifier are no paths", hint="train it with --label-levels")


def answer(
    chunks: Chunks,
    predictor: Predictor,
    screen: Screen,
    asked: Asked,
    *,
    as_json: bool,
) -> None:
    """Print what ``predictor`` says of the texts, chunk by chunk.

    Args:
        chunks: The texts as the classifier's template makes them.
        predictor: The classifier.
        screen: Shows notes and progress.
        asked: What every answer shall say besides.
        as_json: One JSON object per text.

    Raises:
        BundleError: If something is asked for that the classifier cannot tell.
    """
    from tailtune.cli import show

    asked.require(predictor)
    _say_pads(predictor, screen)
    done = 0
    for chunk in chunks(predictor.bundle.tokenizer.template):
        # On a terminal the answers themselves show how far it is; a bar would run through them.
        if not sys.stdout.isatty():
            screen.progress("predicting", done, 0, "texts")
        for record, prediction, highlights in _answered(predictor, chunk, asked):
            if as_json:
                show.line(_json_line(record, prediction, highlights, sure=asked.sure))
            else:
                long = predictor.bundle.tokenizer.long.kind
                show.prediction(record.text, prediction, highlights, long=long, sure=asked.sure)
        sys.stdout.flush()
        done += len(chunk)


def to_file(
    chunks: Chunks,
    load: Callable[[], Predictor],
    out: Path,
    screen: Screen,
    asked: Asked,
    *,
    resume: bool = False,
    see: Callable[[Prediction], None] | None = None,
) -> None:
    """Write the answers chunk by chunk: memory does not grow with the input, and a kill loses one chunk.

    Args:
        chunks: The texts as the classifier's template makes them.
        load: Returns the classifier, once it is known that ``out`` can be written.
        out: Absent; JSON lines.
        screen: Shows notes and progress.
        asked: What every answer shall say besides.
        resume: Go on with what an interrupted call left.
        see: Called with each answer that is computed.

    Raises:
        ConfigError: If ``out`` is there, or is being written.
        DataError: If the texts cannot be read, or what is gone on with belongs to others.
        BundleError: If something is asked for that the classifier cannot tell.
    """
    from tailtune.cli.answers import Answers

    with Answers(out, resume=resume) as answers:
        predictor = load()
        asked.require(predictor)
        _say_pads(predictor, screen)
        started, done, computed = time.monotonic(), 0, 0
        for chunk in chunks(predictor.bundle.tokenizer.template):
            held = answers.held(chunk)
            if held and not done:
                _require_same_answers(predictor, chunk, held)
            done += len(chunk)
            if len(held) == len(chunk):
                continue
            if answers.kept and not computed:
                screen.say(f"{answers.kept:,} answers kept; going on at line {chunk[len(held)].line:,}")
            found = list(_answered(predictor, chunk, asked))
            answers.write([_json_line(*each, sure=asked.sure) for each in found])
            if see is not None:
                for _, prediction, _ in found:
                    see(prediction)
            computed += len(chunk)
            screen.progress("predicting", done, 0, "texts")
        answers.publish()
    seconds = time.monotonic() - started
    screen.say(
        f"{done:,} answers in {out}: {computed:,} texts in {clock_text(seconds)}, {computed / seconds:,.0f} texts/s"
    )


def _predictions(predictor: Predictor, chunk: Sequence[Record], reject: float | None = None) -> list[Prediction]:
    found = predictor.predict([record.text for record in chunk])
    if reject is None:
        return found
    return [replace(each, rejected=(each.out_of_scope or 0.0) >= 1 - reject) for each in found]


def _say_pads(predictor: Predictor, screen: Screen) -> None:
    """Texts with pads are read as nothing else here reads them, so it is said each time."""
    tokenizer = predictor.bundle.tokenizer
    if tokenizer.pad is not None:
        screen.say(f"each text is padded to {tokenizer.max_tokens} tokens, and the last one read, pad or not")


def _answered(
    predictor: Predictor, chunk: Sequence[Record], asked: Asked
) -> Iterator[tuple[Record, Prediction, Sequence[Highlight] | None]]:
    """Each record with its answer and, where wanted, the words that the answer hangs on."""
    predictions = _predictions(predictor, chunk, asked.reject)
    if not asked.explain:
        for record, prediction in zip(chunk, predictions, strict=True):
            yield record, prediction, None
        return
    from tailtune.explain import explain

    for record, prediction in zip(chunk, predictions, strict=True):
        yield record, prediction, explain(predictor, record.text, label=prediction.label)


def _require_same_answers(predictor: Predictor, chunk: Sequence[Record], held: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to go on with the answers of another classifier, or to other texts: the first few are asked again."""
    asked = chunk[: min(len(held), _ASKED_AGAIN)]
    for record, old, new in zip(asked, held, _predictions(predictor, asked), strict=False):
        before, now = old["probabilities"], new.probabilities
        # A rule that decides, or thresholds: with others the labels given would be others.
        decided = all(old.get(key) == new.as_json().get(key) for key in ("rule", "thresholds"))
        same = list(before) == list(now) and decided
        if not same or any(abs(before[label] - now[label]) > _SAME for label in now):
            raise DataError(
                f"the answer to line {record.line} in the part differs from what the classifier says now",
                hint="resume with the same classifier and input, or remove the part",
            )


def _json_line(
    record: Record, prediction: Prediction, highlights: Sequence[Highlight] | None = None, *, sure: float | None = None
) -> str:
    answer = {"line": record.line, **record.kept, **prediction.as_json()}
    if sure is not None:
        found = prediction.sure(sure)
        answer["sure"] = None if found is None else {"label": found[0], "confidence": found[1]}
    if highlights is not None:
        answer["highlights"] = [each.as_json() for each in highlights]
    return json.dumps(answer, ensure_ascii=False, allow_nan=False)


def chunks_of(
    texts: Sequence[str], file: Path | None, text_column: str | None, template: Template | None
) -> Iterator[list[Record]]:
    """Yield the records asked for, in order: those of stdin as they arrive, those of a file in full chunks.

    Args:
        texts: Given on the command line; a single - means stdin.
        file: Read instead.
        text_column: Its text column, found by its usual names when not given.
        template: Of the classifier.

    Raises:
        DataError: If they cannot be read, or are plain texts where the template has several columns.
    """
    from tailtune.cli.lines import Record, records, require_text

    if file is not None:
        yield from _from_file(file, text_column, template)
    elif list(texts) == ["-"]:
        yield from records(cast("ByteStream", sys.stdin.buffer), "stdin", text_column, template=template)
    else:
        given = [(line, require_text(text, f"text {line}")) for line, text in enumerate(texts, start=1)]
        joins = template if template is not None and template.joins else None
        yield [
            Record(line=line, text=text if joins is None else joins.of_row(text, f"text {line}"))
            for line, text in given
        ]


def _from_file(file: Path, text_column: str | None, template: Template | None) -> Iterator[list[Record]]:
    """Yield the records of a file: lines and JSON lines as a stream, tables (CSV, Parquet) after reading them whole."""
    from tailtune.cli.lines import FULL_CHUNK_LINES, Record, records
    from tailtune.data.decode import require_file

    require_file(file)
    if file.suffix.casefold() not in _TABLES:
        with file.open("rb") as stream:
            yield from records(stream, str(file), text_column, full=file.is_file(), template=template)
        return
    from tailtune.data.read import read_texts

    table = read_texts(file, text_column=text_column, template=template)
    for start in range(0, len(table.texts), FULL_CHUNK_LINES):
        part = slice(start, start + FULL_CHUNK_LINES)
        yield [Record(line=line, text=text) for line, text in zip(table.lines[part], table.texts[part], strict=True)]
