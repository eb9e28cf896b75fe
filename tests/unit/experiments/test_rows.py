"""The rows against what the book prints: counts, figures, flaws."""

from __future__ import annotations

import pytest

from tailtune.errors import ConfigError
from tailtune.experiments.rows import EXERCISES, ROWS, all_rows, find_rows
from tailtune.experiments.settings import SIZES, Row

# Right answers of 300 in rows 1 to 19, from the figures printed.
COUNTS = (285, 225, 216, 295, 290, 254, 290, 295, 296, 281, 290, 295, 235, 294, 295, 295, 286, 285, 289)


def numbers(rows: tuple[Row, ...]) -> list[str]:
    return [row.number for row in rows]


def test_nineteen_rows_with_the_books_counts() -> None:
    """Each of the book's rows has its figures for the bonus split; those beside them have none for it."""
    book = [row for row in ROWS if not row.corrected]
    assert numbers(tuple(book)) == [str(number) for number in range(1, 20)]
    assert tuple(row.published["bonus"].correct for row in book) == COUNTS
    assert not any("bonus" in row.published for row in ROWS if row.corrected)


def test_figures_are_shares_with_wilson_intervals() -> None:
    """95.00 % of 300 is 91.9 to 96.9; of 98.67 % it is 96.6 to 99.5."""
    by_number = {row.number: row.published["bonus"] for row in ROWS if not row.corrected}
    assert by_number["1"].test == pytest.approx(0.95)
    assert by_number["1"].interval == pytest.approx((0.919, 0.969), abs=5e-4)
    assert by_number["9"].interval == pytest.approx((0.966, 0.995), abs=5e-4)


def test_the_impossible_figure_is_kept_and_said() -> None:
    """The one validation figure that 149 texts cannot give is row 8's, and its row says so."""
    printed = {row.number: row.published["bonus"].validation for row in ROWS if "bonus" in row.published}
    impossible = [number for number, share in printed.items() if abs(round(share * 149) / 149 - share) > 6e-5]
    assert impossible == ["8"]
    assert "148 are 99.33 %" in find_rows(["8"])[0].flaw


def test_broken_rows_say_what_is_wrong() -> None:
    """Rows 3, 6, 8, 9, 11 and 18."""
    flaws = {row.number: row.flaw for row in ROWS}
    assert "exit code 2" in flaws["9"]
    assert "never used" in flaws["18"]
    assert all("too low" in flaws[number] for number in ("3", "6", "11"))


def test_row_18_is_row_1() -> None:
    """The flag changes no setting, so there is none to differ."""
    first, ignored = (next(row for row in ROWS if row.number == number) for number in ("1", "18"))
    assert ignored.setting == first.setting


def test_every_other_row_differs_from_every_other() -> None:
    """But for row 18 no two rows are one experiment."""
    settings = [row.setting for row in ROWS if row.number != "18"]
    assert len(set(settings)) == len(settings)


def test_names_and_numbers_are_distinct() -> None:
    """So each word that is typed means one row."""
    words = [word for row in all_rows() for word in (row.name, row.number)]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["3"], ["3", "3b"]),
        (["3b"], ["3b"]),
        (["head-only"], ["3"]),
        (["16", "1"], ["1", "16"]),
        (["6.1"], ["1", "13"]),
        (["exercise-6.3"], ["1", "2"]),
        ([], numbers(ROWS)),
    ],
)
def test_rows_are_found(asked: list[str], expected: list[str]) -> None:
    """A number means the book's row and what stands beside it; the order is that of the table."""
    assert numbers(find_rows(asked)) == expected


def test_imdb_rows_are_asked_for_by_one_word() -> None:
    """They run on a split of their own and are not part of the table of 19."""
    rows = find_rows(["imdb"])
    assert len(rows) == 9
    assert {split for row in rows for split in row.splits} == {"imdb"}


def test_an_unknown_row_is_refused() -> None:
    """It is named."""
    with pytest.raises(ConfigError, match="--rows 20: no such experiment"):
        find_rows(["1", "20"])


def test_exercises_and_sizes_name_rows() -> None:
    """Each exercise names rows there are; sizes are four."""
    known = set(numbers(ROWS))
    assert {number for pair in EXERCISES.values() for number in pair} <= known
    assert {row.setting.size for row in ROWS} == set(SIZES)
