"""Options that several commands have: how labelled texts are to be read."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(metavar="DATA", help="File of labelled texts or name of a public data set.")]
TextColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with the texts.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with the labels.")]
LabelSeparator = Annotated[
    str | None, typer.Option(metavar="SEPARATOR", help="Between the labels of a text that can have several.")
]
LabelColumns = Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Columns of 0 and 1, one per label.")]
