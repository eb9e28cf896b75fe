"""The page's third view: what each threshold would have done, as it was counted at training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from support.pages import Seen, opened
from tailtune.evaluate.intervals import wilson
from tailtune.predict import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

THIN = "\u202f"


@pytest.fixture
def seen(browser: Browser, url: str) -> Iterator[Seen]:
    """The page's view of thresholds; nothing is said on its console."""
    with opened(browser, f"{url}#threshold") as found:
        yield found
        assert found.said == []


@pytest.fixture
def curves(run_folder: Path) -> dict[str, Any]:
    """What training kept, of spam: part -> rows, and the counts at each threshold."""
    metrics = json.loads((run_folder / "bundle" / "metrics.json").read_text(encoding="utf-8"))
    spam = metrics["labels"].index("spam")
    found = metrics["detail"]["thresholds"]
    assert set(found) == {"validation", "test"}
    return {
        name: {"rows": part["rows"], **next(each for each in part["classes"] if each["class"] == spam)}
        for name, part in found.items()
    }


def percent(share: float) -> str:
    return f"{100 * share:.1f}{THIN}%"


def numbers(page: Page, part: str) -> dict[str, str]:
    """Name -> number and interval of one column of the table."""
    cells = page.locator(f"td[data-number$='-{part}']").all()
    return {str(cell.get_attribute("data-number")).removesuffix(f"-{part}"): cell.inner_text() for cell in cells}


def expected_numbers(curve: dict[str, Any], threshold: float, share: float) -> dict[str, str]:
    """What they must be, from the counts alone."""
    at = int(np.searchsorted(-np.array(curve["threshold"]), -threshold, side="right"))
    true, false = (curve[name][at - 1] if at else 0 for name in ("true", "false"))
    positives, negatives = curve["positives"], curve["rows"] - curve["positives"]
    caught, alarms = share * true / positives, (1 - share) * false / negatives

    def per(value: float) -> str:
        return f"{int(10_000 * value + 0.5):,}"

    recall = wilson(true, positives)
    ranges = {
        "recall": f"{100 * recall[0]:.1f} to {percent(recall[1])}",
        "false-alarms": " to ".join(per((1 - share) * each) for each in wilson(false, negatives)),
        "missed": " to ".join(per(share * each) for each in wilson(positives - true, positives)),
    }
    shown = {
        "precision": percent(caught / (caught + alarms)) if caught + alarms else "\u2013",
        "recall": percent(true / positives),
        "false-alarms": per(alarms),
        "missed": per(share - caught),
        "flagged": per(caught + alarms),
        "counted": f"{true} and {false}",
    }
    return {name: "\n".join(filter(None, (value, ranges.get(name)))) for name, value in shown.items()}


def test_the_numbers_are_those_of_the_counts(seen: Seen, curves: dict[str, Any], run_folder: Path) -> None:
    """At the classifier's own threshold, wherever the slider goes, typed exactly, and at another share of spam."""
    page = seen.page
    own = Predictor.load(run_folder).bundle.rules.as_json()["decision"]["threshold"]
    share = curves["test"]["positives"] / curves["test"]["rows"]
    assert page.locator("#flag-own").inner_text() == f"The classifier's own threshold is {percent(own)}. You are there."
    points = curves["validation"]["threshold"]
    page.locator("#flag-slider").focus()

    def require(threshold: float) -> None:
        for part, curve in curves.items():
            assert numbers(page, part) == expected_numbers(curve, threshold, share), (part, threshold)

    require(own)
    for key, place in (("Home", 0), ("ArrowRight", 1), ("End", len(points) - 1), ("ArrowLeft", len(points) - 2)):
        page.keyboard.press(key)
        require(points[place])
        assert page.locator("#flag-slider").get_attribute("aria-valuetext")
    page.fill("#flag-value", "61.5")
    page.locator("#flag-value").blur()
    require(0.615)
    page.fill("#flag-share", "2")
    share = 0.02
    require(0.615)
    page.click("#flag-reset")
    require(own)


def test_the_counts_are_those_of_the_test_part(curves: dict[str, Any], run_folder: Path) -> None:
    """What training kept says how many rows of predictions.jsonl reach each threshold."""
    lines = (run_folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    spam = np.array([row["label"] == "spam" for row in rows])
    shares = np.array([row["probabilities"][1] for row in rows])
    curve = curves["test"]
    for threshold, true, false in zip(curve["threshold"], curve["true"], curve["false"], strict=True):
        reached = shares >= threshold - 1e-7  # predictions.jsonl rounds
        assert (int((reached & spam).sum()), int((reached & ~spam).sum())) == (true, false)


def test_it_recolours_answers(seen: Seen, run_folder: Path) -> None:
    """Cards and rows that reach the threshold are flagged by colour and in words, until it is put back."""
    page = seen.page
    texts = ["WINNER!! Claim prize home now", "See you at lunch"]
    shares = [each.probabilities["spam"] for each in Predictor.load(run_folder).predict(texts)]
    assert shares[0] > shares[1]
    page.click("nav a[href='#ask']")
    page.locator("input[value=lines]").check()
    page.fill("#ask-text", "\n".join(texts))
    page.click("#ask-go")
    cards = page.locator(".answer")
    cards.nth(1).wait_for()
    page.click("nav a[href='#file']")
    file = {"name": "a.txt", "mimeType": "text/plain", "buffer": "\n".join(texts).encode()}
    page.set_input_files("#file-input", file)  # type: ignore[arg-type]
    page.click("#file-go")
    page.locator("#results").wait_for()
    for threshold, flags in ((sum(shares) / 2, ["yes", "no"]), (shares[1] - 0.01, ["yes", "yes"])):
        page.click("nav a[href='#threshold']")
        page.fill("#flag-value", f"{100 * threshold:.6f}")
        page.locator("#flag-value").blur()
        page.click("nav a[href='#ask']")
        assert [card.get_attribute("data-flagged") for card in cards.all()] == flags
        words = ["⚑ would be flagged as “spam”" if flag == "yes" else "would pass" for flag in flags]
        assert cards.locator(".flag").all_inner_texts() == words
        page.click("nav a[href='#file']")
        assert page.locator("#rows-cells tr[data-flagged=yes]").count() == flags.count("yes")
        assert f"{flags.count('yes')} row" in page.locator("#results-summary").inner_text()
    page.click("nav a[href='#threshold']")
    page.click("#flag-reset")
    page.click("nav a[href='#ask']")
    assert cards.locator(".flag:visible").count() == 0


def test_bundles_without_counts_say_so(seen: Seen) -> None:
    """And nothing else is shown."""
    seen.page.select_option("#model", "several")
    seen.page.wait_for_function("() => document.title.startsWith('several')")
    assert "Train it again" in seen.page.locator("#threshold-none").inner_text()
    assert seen.page.locator("#threshold-some").is_hidden()
