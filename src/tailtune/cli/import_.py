"""``tailtune import``: a classifier that was fine-tuned elsewhere as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tailtune.cli.screen import Screen
from tailtune.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("import")(_import)


def _import(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="State dict of the book's GPTModel classifier: .pth or .safetensors.")
    ],
    labels: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Names of the classes, in the order of the head's rows.")
    ],
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of the bundle (default: runs/<name>-<time>).")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the model (default: that of the file).")] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="tokenizer.json, or encoder.json and vocab.bpe, or vocab.json and merges.txt (default: GPT-2's).",
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(metavar="N", help="Attention heads, for a width that GPT-2 does not have.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens that are read (default: the model's context).")
    ] = None,
    pad_to: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Cut and pad every text to N tokens and read the last, as the book's function does: 120."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")] = False,
) -> None:
    """Make a bundle of the book's fine-tuned classifier (review_classifier.pth) and print its folder."""
    names = [each.strip() for each in labels.split(",")]
    if not all(names):
        raise ConfigError(f"--labels {labels!r}: expected names with a comma between them, such as 'not spam,spam'")
    from tailtune.importing import Reading, import_classifier

    with Screen(quiet=quiet) as screen:
        folder = import_classifier(
            file,
            names,
            reading=Reading(tokenizer=tokenizer, heads=heads, max_tokens=max_tokens, pad_to=pad_to),
            name=name,
            out=out,
            progress=screen.progress,
            say=screen.say,
        )
    from tailtune.cli import show

    if as_json:
        show.json_line({"bundle": str(folder), "labels": names, "padded_to": pad_to})
    else:
        show.line(str(folder))
