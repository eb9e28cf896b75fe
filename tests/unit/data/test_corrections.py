"""Labels corrected by hand: in the right rows or not at all, through any spreadsheet, never in the data file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.hostile_texts import hostile_texts
from tailtune.data.cells import guarded, unguarded
from tailtune.data.corrections import CORRECTED, HASH, LABEL, ROW, read_corrections, relabelled, text_hash, write_rows
from tailtune.data.dataset import Dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Split
from tailtune.errors import DataError

HEADER = (ROW, "text", LABEL, CORRECTED, HASH)
LABELS = ("ham", "spam", "ham", "-1", "=1+1")


def data() -> Dataset:
    return dataset_from_lists(["one", "two", "three", "four", "-five"], LABELS)


def parts(test: list[int]) -> Split:
    nothing = np.empty(0, dtype=np.int64)
    return Split(
        train=np.array([at for at in range(5) if at not in test]),
        validation=nothing,
        test=np.array(test, dtype=np.int64),
        unused=nothing,
        groups=np.arange(5),
        kind="grouped",
        seed=0,
    )


def written(path: Path, dataset: Dataset, corrected: dict[int, str]) -> Path:
    """Write a file of corrections as a run does, those of some rows filled in."""
    rows = [
        (str(row), text, label, corrected.get(row, ""), text_hash(text))
        for row, text, label in zip(dataset.rows, dataset.texts, dataset.labels, strict=True)
    ]
    path.write_text(write_rows(HEADER, rows), encoding="utf-8")
    return path


@given(st.text())
@example("'=1")
@example("=cmd|' /C calc'!A0")
@example("'")
@example("''")
def test_a_guarded_cell_is_no_formula_and_reads_back(cell: str) -> None:
    """No cell starts like a formula, and every text comes back as it was."""
    assert guarded(cell)[:1] not in {*"=+-@\t\r\n"}
    assert unguarded(guarded(cell)) == cell


def test_corrections_reach_their_rows(tmp_path: Path) -> None:
    """Two rows change, the others do not; labels like formulas too; what is empty or the same is no change."""
    dataset = data()
    file = written(tmp_path / "doubts.csv", dataset, {1: "spam", 4: "=1+1", 5: "=1+1"})
    changed = relabelled(dataset, parts([1]), file)
    assert changed.labels == ("spam", "spam", "ham", "=1+1", "=1+1")
    assert (changed.texts, changed.rows) == (dataset.texts, dataset.rows)
    finding = changed.findings[-1]
    assert (finding.kind, finding.rows, finding.severity) == ("relabelled", (1, 4), "note")
    assert finding.message == f"2 labels changed as {file} says: rows 1, 4"


def test_corrections_of_test_rows_are_said(tmp_path: Path) -> None:
    """They are applied, and a warning says how many there are."""
    file = written(tmp_path / "doubts.csv", data(), {1: "spam", 2: "ham"})
    finding = relabelled(data(), parts([1]), file).findings[-1]
    assert finding.severity == "warning"
    assert finding.message.endswith("; 1 of them in the test part")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_spreadsheet_may_save_it(tmp_path: Path, delimiter: str) -> None:
    """Another delimiter, no byte order mark, only the needed quotes, further columns, hostile texts."""
    texts = [text for text in hostile_texts() if text.strip()]
    dataset = dataset_from_lists(texts, ["a"] * len(texts))
    with (tmp_path / "edited.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["my notes", *HEADER])
        for row, text in zip(dataset.rows, dataset.texts, strict=True):
            shown = guarded(text).replace("\0", "")
            writer.writerow(["", row, shown, "a", "b" if row % 2 else "", text_hash(text)])
    found = read_corrections(tmp_path / "edited.csv")
    assert {row for row, _ in found} == {row for row in dataset.rows if row % 2}
    assert {(one.label, one.corrected) for one in found.values()} == {("a", "b")}


def test_data_that_changed_are_refused(tmp_path: Path) -> None:
    """Another text at the row, another label there, or no such row: nothing is corrected in the wrong place."""
    file = written(tmp_path / "doubts.csv", data(), {3: "spam"})
    moved = dataset_from_lists(["one", "two", "three!", "four", "-five"], LABELS)
    with pytest.raises(DataError, match=r"doubts.csv:4: row 3 of memory is not there"):
        relabelled(moved, parts([1]), file)
    other = dataset_from_lists(data().texts, ["ham", "spam", "eggs", "-1", "=1+1"])
    with pytest.raises(DataError, match=r"row 3 of memory is labelled 'eggs', expected 'ham'"):
        relabelled(other, parts([1]), file)
    done = dataset_from_lists(data().texts, ["ham", "spam", "spam", "-1", "=1+1"])
    assert relabelled(done, parts([1]), file).findings[-1].rows == ()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("row,label,corrected\n1,ham,spam\n", "no text column 'text_sha256'"),
        ("row,label,corrected,text_sha256\none,ham,spam,x\n", "'one' is no row number"),
        ("row,label,corrected,text_sha256\n1,ham,spam,x\n1,ham,eggs,x\n", "row 1 is corrected twice"),
        ("", "empty"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, lines: str, says: str) -> None:
    """Each says what is wrong, with the line where there is one."""
    (tmp_path / "c.csv").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_corrections(tmp_path / "c.csv")
    with pytest.raises(DataError, match=r"none\.csv"):
        read_corrections(tmp_path / "none.csv")
