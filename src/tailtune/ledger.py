"""The ledger of this machine: which test parts have been read, when, and by which run.

A test part that is read again and again chooses the run that suits it by chance. One line of JSON per reading in
``ledger.jsonl`` below the cache home, with hashes and no text; each run and bundle holds its own record besides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tailtune.data.marks import DIGITS, Sketch, part_hash, row_marks
from tailtune.errors import SetupError
from tailtune.evaluate.selection import best_of
from tailtune.progress import Say
from tailtune.storage import append_line, cache_home, canonical_json, locked, sha256_bytes

Purpose = Literal["train", "folds", "evaluate"]

VERSION = 1
# In a run folder: marks of its texts, part by part. Not in the bundle: who guesses a text could confirm it.
SEEN = "seen.json"
# A part has been read before where an earlier reading holds most of its rows; less is told as a share.
MOST = 0.5
# Earlier readings named in metrics.json, the latest.
_NAMED = 20
# Settings that change no number.
_IDLE = {
    *("data", "validation", "test", "out", "like", "quiet", "cache", "threads", "device", "baselines"),
    *("measure_unused", "out_of_scope", "out_of_scope_texts"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One reading.

    Attributes:
        date: When, ISO 8601 in UTC.
        purpose: ``train``, ``folds`` or ``evaluate``.
        run: Name of the run folder, or of the bundle.
        settings: Hash of what was tried: equal for a mere repetition.
        part: Hash of the rows, in any order.
        rows: How many.
        sketch: Of their marks.
    """

    date: str
    purpose: str
    run: str
    settings: str
    part: str
    rows: int
    sketch: Sketch

    def as_json(self) -> dict[str, Any]:
        """Return the entry without its marks."""
        return {
            "date": self.date,
            "purpose": self.purpose,
            "run": self.run,
            "settings": self.settings,
            "part": self.part,
            "rows": self.rows,
        }

    def line(self) -> str:
        """Return the line of the ledger."""
        held = {"distinct": self.sketch.distinct, "marks": "".join(self.sketch.marks)}
        return json.dumps({"v": VERSION, **self.as_json(), **held})


def ledger_file() -> Path:
    """Return where the ledger lies."""
    return cache_home() / "ledger.jsonl"


def entries() -> list[Entry]:
    """Return every reading in the ledger, in the order of writing; lines that cannot be read are left out.

    Raises:
        SetupError: If the file is there and cannot be opened.
    """
    try:
        content = ledger_file().read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SetupError(f"{ledger_file()} cannot be read: {error.strerror}") from error
    return list(_parsed(content))


def _parsed(content: str) -> Iterator[Entry]:
    for line in content.splitlines():
        try:
            held = json.loads(line)
            marks = held["marks"]
            yield Entry(
                **{name: str(held[name]) for name in ("date", "purpose", "run", "settings", "part")},
                rows=int(held["rows"]),
                sketch=Sketch(
                    marks=tuple(marks[at : at + DIGITS] for at in range(0, len(marks), DIGITS)),
                    distinct=int(held["distinct"]),
                ),
            )
        except (ValueError, KeyError, TypeError):  # torn by a crash, or of a later version
            continue


def settings_hash(config: Mapping[str, Any], *facts: str) -> str:
    """Return 16 hexadecimal digits: equal for settings that give the same numbers.

    Args:
        config: Of the run, ready for JSON.
        facts: What else the numbers depend on: the hash of the data.
    """
    kept = {name: value for name, value in config.items() if name not in _IDLE}
    return sha256_bytes(canonical_json([kept, *facts]).encode())[:16]


def record(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    date: str,
    purpose: Purpose,
    run: str,
    settings: str,
    say: Say,
) -> dict[str, Any]:
    """Return ``reading`` of metrics.json after writing the reading down; a ledger that cannot be had is one note.

    Args:
        texts: Of the test part, n >= 1.
        labels: Its labels.
        date: When, ISO 8601.
        purpose: What for.
        run: Name of the run folder or bundle.
        settings: See ``settings_hash``.
        say: Told what people should know.
    """
    marks = row_marks(texts, labels)
    entry = Entry(
        date=date,
        purpose=purpose,
        run=run,
        settings=settings,
        part=part_hash(marks),
        rows=len(marks),
        sketch=Sketch.of(marks),
    )
    try:
        with locked(ledger_file().with_suffix(".lock")):
            known = entries()
            append_line(ledger_file(), entry.line())
    except (SetupError, OSError) as error:  # some file systems have no locks
        say(f"this reading of the test part could not be recorded: {error}")
        return {**_met(entry, []), "recorded": False}
    return {**_met(entry, known), "recorded": True}


def _met(entry: Entry, known: Sequence[Entry]) -> dict[str, Any]:
    """What earlier readings have to do with this one."""
    shares = [(old, 1.0 if old.part == entry.part else entry.sketch.share_in(old.sketch)) for old in known]
    again = [(old, share) for old, share in shares if share >= MOST]
    partial = [share for _, share in shares if 0 < share < MOST]
    return {
        "nth": len(again) + 1,
        "choices": len({entry.settings, *(old.settings for old, _ in again)}),
        "part": entry.part,
        "settings": entry.settings,
        "earlier": [
            {"date": old.date, "run": old.run, "purpose": old.purpose, "share": round(share, 4)}
            for old, share in again[-_NAMED:]
        ],
        "partial": {"readings": len(partial), "largest_share": round(max(partial, default=0.0), 4)},
    }


def with_worth(reading: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``reading`` with ``best_of``, what the accuracy is worth if it was chosen, where there was a choice.

    Args:
        reading: From ``record``.
        test: The scores; without ``accuracy`` there is nothing to say.
    """
    if reading["choices"] < 2 or test.get("accuracy") is None:
        return dict(reading)
    correct = round(test["accuracy"] * test["rows"])
    return {**reading, "best_of": best_of(correct, test["rows"], reading["choices"])}


def bundle_record(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a bundle keeps of its reading: it goes where the ledger does not."""
    test = metrics["test"]
    kept = {name: test["reading"][name] for name in ("nth", "choices", "part", "settings")}
    return {"read_at": test["read_at"], "rows": test["rows"], **kept}


def overlap(path: Path, texts: Sequence[str]) -> dict[str, int]:
    """Return how many of ``texts`` each part of a run holds too, case, digits, marks and blanks aside.

    Args:
        path: A run folder or the bundle inside; empty for a bundle that stands alone, or a run that kept no marks.
        texts: To look for.
    """
    parts = seen_marks(path)
    marks = row_marks(texts)
    return {name: sum(mark in held for mark in marks) for name, held in parts.items()}


def seen_marks(path: Path) -> dict[str, frozenset[str]]:
    """Return the marks of the texts of each part of a run, name -> marks.

    Args:
        path: A run folder or the bundle inside; empty for a bundle that stands alone, or a run that kept no marks.
    """
    try:
        seen = json.loads((run_folder(path) / SEEN).read_text(encoding="utf-8"))
        return {str(name): frozenset(marks) for name, marks in seen.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def run_folder(path: Path) -> Path:
    """Return the run folder that ``path`` is, or is the bundle of; it need not be there."""
    return path if (path / "bundle").is_dir() else path.resolve().parent
