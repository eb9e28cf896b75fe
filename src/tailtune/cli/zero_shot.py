"""``tailtune zero-shot``: the probability of every label without any training, by the words a language model says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from tailtune.cli.predict import Asked, answer, chunks_of
from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("zero-shot")(_zero_shot)


def _zero_shot(
    *,
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; - reads lines or JSONL from stdin.")
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts: CSV, TSV, Parquet, JSONL, lines.")] = None,
    text_column: Annotated[str | None, typer.Option(metavar="NAME", help="Column or JSON key with the texts.")] = None,
    labels: Annotated[str | None, typer.Option(metavar="NAME,NAME", help="The labels.")] = None,
    label_words: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="What it says for each: 'spam=spam, advertising; ham=ordinary', or TOML."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Words around a text: 'Message: {text}\\nThis message is'.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Catalogue name, folder, file or hub id.")] = None,
    calibrate_prior: Annotated[
        bool, typer.Option("--calibrate-prior", help="Take off what the model says of an empty text.")
    ] = False,
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Of the blocks' products.")] = "fp32",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs.")] = "auto",
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save it as a bundle, for predict and evaluate.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per text, without the text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Show the probability of every label for each text, without any training."""
    if file is not None and texts:
        raise ConfigError("expected texts or --file, one of the two", hint="a single - reads the texts from stdin")
    if file is None and not texts and save is None:
        raise ConfigError("expected texts, --file or --save", hint="a single - reads the texts from stdin")
    names = [name.strip() for name in (labels or "").split(",") if name.strip()]
    if len(names) < 2 and label_words is None:
        raise ConfigError("expected at least two --labels, or --label-words", hint="write --labels spam,ham")
    from tailtune.text.label_words import label_words as words_of
    from tailtune.text.label_words import read_words
    from tailtune.zero_shot import zero_shot

    words = words_of(label_words, names) if names else read_words(label_words or "")
    with Screen(quiet=quiet) as screen:
        predictor = zero_shot(
            words,
            template=template,
            model=model,
            calibrate=calibrate_prior,
            precision=precision,
            device=device,
            progress=screen.progress,
            say=screen.say,
        )
        if save is not None:
            predictor.save(save)
            screen.say(f"saved in {save}")
        if texts or file is not None:
            answer(partial(chunks_of, texts or [], file, text_column), predictor, screen, Asked(), as_json=as_json)
