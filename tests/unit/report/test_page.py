"""report.html: complete, tolerant of what is missing, self-contained, and safe with any text."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.html_outline import Outline
from support.run_metrics import HOSTILE, run_metrics
from tailtune.report.page import render_page, sections_of

TWO, WORST = run_metrics()
MANY, WORST_OF_MANY = run_metrics([f"intent {number}" for number in range(77)], rows=900)


def _keys(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every key of nested mappings, the first entry of a list standing for all."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield (*path, key)
            yield from _keys(inner, (*path, key))
    elif isinstance(tree, list) and tree and isinstance(tree[0], dict):
        yield from _keys(tree[0], (*path, 0))


def test_every_section_stands_in_order() -> None:
    """From the baselines to how it is done again, each part of metrics.json has its place."""
    assert [section.name for section in sections_of(TWO, WORST)] == [
        *("baselines", "classes", "confusions", "worst", "doubts", "calibration", "decisions", "ranking", "slices"),
        *("learning", "depth", "training", "tried", "data", "cost", "again"),
    ]


@pytest.mark.parametrize(("metrics", "worst"), [(TWO, WORST), (MANY, WORST_OF_MANY), ({}, [])])
def test_structure(metrics: dict[str, Any], worst: list[dict[str, Any]]) -> None:
    """One h1, headings in order, every table headed, every plot described, links that lead somewhere on the page."""
    page = Outline(render_page(metrics, worst))
    assert page.open == []
    assert len(page.named("h1")) == 1
    assert len(page.named("h2")) == len(page.named("section"))
    assert len(page.named("table")) == len(page.named("caption")) == len(page.named("thead"))
    assert all(cell.get("scope") in {"col", "row"} for cell in page.named("th"))
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in page.named("svg"))
    assert len(page.named("svg")) == len(page.named("figcaption"))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {link["href"].removeprefix("#") for link in page.named("a")} <= set(identifiers)


@pytest.mark.parametrize(("metrics", "worst"), [(TWO, WORST), (MANY, WORST_OF_MANY)])
def test_nothing_is_loaded_and_nothing_runs(metrics: dict[str, Any], worst: list[dict[str, Any]]) -> None:
    """No script, no handler, no inline style, no address outside; the policy allows one style sheet by hash."""
    text = render_page(metrics, worst)
    page = Outline(text)
    assert not {"script", "img", "iframe", "link", "object", "form", "base"} & {name for name, _ in page.elements}
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key in {"src", "style"}], name
        assert attributes.get("href", "#").startswith("#")
    policy = next(meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style
    assert "@import" not in style


def test_texts_are_shown_as_texts() -> None:
    """Markup, quotes and odd signs reach the reader as they are; long texts are cut and say by how much."""
    page = Outline(render_page(TWO, WORST))
    assert page.quotes[0] == HOSTILE[0]
    assert page.quotes[1] == HOSTILE[1]
    assert "مرحبا، هل ستأتي اليوم؟ evil" in page.quotes[2]
    assert page.quotes[3].startswith("{{ 7 * 7 }} {% raw %} \U0001d518\U0001d52b")
    assert page.quotes[4].endswith("… (4,600 more characters)")
    assert len(page.quotes[4]) < 450


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_any_name_changes_no_structure(name: str) -> None:
    """A class, a source, a finding or a command may hold anything: the same elements come out, and valid UTF-8."""
    metrics = copy.deepcopy(TWO)
    metrics["labels"] = [name + "1", name + "2"]
    metrics["test"]["per_class"] = dict(zip(metrics["labels"], TWO["test"]["per_class"].values(), strict=True))
    metrics["data"] |= {"source": name, "classes": dict.fromkeys(metrics["labels"], 4)}
    metrics["data"]["findings"][0]["message"] = name
    metrics["command"] = name
    page = render_page(metrics, [{**WORST[0], "text": name}])
    page.encode()
    names = [element for element, _ in Outline(page).elements]
    assert names == [element for element, _ in Outline(render_page(TWO, WORST[:1])).elements]


@pytest.mark.parametrize("path", list(_keys(TWO)), ids=lambda path: ".".join(map(str, path)))
def test_any_key_may_be_missing_or_none(path: tuple[str | int, ...]) -> None:
    """Without any one key, at any depth, or with nothing in it, the page comes out and says nothing of None."""
    for empty in (False, True):
        metrics = copy.deepcopy(TWO)
        tree: Any = metrics
        for key in path[:-1]:
            tree = tree[key]
        if empty:
            tree[path[-1]] = None
        else:
            del tree[path[-1]]
        page = Outline(render_page(metrics, WORST))
        assert page.open == []
        assert "None" not in page.words


def test_nothing_at_all_is_still_a_page() -> None:
    """Without metrics there is a title and no section."""
    page = Outline(render_page({}))
    assert "a classifier" in page.words
    assert page.named("section") == []


def test_the_numbers_reach_the_page() -> None:
    """The headline, the errors that are left out, and the answer on more labels."""
    words = Outline(render_page(TWO, WORST)).words
    wrong = sum(map(sum, TWO["test"]["confusion"])) - sum(TWO["test"]["confusion"][at][at] for at in (0, 1))
    shown = sum(row["label"] != row["predicted"] for row in WORST)
    left = f"{wrong - shown} more errors are not shown." if wrong > shown else "No error is left out."
    for said in (
        f"{100 * TWO['test']['accuracy']:.2f} %",
        left,
        "Probably yes. Going from 1,951 to 3,902 training rows changed the log loss by -0.0110 (-0.0200 to -0.0020)",
        "tailtune train messages.csv --seed 12345",
        "Not distinguishable from it.",
    ):
        assert said in words


def test_shaded_words_say_their_numbers() -> None:
    """Each shaded word tells its change in words too, for no colour and no eye; faint ones are not shaded."""
    row = {**WORST[0], "text": "one two three four", "highlights": [(0, 3, 0.4), (4, 7, -0.06), (8, 13, 0.001)]}
    text = render_page(TWO, [row])
    assert '<mark class="for3" title="+40.0 points">one<span class="spoken"> (+40.0 points)</span></mark> ' in text
    assert '<mark class="against2" title="\u22126.0 points">two' in text
    assert "</mark> three four</blockquote>" in text
    assert "“<bdi>one</bdi>” +40.0 points, “<bdi>two</bdi>” \u22126.0 points</p>" in text
    assert Outline(text).quotes == ["one two three four"]


def test_what_calibration_and_decisions_came_to_is_shown() -> None:
    """Scores before and after, what was tried, the rule with its figures on both parts, the promise, the verdict."""
    page = Outline(render_page(TWO))
    for words in (
        "Test rows before and after temperature, fitted on 557 validation rows",
        "temperature (chosen)",
        "Labels are decided: spam at 0.9 or more.",
        "Asked for: at most so many false positives, 0.20 %. The test rows speak against it.",
        "Promised: at most 1 % wrong.",
        "1.33 % (2 of 150; 0.37 to 4.73)",
        "called wrongly",
    ):
        assert words in page.words
    assert len([plot for plot in page.named("svg") if plot["aria-label"].startswith("Reliability.")]) == 2
    plain = copy.deepcopy(TWO)
    plain["calibration"]["method"] = "none"
    shown = Outline(render_page(plain))
    assert len([plot for plot in shown.named("svg") if plot["aria-label"].startswith("Reliability.")]) == 1
