"""The table and the plot: every figure on them is one of the results, or the book's."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from support.experiments import result_of
from tailtune.evaluate.intervals import mean_interval, wilson
from tailtune.experiments.plot import draw, file_name
from tailtune.experiments.rows import ROWS, all_rows
from tailtune.experiments.summary import Section, sections
from tailtune.experiments.table import render

RESULTS = [
    result_of("1", correct=290),
    result_of("1", correct=288, seed=1),
    result_of("13", correct=240),
    result_of("16", correct=294, copied=36),
    result_of("16", correct=297, seed=1, copied=36),
    result_of("16", correct=300, split="chapter"),
]


@pytest.fixture
def bonus() -> Section:
    found = sections(RESULTS, ROWS)
    assert [section.split for section in found] == ["bonus", "chapter"]
    return found[0]


def line(page: str, number: str) -> list[str]:
    """The cells of a row in the first table."""
    found = next(line for line in page.splitlines() if line.startswith(f"| {number} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_seeds_are_put_together(bonus: Section) -> None:
    """Mean, Wilson interval of the mean, interval over seeds, and each."""
    (last_real,) = (summary for summary in bonus.summaries if summary.row.number == "16")
    told = last_real.as_json()
    assert last_real.seeds == (0, 1)
    assert told["test"] == pytest.approx(0.985)
    assert told["test_each"] == [0.98, 0.99]
    assert told["test_interval"] == list(wilson(296, 300))
    assert told["test_interval_over_seeds"] == list(mean_interval([0.98, 0.99]))
    assert told["test_without_copies"] == pytest.approx((258 + 261) / 2 / 264)
    assert told["book"]["test"] == pytest.approx(295 / 300)


def test_rows_stand_against_the_first_with_the_same_seed(bonus: Section) -> None:
    """294 right against 290 of the same 300: four only here, none only there, so p = 2 / 2^4."""
    against = {summary.row.number: summary.against for summary in bonus.summaries}
    assert against["1"] is None
    assert against["2"] is None
    found = against["16"]
    assert found is not None
    assert found.points == pytest.approx(4 / 300)
    assert found.p == 0.125


def test_row_18_shows_row_1(bonus: Section) -> None:
    """One experiment under two names."""
    by_number = {summary.row.number: summary for summary in bonus.summaries}
    assert by_number["18"].results == by_number["1"].results != ()


def test_the_page_shows_book_and_results(bonus: Section) -> None:
    """With intervals beside both; rows that were not run have none of ours, and are told how to run."""
    page = render([bonus])
    assert line(page, "16")[2:5] == ["99.42", "98.66", "98.33 (96.2 to 99.3)"]
    assert line(page, "16")[7] == "98.50 (96.6 to 99.5) ± 6.4"
    assert line(page, "16")[8:] == ["98.30", "0.985", "2", "+1.3, p = 0.12"]
    assert line(page, "13")[7] == "80.00 (75.1 to 84.1)"
    assert line(page, "2")[5:] == ["-"] * 7
    assert "- 2 first position: `tailtune experiments --rows 2 --model gpt2`" in page
    assert "- 8 largest model: weights not at hand; `tailtune models pull gpt2-xl`" in page
    assert "- 6.1, padded to 1,024 tokens: 80.00 beside 96.33 (-16.7 points, p = 1.8e-15)." in page
    assert "- 6.2" not in page
    assert page.endswith("\n")


def test_what_is_wrong_with_the_book_is_said(bonus: Section) -> None:
    """Once each, whether the row was run or not."""
    page = render([bonus])
    flaws = page.partition("## What is wrong")[2]
    for row in ROWS:
        assert (f"- **{row.number}, " in flaws) == bool(row.flaw)


def test_other_data_have_no_figures_of_the_book() -> None:
    """300 messages were tested with in the book; another number means other texts."""
    result = dict(result_of("16", correct=290))
    (section,) = sections([{**result, "test": {**result["test"], "rows": 299}}], ROWS)
    assert not any(summary.published for summary in section.summaries)


def test_models_and_data_have_sections_of_their_own() -> None:
    """What one model did is never beside another's first row."""
    found = sections([*RESULTS, result_of("16", correct=3, model="smollm2-135m")], all_rows())
    assert [(section.model, section.split) for section in found] == [
        ("gpt2", "bonus"),
        ("gpt2", "chapter"),
        ("smollm2-135m", "bonus"),
    ]
    assert all(summary.against is None for summary in found[2].summaries)
    assert len({file_name(section) for section in found}) == 3


def test_the_plot_is_whole_and_has_all_dots(bonus: Section) -> None:
    """A dot of the book's and one of ours in each row that was run, a small one for each seed, intervals for both."""
    root = ElementTree.fromstring(draw(bonus))
    names = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    run = [summary for summary in bonus.summaries if summary.results]
    assert [summary.row.number for summary in run] == ["1", "13", "16", "18"]
    assert all(any(name.startswith(f"{summary.row.number}  ") for name in names) for summary in run)
    dots = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert dots.count("dot other") == 4
    assert dots.count("dot main") == 4 + 2 + 1 + 2 + 2
    lines = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}line")]
    assert lines.count("whisker other") == lines.count("whisker main") == 4


def test_a_plot_needs_nothing_beside_it(bonus: Section) -> None:
    """Its colours are in it, and nothing is loaded."""
    drawn = str(draw(bonus))
    assert "<style>" in drawn
    assert "href" not in drawn
    assert "url(" not in drawn
