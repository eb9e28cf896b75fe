"""A text with the words that an answer hangs on, in colour and in words; a page of Markdown. For people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailtune.cli.show import points, short
from tailtune.report.words import UNPRINTABLE

if TYPE_CHECKING:
    from tailtune.explain import Highlight

# Words below this share of the strongest have no colour, those below this change are not spoken of at all.
_FAINT, _LEAST_CHANGE = 0.1, 0.005
_MOST_WORDS = 6


def marked(text: str, highlights: Sequence[Highlight]) -> None:
    """Print ``text`` with its words in colour: green for the answer, red against it.

    Args:
        text: Any text; what a terminal would obey is blanked.
        highlights: Of the whole text.
    """
    from rich.console import Console
    from rich.text import Text

    shown = Text(UNPRINTABLE.sub(lambda found: _blanked(found[0]), text))
    strongest = max((abs(each.change) for each in highlights), default=0.0)
    for each in highlights:
        if abs(each.change) >= max(_FAINT * strongest, _LEAST_CHANGE):
            colour = "green" if each.change > 0 else "red"
            strong = abs(each.change) >= strongest / 2
            shown.stylize(f"bold reverse {colour}" if strong else colour, each.start, each.end)
    Console(highlight=False).print(shown, soft_wrap=True)


def _blanked(signs: str) -> str:
    """As many signs, so that places stay what they are."""
    return "".join(sign if sign == "\n" else " " for sign in signs)


def spoken(highlights: Sequence[Highlight], label: str) -> str:
    """Return the words that ``label`` hangs on most, by sign, the strongest first, in points of its probability."""
    found = sorted(highlights, key=lambda each: -abs(each.change))
    parts = []
    for title, sign in (("for", 1), ("against", -1)):
        if own := [each for each in found if sign * each.change >= _LEAST_CHANGE][:_MOST_WORDS]:
            listed = ", ".join(f"{short(UNPRINTABLE.sub(' ', each.text))} {points(each.change)}" for each in own)
            parts.append(f"{title} {label}: {listed}")
    return "; ".join(parts) or "no word alone changes it by half a point"


def markdown(page: str) -> None:
    """Print a page of Markdown without its front matter: laid out on a terminal, as it is elsewhere."""
    from rich.console import Console
    from rich.markdown import Markdown

    body = page.partition("\n---\n")[2] if page.startswith("---\n") else page
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(Markdown(body.strip(), hyperlinks=False))
    else:
        print(body.strip())
