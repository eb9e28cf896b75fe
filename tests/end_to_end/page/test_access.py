"""For everybody: axe finds nothing, the keyboard reaches all of it, it fits a phone, light and dark and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.classifiers import probe_bundle
from support.pages import Seen, opened
from support.serving import saved, serving
from support.texts import messages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# What reaches beyond the right edge, but for boxes that scroll by themselves and what waits for the keyboard.
_TOO_WIDE = """[...document.querySelectorAll("body *")]
    .filter(each => !each.closest(".scroll, pre, .skip, .spoken"))
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 120))"""


def go(page: Page, view: str) -> None:
    page.click(f"nav a[href='#{view}']")
    page.locator(f"#{view}").wait_for()


def empty(page: Page) -> None:
    page.locator("#ask").wait_for()


def answers(page: Page) -> None:
    """Answers with reasons, one of them with its words marked."""
    page.select_option("#model", "wordy")
    page.wait_for_function("() => document.title.startsWith('wordy')")
    page.locator("input[value=lines]").check()
    page.fill("#ask-text", "lunch at noon?\nclaim your prize now " + "and your dinner " * 30)
    page.click("#ask-go")
    page.locator(".answer").nth(1).wait_for()
    page.get_by_role("button", name="Which words matter?").first.click()
    page.locator("blockquote mark").first.wait_for()


def many(page: Page) -> None:
    """All bars of 77 long names."""
    page.select_option("#model", "intents")
    page.wait_for_function("() => document.title.startsWith('intents')")
    page.fill("#ask-text", "claim your prize")
    page.click("#ask-go")
    page.get_by_role("button", name="Show all 77").click()


def chosen(page: Page) -> None:
    """A file that was chosen."""
    page.select_option("#model", "spam-filter")
    page.wait_for_function("() => document.title.startsWith('spam-filter')")
    go(page, "file")
    texts, labels = messages(60)
    rows = "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
    page.set_input_files("#file-input", {"name": "a.csv", "mimeType": "text/csv", "buffer": rows.encode()})
    page.locator("#file-form").wait_for()


def table(page: Page) -> None:
    """Its answers."""
    page.click("#file-go")
    page.locator("#results").wait_for()
    page.click("#results-judged summary")


def threshold(page: Page) -> None:
    """A threshold that was moved."""
    go(page, "threshold")
    page.fill("#flag-value", "60")
    page.locator("#flag-value").blur()


def flagged(page: Page) -> None:
    """The rows that it flags."""
    go(page, "file")


def about(page: Page) -> None:
    """Everything unfolded."""
    go(page, "about")
    for summary in page.locator("#about details:not([open]) > summary").all():
        if summary.is_visible():
            summary.click()


STATES: tuple[Callable[[Page], None], ...] = (empty, answers, many, chosen, table, threshold, flagged, about)


def findings(page: Page) -> list[str]:
    """What axe finds serious or critical, but within the report, which is a page of its own."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install -e '.[dev]'")
    found: Any = axe.Axe().run(page, options={"resultTypes": ["violations"], "iframes": False}).response
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (360, "light")])
def test_every_state(browser: Browser, url: str, width: int, scheme: str) -> None:
    """axe finds nothing serious, nothing is wider than the window, nothing was said on the console."""
    with opened(browser, url, width=width, scheme=scheme, reduced_motion="reduce") as seen:
        page = seen.page
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        for state in STATES:
            state(page)
            if width > 400:
                assert findings(page) == [], state.__name__
            assert page.evaluate("document.documentElement.scrollWidth") <= width, state.__name__
            assert page.evaluate(_TOO_WIDE) == [], state.__name__
        assert seen.said == []


@pytest.fixture
def seen(browser: Browser, url: str) -> Iterator[Seen]:
    """The page."""
    with opened(browser, url) as found:
        yield found
        assert found.said == []


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent"))


def await_focus(page: Page, name: str) -> None:
    """A change of view moves the focus a moment later."""
    page.wait_for_function("name => document.activeElement.id === name", arg=name)


