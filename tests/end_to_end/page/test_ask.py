"""The page's first view: a text or many, what is said of each, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.classifiers import probe_bundle
from support.pages import HOSTILE, Seen, answering, opened
from support.serving import saved, service_of
from tailtune.explain import explain
from tailtune.predict import Predictor
from tailtune.service.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

THIN = "\u202f"


@pytest.fixture
def seen(browser: Browser, url: str) -> Iterator[Seen]:
    """The page; at the end nothing was said on its console and nothing asked for elsewhere."""
    with opened(browser, url) as found:
        yield found
        assert found.said == []
        assert [address for address in found.asked if not address.startswith(url)] == []


def use(page: Page, model: str) -> None:
    """Choose a model."""
    page.select_option("#model", model)
    page.wait_for_function("name => document.title.startsWith(name)", arg=model)


def ask(page: Page, *texts: str) -> Locator:
    """Return the cards with the answers to ``texts``, of many one per line."""
    page.locator(f"input[value={'lines' if len(texts) > 1 else 'one'}]").check()
    page.fill("#ask-text", "\n".join(texts))
    page.click("#ask-go")
    cards = page.locator(".answer")
    cards.nth(len(texts) - 1).wait_for()
    return cards


def percent(share: float) -> str:
    return f"{100 * share:.1f}{THIN}%"


def bars(card: Locator) -> list[tuple[str, str]]:
    """Names and numbers of the bars of a card, as they are seen."""
    rows = card.locator(".bars li").all()
    numbers = [row.locator(".number").inner_text().split(",")[0].strip() for row in rows]
    return [(row.locator("bdi").inner_text(), number) for row, number in zip(rows, numbers, strict=True)]


def test_one_text(seen: Seen, run_folder: Path) -> None:
    """Label, confidence and a bar for each category say what the predictor says, and a screen reader is told."""
    text = "WINNER!! Claim prize home now"
    card = ask(seen.page, text)
    expected = Predictor.load(run_folder).predict([text])[0]
    assert card.locator("blockquote").inner_text() == text
    assert card.locator(".label").inner_text() == expected.label
    assert card.locator(".confidence").inner_text() == f"{percent(expected.confidence)} confident"
    ordered = sorted(expected.probabilities.items(), key=lambda each: -each[1])
    assert bars(card) == [(label, percent(share)) for label, share in ordered]
    width = card.locator(".fill").first.evaluate("fill => fill.offsetWidth / fill.parentElement.offsetWidth")
    assert width == pytest.approx(ordered[0][1], abs=0.01)
    said = "label => document.getElementById('said').textContent.startsWith(label)"
    seen.page.wait_for_function(said, arg=expected.label)


def test_many_texts(seen: Seen, run_folder: Path) -> None:
    """Each line is a text; blank ones are none; the order is that of the lines; more than twenty are shown in steps."""
    texts = [f"message {number} about {'lunch' if number % 2 else 'a prize'}" for number in range(70)]
    seen.page.locator("input[value=lines]").check()
    seen.page.fill("#ask-text", "\n\n".join(texts))
    assert seen.page.locator("#ask-count").inner_text() == "70 texts"
    seen.page.click("#ask-go")
    seen.page.locator(".answer").nth(19).wait_for()
    seen.page.get_by_role("button", name="Show 20 more of 70").click()
    cards = seen.page.locator(".answer")
    assert cards.locator("blockquote").all_inner_texts() == texts[:40]
    expected = Predictor.load(run_folder).predict(texts)
    assert cards.locator(".label").all_inner_texts() == [each.label for each in expected[:40]]
    counted = {label: sum(each.label == label for each in expected) for label in ("ham", "spam")}
    said = seen.page.locator("#ask-summary").inner_text()
    assert all(f"{label} {rows}" in said for label, rows in counted.items() if rows)


def test_markup_is_text(seen: Seen) -> None:
    """Neither a text nor the name of a class becomes an element, and nothing runs."""
    use(seen.page, "hostile")
    text = "<script>alert(1)</script><img src=x onerror=alert(2)> {{7*7}} \u202eevil"
    card = ask(seen.page, text)
    assert card.locator("blockquote").inner_text() == text
    assert card.locator("img, script").count() == 0
    assert {name for name, _ in bars(card)} == set(HOSTILE)
    assert HOSTILE[0] in seen.page.locator("#model-line").inner_text()


def test_words_that_matter(seen: Seen, run_folder: Path) -> None:
    """On demand the words are marked by colour, line and sign, behind an emoji at the right place, with numbers."""
    text = "\U0001f389\U0001f389 WINNER!! claim prize home now for \U0001d518 lunch"
    card = ask(seen.page, text)
    card.get_by_role("button", name="Which words matter?").click()
    marks = card.locator("blockquote mark")
    marks.first.wait_for()
    expected = [each for each in explain(Predictor.load(run_folder), text) if abs(each.change) >= 0.005]
    assert len(expected) > 3
    points = [f"{each.change * 100:+.1f} points".replace("-", "\u2212") for each in expected]
    found = [mark.evaluate("mark => mark.childNodes[1].textContent") for mark in marks.all()]
    assert found == [each.text for each in expected]
    assert [mark.get_attribute("data-said") for mark in marks.all()] == points
    for mark, each, said in zip(marks.all(), expected, points, strict=True):
        sign, line = mark.locator(".sign"), mark.evaluate("mark => getComputedStyle(mark).textDecorationStyle")
        assert sign.inner_text()[0] == ("+" if each.change > 0 else "\u2212")
        assert line == ("solid" if each.change > 0 else "dotted")
        assert mark.locator(".spoken").text_content() == f" ({said})"
    marks.nth(1).focus()
    assert marks.nth(1).evaluate("mark => getComputedStyle(mark, '::after').content") == f'"{points[1]}"'
    assert "speaks against" in card.locator(".legend").inner_text()
    seen.page.wait_for_function("() => document.getElementById('said').textContent.startsWith('Most of')")


def test_why(seen: Seen, bundles: dict[str, Path]) -> None:
    """Why it abstains, what it did not read, how it was decided and what else comes into question, with the numbers."""
    use(seen.page, "wordy")
    texts = ("lunch at noon?", "claim your prize now " + "and your dinner " * 30)
    cards = ask(seen.page, *texts)
    expected = Predictor.load(bundles["wordy"]).predict(texts)
    for card, each in zip(cards.all(), expected, strict=True):
        said = card.locator(".why").inner_text().replace(THIN, " ")
        assert each.abstained
        needed = "is below 50.0 %, the confidence needed to promise at most 5 % errors."
        assert f"{100 * each.confidence:.1f} % {needed}" in said
        assert "A rule of this classifier gives “spam” from 30.0 %" in said
        assert ("Every category comes into question." in said) == (len(each.labels) == 3)
        assert each.out_of_scope is not None
        assert ("Perhaps out of scope" in said) == (each.out_of_scope >= 0.95)
        assert (f"Only {each.tokens} of {each.tokens_total} tokens were read" in said) == each.truncated
        assert card.locator(".chip.unsure").is_visible()
    assert expected[1].truncated


def test_several_labels_paths_and_many_classes(seen: Seen, bundles: dict[str, Path]) -> None:
    """Any number of labels, the levels of a path, and of 77 classes the first five, the others on demand."""
    use(seen.page, "several")
    texts = ("claim your prize", "lunch")
    cards = ask(seen.page, *texts)
    for card, each in zip(cards.all(), Predictor.load(bundles["several"]).predict(texts), strict=True):
        assert card.locator(".chip").all_inner_texts() == (list(each.given) or ["no label"])
        assert card.locator(".bars .tick").count() == 2
        assert "never given" in card.locator(".bars").inner_text()
    use(seen.page, "topics")
    card, found = ask(seen.page, texts[0]), Predictor.load(bundles["topics"]).predict(texts)[0]
    levels = " \u203a ".join(f"{label} {percent(share)}" for label, share in found.levels)
    assert card.locator(".levels").inner_text() == f"By level: {levels}"
    use(seen.page, "intents")
    card = ask(seen.page, texts[0])
    assert card.locator(".bars li").count() == 5
    card.get_by_role("button", name="Show all 77").click()
    shares = Predictor.load(bundles["intents"]).predict(texts)[0].probabilities
    assert [name for name, _ in bars(card)] == sorted(shares, key=lambda label: -shares[label])


def test_errors_in_plain_words(browser: Browser, tiny_llama: Path, tmp_path: Path) -> None:
    """What is refused is said in a sentence with the request's id; a service that is gone is said to be gone."""
    bundle = saved(tiny_llama, tmp_path / "small", probe_bundle)
    with (
        answering(service_of(bundle, limits=Limits(characters=50))) as address,
        opened(browser, f"{address}/") as seen,
    ):
        card = ask(seen.page, "x" * 51)
        said = card.locator(".problem").inner_text()
        assert "text 1 has 51 characters: at most 50" in said
        assert "(request " in said
        seen.page.fill("#ask-text", "  \n ")
        seen.page.click("#ask-go")
        assert seen.page.locator("#ask-problem").inner_text() == "Write or paste a text first."
        seen.page.route("**/v1/classify", lambda route: route.abort())
        seen.page.fill("#ask-text", "lunch")
        seen.page.click("#ask-go")
        gone = "() => document.getElementById('ask-problem').textContent.includes('does not answer')"
        seen.page.wait_for_function(gone)
