"""The ledger counts readings of the same rows, keeps no text, survives torn lines and never stops a run."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.texts import messages
from tailtune.ledger import bundle_record, entries, ledger_file, overlap, record, settings_hash, with_worth

TEXTS, LABELS = messages(60)


def _read(texts: list[str] = TEXTS, labels: list[str] = LABELS, settings: str = "s0", **more: Any) -> dict[str, Any]:
    known = {"date": "2026-01-02T03:04:05+00:00", "purpose": "train", "run": "run-1", "say": _quiet}
    return record(texts, labels, settings=settings, **{**known, **more})


def _quiet(note: str) -> None:
    raise AssertionError(note)


def test_readings_of_the_same_rows_are_counted_in_any_order() -> None:
    """Other settings are other choices, the same settings again are none; other rows are another part."""
    assert (_read()["nth"], _read(settings="s1")["nth"]) == (1, 2)
    third = _read(TEXTS[::-1], LABELS[::-1], settings="s1")
    assert (third["nth"], third["choices"]) == (3, 2)
    assert [each["share"] for each in third["earlier"]] == [1.0, 1.0]
    elsewhere = _read(*messages(30), run="run-2")
    assert elsewhere["nth"] == 4  # half of those 60 rows, all of these 30: most of this part has been read
    relabelled = ["x" for _ in LABELS]
    assert _read(TEXTS, relabelled)["nth"] == 1


def test_a_part_that_grew_is_told_by_its_share() -> None:
    """Forty of fifty rows read before count as a reading with a share of 0.8, ten of fifty as a partial one."""
    _read(TEXTS[:40], LABELS[:40])
    grown = _read(TEXTS[:50], LABELS[:50])
    assert (grown["nth"], grown["earlier"][0]["share"]) == (2, 0.8)
    moved = _read(TEXTS[40:], LABELS[40:])
    assert (moved["nth"], moved["partial"]) == (2, {"readings": 0, "largest_share": 0.0})
    mostly_new = _read(TEXTS[30:55], LABELS[30:55])
    assert mostly_new["partial"] == {"readings": 1, "largest_share": 0.4}


def test_no_text_stands_in_the_ledger() -> None:
    """Hashes, counts, a date and a name."""
    _read()
    content = ledger_file().read_text()
    assert not [text for text in TEXTS if text in content or text.split()[0] in content]
    (line,) = content.splitlines()
    assert set(json.loads(line)) == {
        *("v", "date", "purpose", "run", "settings", "part", "rows", "distinct", "marks"),
    }


def test_a_torn_line_loses_itself_alone() -> None:
    """After a crash in the middle of a line the next reading stands on a line of its own, and earlier ones count."""
    _read()
    whole = ledger_file().read_bytes()
    ledger_file().write_bytes(whole + whole[: len(whole) // 2])
    assert _read()["nth"] == 2
    assert len(entries()) == 2
    ledger_file().write_bytes(b"\xff\xfe\n[]\n{}\n" + ledger_file().read_bytes())
    assert _read()["nth"] == 3


def test_readings_side_by_side_are_all_counted() -> None:
    """Eight at once: each is given its own number."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: _read(settings=f"s{number}")["nth"], range(8)))
    assert sorted(found) == list(range(1, 9))


def test_a_home_that_cannot_be_written_is_one_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading goes on, says so once and counts as unrecorded."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("TAILTUNE_HOME", str(blocked / "home"))
    notes: list[str] = []
    found = _read(say=notes.append)
    assert (found["nth"], found["recorded"]) == (1, False)
    assert len(notes) == 1
    assert "could not be recorded" in notes[0]


def test_settings_that_change_no_number_are_no_choice() -> None:
    """Where it is written and on how many threads is no matter; a seed or other data is."""
    config = {"seed": 0, "out": "a", "threads": 1, "quiet": False, "data": "a.csv"}
    first = settings_hash(config, "sha")
    assert settings_hash({**config, "out": "b", "threads": 2, "quiet": True, "data": "b.csv"}, "sha") == first
    assert settings_hash({**config, "seed": 1}, "sha") != first
    assert settings_hash(config, "other") != first


def test_the_worth_of_a_choice_is_told_from_the_second_on() -> None:
    """A single choice has no best; two have, and the bundle keeps the count and the hash."""
    test = {"accuracy": 0.9, "rows": 60, "read_at": "now"}
    first = with_worth(_read(), test)
    assert "best_of" not in first
    second = with_worth(_read(settings="s1"), test)
    assert second["best_of"]["choices"] == 2
    assert "best_of" not in with_worth(_read(settings="s2"), {"rows": 60, "subset_accuracy": 0.5})
    kept = bundle_record({"test": {**test, "reading": second}})
    assert kept == {"read_at": "now", "rows": 60, "nth": 2, "choices": 2, "part": second["part"], "settings": "s1"}


@pytest.mark.parametrize("content", [None, "[", "[]", '{"train": 3}'])
def test_a_run_without_readable_marks_overlaps_nothing(tmp_path: Path, content: str | None) -> None:
    """Old runs, bundles that stand alone and damaged files say nothing rather than stop an evaluation."""
    (tmp_path / "bundle").mkdir()
    if content is not None:
        (tmp_path / "seen.json").write_text(content)
    assert overlap(tmp_path, TEXTS) == {}
