"""The page's fourth view, and how its files are served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from support.pages import Seen, opened
from tailtune.predict import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def seen(browser: Browser, url: str) -> Iterator[Seen]:
    """The page's view of the classifier; nothing is said on its console and nothing asked for elsewhere."""
    with opened(browser, f"{url}#about") as found:
        yield found
        assert found.said == []
        assert [address for address in found.asked if not address.startswith(url)] == []


@pytest.mark.browser
def test_figures_report_and_card(seen: Seen, run_folder: Path) -> None:
    """What the run measured, its report in a frame without rights, and the card as text."""
    page = seen.page
    digest = Predictor.load(run_folder).bundle.digest
    assert {"accuracy", "macro F1", "log loss"} <= set(page.locator("#about-figures dt").all_inner_texts())
    assert digest in page.locator("#about-facts").inner_text()
    assert "256 texts" in page.locator("#about-facts").inner_text()
    page.click("#report summary")
    frame = page.frame_locator("#report-frame iframe")
    assert "noisy.csv" in frame.locator("h1").inner_text()
    assert page.locator("#report-frame iframe").get_attribute("sandbox") == ""
    shown = frame.locator(".figures").evaluate("each => getComputedStyle(each).display")
    assert shown == "grid"  # its own sheet holds
    page.click("#card summary")
    card = page.locator("#card-content").inner_text()
    written = (run_folder / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "Text classifier: " in card
    assert "library_name" in written
    assert "library_name" not in card
    rules = sum(line.startswith("| :--") for line in written.splitlines())
    assert page.locator("#card-content table").count() == rules > 2


@pytest.mark.browser
def test_a_bundle_alone_has_no_report(seen: Seen) -> None:
    """Nor figures, and the page says so."""
    seen.page.select_option("#model", "several")
    seen.page.wait_for_function("() => document.title.startsWith('several')")
    assert seen.page.locator("#report").is_hidden()
    assert seen.page.locator("#about-read").inner_text() == "This bundle holds no measurements."
    assert "any number of labels per text" in seen.page.locator("#about-facts").inner_text()


@pytest.mark.browser
def test_texts_that_differ_are_told_of(seen: Seen, url: str) -> None:
    """After some hundred texts of another kind a line says that they differ, without loading the page again."""
    page = seen.page
    assert page.locator("#drift").is_hidden()
    texts = [f"zzz qqq xyzzy {number} " * 8 for number in range(250)]
    for model in ("wordy", "spam-filter"):
        assert httpx.post(f"{url}v1/classify", json={"texts": texts, "model": model}).status_code == 200
    page.click("nav a[href='#ask']")
    page.click("nav a[href='#about']")
    page.locator("#drift").wait_for()
    assert page.locator("#drift").inner_text().startswith("The last 250 texts differ from the validation rows")
    assert "The last 250 texts differ" in page.locator("#about-facts").inner_text()


def test_files_are_checked_each_time(url: str) -> None:
    """Every file has its type, its policy and its tag; with the tag the browser keeps what it has; others are none."""
    index = httpx.get(url)
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    names = ["page.css", "theme.js", "main.js", "icon.svg"]
    assert all(f"page/{name}" in index.text for name in names)
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for path in ("", *(f"page/{name}" for name in names)):
        answer = httpx.get(f"{url}{path}")
        assert answer.status_code == 200
        assert types.get(path.rpartition(".")[2], "text/html") in answer.headers["content-type"]
        policy = answer.headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy[0]
        assert answer.headers["cache-control"] == "no-cache"
        again = httpx.get(f"{url}{path}", headers={"If-None-Match": f"W/{answer.headers['etag']}"})
        assert (again.status_code, again.content) == (304, b"")
    missing = httpx.get(f"{url}page/..%2froutes.py")
    assert missing.status_code == 404
    assert httpx.get(f"{url}page/none.js").json()["error"]["type"] == "not_found"
    assert httpx.get(f"{url}report", params={"model": "several"}).status_code == 404


def test_no_file_holds_inline_code_or_addresses_of_others(url: str) -> None:
    """Neither scripts nor sheets in the page, and no address beyond the service but names of XML."""
    index = httpx.get(url).text
    assert "<style" not in index
    assert " style=" not in index
    assert all("src=" in tag for tag in index.split("<script")[1:])
    names = ["main", "dom", "api", "ask", "answer", "why", "csv", "source", "file", "rows", "table", "download"]
    for name in [*names, "curve", "threshold", "about", "state", "theme"]:
        text = httpx.get(f"{url}page/{name}.js").text
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert text.count("http") == text.count("http://www.w3.org/2000/svg")
        assert len(text.splitlines()) <= 400
