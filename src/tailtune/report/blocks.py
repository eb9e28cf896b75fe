"""What a section of the page is made of. The template knows how each is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A plot and what it says in words."""

    svg: Markup
    caption: str
    kind: str = "figure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table; the first cell of each row heads it.

    Attributes:
        caption: What it shows.
        header: One text per column.
        rows: Cells as texts.
        strong: Row that is meant above all, by its place.
        words: Columns, by their place, that hold words and not numbers.
        folded: Whether it is folded away at first.
        levels: For a matrix: the shade 0..5 of each cell, "d" before it on the diagonal.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: int | None = None
    words: Sequence[int] = ()
    folded: bool = False
    levels: Sequence[Sequence[str]] | None = None
    kind: str = "table"


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]
    kind: str = "items"


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """Lines to be typed."""

    text: str
    kind: str = "code"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A part of a text of a user.

    Attributes:
        text: The part.
        kind: "for1" to "for3" where it speaks for the label, "against1" to "against3" against it; "" for no shade.
        said: What it changes, in words.
    """

    text: str
    kind: str = ""
    said: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quote:
    """A text of a user, with what the classifier made of it.

    Attributes:
        row: Its number.
        pieces: The text, in order.
        said: What was made of it: words, and whether they are a label.
        strongest: The words that change most, each with its change.
        wrong: Whether something is wrong with it.
    """

    row: str
    pieces: Sequence[Mark]
    said: Sequence[tuple[str, bool]]
    strongest: Sequence[tuple[str, str]]
    wrong: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Quotes:
    """Texts of users."""

    rows: Sequence[Quote]
    kind: str = "quotes"


Block = Figure | Table | Items | Code | Quotes


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One heading with what stands below it.

    Attributes:
        name: For links.
        title: The heading.
        lead: Sentences that say what is to be seen.
        blocks: Figures stand beside each other where there is room.
        layout: "pair" puts each two blocks beside each other.
    """

    name: str
    title: str
    lead: str = ""
    blocks: Sequence[Block] = field(default=())
    layout: Literal["stack", "pair"] = "stack"