def test_with_the_keyboard_alone(seen: Seen) -> None:
    """Skip, write, classify, look at words, change the view, choose a file, move the slider: without a mouse."""
    page = seen.page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    await_focus(page, "main")
    page.keyboard.press("Tab")
    await_focus(page, "ask-text")
    page.keyboard.type("WINNER!! Claim prize home now")
    page.keyboard.press("Control+Enter")
    page.locator(".answer").wait_for()
    visited = []
    for _ in range(4):
        page.keyboard.press("Tab")
        visited.append(focused(page))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert visited[1:] == ["ask-clear", "ask-go", "Which words matter?"]
    page.get_by_role("button", name="Which words matter?").press("Enter")
    page.locator("blockquote mark").first.wait_for()
    page.locator("nav a[href='#file']").press("Enter")
    await_focus(page, "file-title")
    page.keyboard.press("Tab")
    await_focus(page, "file-input")
    assert page.locator("#drop").evaluate("drop => getComputedStyle(drop).outlineStyle") == "solid"
    with page.expect_file_chooser() as asked:
        page.keyboard.press("Enter")
    asked.value.set_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"lunch\nprize"})
    await_focus(page, "file-go")
    page.keyboard.press("Enter")
    await_focus(page, "results-title")
    page.locator("nav a[href='#threshold']").press("Enter")
    page.wait_for_function("() => document.getElementById('flag-value').value !== ''")
    before = page.locator("#flag-value").input_value()
    page.locator("#flag-slider").press("PageUp")
    assert page.locator("#flag-value").input_value() != before


def test_a_file_that_is_dropped(seen: Seen) -> None:
    """The zone takes it, and a picture of it while it hovers."""
    go(seen.page, "file")
    seen.page.evaluate("""() => {
      const data = new DataTransfer(), drop = document.getElementById("drop");
      data.items.add(new File(["lunch\\nprize\\n"], "dropped.txt", { type: "text/plain" }));
      drop.dispatchEvent(new DragEvent("dragover", { dataTransfer: data, bubbles: true, cancelable: true }));
      window.hovered = drop.classList.contains("over");
      drop.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    seen.page.locator("#file-form").wait_for()
    assert seen.page.evaluate("window.hovered && !document.getElementById('drop').classList.contains('over')")
    assert "dropped.txt: 2 rows" in seen.page.locator("#file-told").inner_text()


def test_the_theme_is_remembered(seen: Seen) -> None:
    """Chosen here it holds against the system, after a reload too, until the system is chosen again."""
    page, paper = seen.page, "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.select_option("#theme", "dark")
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    page.locator("#main").wait_for()
    assert (page.evaluate(paper), page.locator("#theme").input_value()) == (dark, "dark")
    page.select_option("#theme", "system")
    page.reload()
    assert page.evaluate(paper) == light


def test_it_prints(seen: Seen) -> None:
    """In light colours, without what is there to be clicked."""
    page = seen.page
    page.select_option("#theme", "dark")
    page.fill("#ask-text", "lunch")
    page.click("#ask-go")
    page.locator(".answer").wait_for()
    page.emulate_media(media="print")
    assert page.locator(".answer").is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.locator("#ask-form").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf()[:5] == b"%PDF-"


def test_with_keys(browser: Browser, tiny_llama: Path, tmp_path: Path) -> None:
    """The browser asks for the key once, and every file and request has it; without it there is nothing to see."""
    key, keys = "a-key-of-enough-letters-0123456789", tmp_path / "keys"
    keys.write_text(f"{key}\n", encoding="utf-8")
    keys.chmod(0o600)
    bundle = saved(tiny_llama, tmp_path / "kept", probe_bundle)
    credentials = {"username": "me", "password": key}
    with serving(bundle, "--api-key-file", keys, log=tmp_path / "log") as server:
        with opened(browser, f"{server.url}/", http_credentials=credentials) as seen:
            seen.page.fill("#ask-text", "lunch")
            seen.page.click("#ask-go")
            seen.page.locator(".answer .label").wait_for()
            assert [line for line in seen.said if "401" not in line] == []
        for path in ("/", "/page/main.js", "/page/about", "/report"):
            refused = httpx.get(f"{server.url}{path}", headers={"Accept": "text/html"})
            assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
