"""A model card as blocks of text. A browser gets no HTML of it: whatever a card holds, it can only be read.

Knows the part of Markdown that ``tailtune.report.markdown`` writes; what it does not know stays a paragraph.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

Block = dict[str, Any]

_HEADING = re.compile(r"(#{1,6}) (.*)")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"[|:\- ]+")
# A sign that is escaped, bold, code: in this order, so that what is escaped begins nothing.
_SPAN = re.compile(
    r"\\(?P<sign>[!-/:-@\[-`{-~])|\*\*(?P<strong>(?:\\.|[^\\])+?)\*\*|(?P<ticks>`+)(?P<code>.+?)(?P=ticks)"
)


def blocks_of(markdown: str) -> list[Block]:
    """Return the blocks of a card, in order, without its front matter.

    Each has a ``kind``: ``heading`` (``level``, ``spans``), ``paragraph`` (``spans``), ``items`` (``items``, lists of
    spans), ``table`` (``header`` and ``rows`` of cells, each a list of spans) or ``code`` (``text``). A span has
    ``text``, and ``kind`` where it is ``strong`` or ``code``.

    Args:
        markdown: Content of README.md.
    """
    return [_block(lines) for lines in _paragraphs(_without_front_matter(markdown.splitlines()))]


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return lines
    return lines[lines.index("---", 1) + 1 :]


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Lines that belong together: a blank line ends them."""
    held: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            held.append(line)
        elif held:
            yield held
            held = []


def _is_code(lines: list[str]) -> bool:
    return all(line.startswith("    ") for line in lines)


def _block(lines: list[str]) -> Block:
    if _is_code(lines):
        return {"kind": "code", "text": "\n".join(line[4:] for line in lines)}
    if len(lines) == 1 and (heading := _HEADING.fullmatch(lines[0])):
        return {"kind": "heading", "level": len(heading[1]), "spans": spans_of(heading[2])}
    if all(line.startswith("|") for line in lines) and len(lines) > 1 and _RULE.fullmatch(lines[1]):
        header, *rows = ([spans_of(cell.strip()) for cell in _cells(line)] for line in [lines[0], *lines[2:]])
        return {"kind": "table", "header": header, "rows": rows}
    if all(line.startswith("- ") for line in lines):
        return {"kind": "items", "items": [spans_of(line[2:]) for line in lines]}
    return {"kind": "paragraph", "spans": spans_of(" ".join(lines))}


def _cells(line: str) -> list[str]:
    return _CELL_BORDER.split(line.strip())[1:-1]


def spans_of(text: str) -> list[dict[str, str]]:
    """Return the spans of one line of Markdown, entities and escapes resolved."""
    found, end = [], 0
    for match in _SPAN.finditer(text):
        found.append({"text": html.unescape(text[end : match.start()])})
        if match["sign"]:
            found.append({"text": match["sign"]})
        elif match["strong"]:
            inner = "".join(span["text"] for span in spans_of(match["strong"]))
            found.append({"kind": "strong", "text": inner})
        else:
            found.append({"kind": "code", "text": match["code"].strip()})
        end = match.end()
    return _joined([*found, {"text": html.unescape(text[end:])}])


def _joined(spans: list[dict[str, str]]) -> list[dict[str, str]]:
    """The spans without empty ones, plain ones that follow each other as one."""
    joined: list[dict[str, str]] = []
    for span in spans:
        if not span["text"]:
            continue
        if joined and "kind" not in span and "kind" not in joined[-1]:
            joined[-1] = {"text": joined[-1]["text"] + span["text"]}
        else:
            joined.append(span)
    return joined
