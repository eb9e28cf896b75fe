"""What a page of HTML is made of, as a parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "img", "hr", "input", "line", "circle", "polyline"}


class Outline(HTMLParser):
    """Collects elements, attributes and words; every element that is opened must be closed in turn.

    Attributes:
        elements: (name, attributes) in order.
        words: All text outside of the style sheet, blanks folded.
        quotes: The text of each blockquote, without what is told of its words.
        open: Elements not closed yet.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.quotes: list[str] = []
        self.open: list[str] = []
        self._words: list[str] = []
        self.feed(page)
        self.close()

    @property
    def words(self) -> str:
        """All text outside of the style sheet, blanks folded."""
        return " ".join(" ".join(self._words).split())

    def named(self, name: str) -> list[dict[str, str]]:
        """Return the attributes of every element of that name."""
        return [attributes for element, attributes in self.elements if element == name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "blockquote":
            self.quotes.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Check that the element that was opened last is closed."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note words."""
        if "style" not in self.open:
            self._words.append(data)
        if "blockquote" in self.open and "span" not in self.open:  # a span holds what is told of a word
            self.quotes[-1] += data
