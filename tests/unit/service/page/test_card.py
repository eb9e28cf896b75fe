"""The model card as blocks of text."""

from __future__ import annotations

from support.run_metrics import HOSTILE, run_metrics
from tailtune.report.markdown import escape, model_card, table
from tailtune.service.page.card import blocks_of, spans_of


def said(spans: list[dict[str, str]]) -> str:
    return "".join(span["text"] for span in spans)


def test_a_card_of_ours() -> None:
    """Headings, tables, code and paragraphs of a real card are found, and its front matter is left out."""
    metrics, _ = run_metrics()
    card = model_card(metrics)
    blocks = blocks_of(card)
    kinds = [block["kind"] for block in blocks]
    assert kinds[0] == "heading"
    assert said(blocks[0]["spans"]).startswith("Text classifier: ")
    assert kinds.count("table") == sum(line.startswith("| :--") for line in card.splitlines())
    assert any("tailtune predict" in block["text"] for block in blocks if block["kind"] == "code")
    assert "library_name" not in str(blocks)
    for block in blocks:
        if block["kind"] == "table":
            assert {len(row) for row in block["rows"]} == {len(block["header"])}


def test_what_was_escaped_is_what_it_was() -> None:
    """Texts that the card escaped come back as they were, in cells too, and never as markup."""
    texts = [
        *HOSTILE[:2],
        "a | b",
        "*stars* and `ticks`",
        "1. no list",
        "- no item",
        "an_under __init__",
        "back\\slash",
    ]
    for text in texts:
        assert said(spans_of(escape(text))) == text
    (block,) = blocks_of(table(["name", "rows"], [(escape(text), "1") for text in texts]))
    assert [said(row[0]) for row in block["rows"]] == texts
    assert blocks_of("<b>bold</b>\n") == [{"kind": "paragraph", "spans": [{"text": "<b>bold</b>"}]}]


def test_spans_and_items() -> None:
    """Bold, code and lists."""
    assert spans_of("a **b \\* c** and `x * y`.") == [
        {"text": "a "},
        {"kind": "strong", "text": "b * c"},
        {"text": " and "},
        {"kind": "code", "text": "x * y"},
        {"text": "."},
    ]
    assert blocks_of("- one\n- two")[0]["items"] == [[{"text": "one"}], [{"text": "two"}]]
    assert blocks_of("") == []
    assert blocks_of("---\nfront: matter\n---\n") == []
