"""report.html in a real browser: it fits, it loads nothing, it says nothing on the console, and no text runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import chromium
from support.run_metrics import doubtful_rows, run_metrics
from support.several_metrics import several_metrics
from tailtune.report.page import render_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# What reaches beyond the right edge, but for boxes that scroll by themselves and the link that waits for the keyboard.
_TOO_WIDE = """[...document.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll, pre, .skip") && e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module", params=["two", "many"])
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two classes, and one of 77 with long names; hostile texts in both."""
    names = (
        ["ham", "spam"] if request.param == "two" else [f"intent_{'of_long_name_' * (at % 4)}{at}" for at in range(77)]
    )
    metrics, worst = run_metrics(names, rows=600)
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_page(metrics, worst, doubtful_rows(names)), encoding="utf-8")
    return file


def opened(browser: Browser, file: Path, width: int, scheme: str) -> tuple[Page, list[str], list[str]]:
    """Return the page, what it says on the console and what it asks for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    return page, said, asked


def require_fits(page: Page, width: int) -> None:
    """Nothing reaches beyond the right edge."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_TOO_WIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_is_silent(browser: Browser, page_file: Path, width: int, scheme: str) -> None:
    """No overflow, no word on the console, no request but for the file itself, no script that ran."""
    page, said, asked = opened(browser, page_file, width, scheme)
    require_fits(page, width)
    assert page.locator("script, blockquote *:not(mark, mark span)").count() == 0
    assert "<script>alert(1)</script>" in page.locator("#worst blockquote").first.inner_text()
    assert page.locator("#doubts mark").count() > 10
    assert {name.strip() for name in page.locator("h2").all_inner_texts()} >= {"Decisions", "Doubtful labels"}
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert (said, asked) == ([], [page_file.as_uri()])
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_several_labels_fits_too(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    """The same where texts have several labels: no overflow, no word, no further request, no script."""
    file = tmp_path / "report.html"
    metrics, worst = several_metrics()
    file.write_text(render_page(metrics, worst), encoding="utf-8")
    page, said, asked = opened(browser, file, width, scheme)
    require_fits(page, width)
    assert page.locator("script, blockquote *").count() == 0
    assert "<script>alert(1)</script>" in page.locator("#worst blockquote").first.inner_text()
    assert {name.strip() for name in page.locator("h2").all_inner_texts()} >= {"Each label", "Labels beside each other"}
    assert (said, asked) == ([], [file.as_uri()])
    page.context.close()


def test_the_page_prints(browser: Browser, page_file: Path) -> None:
    """As a PDF of some pages."""
    page = browser.new_page()
    page.goto(page_file.as_uri())
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
