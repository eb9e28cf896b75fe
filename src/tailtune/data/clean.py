"""A cleaned copy of labelled texts, and an account of what was done. Never touches what it was made from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from tailtune.data.check import commonest_spellings
from tailtune.data.dataset import Dataset
from tailtune.errors import ConfigError
from tailtune.storage import writing


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """What was written and what was done; row numbers are those of the source.

    Attributes:
        path: The copy.
        rows: How many rows it holds.
        blank: Rows dropped because their text showed nothing.
        copies: Rows dropped because an earlier one has the same text and the same label.
        relabelled: Rows whose label got another spelling.
        spellings: Old spelling -> new one.
    """

    path: Path
    rows: int
    blank: tuple[int, ...]
    copies: tuple[int, ...]
    relabelled: tuple[int, ...]
    spellings: dict[str, str]


def require_new_csv(out: Path, source: Path) -> None:
    """Refuse a place for the copy that holds something, is the source, or does not say that it will be CSV.

    Raises:
        ConfigError: It says which.
    """
    if out.exists() and source.exists() and out.samefile(source):
        raise ConfigError(f"--fix {out} is the data itself", hint="nothing is edited in place: name a new file")
    if out.exists() or out.is_symlink():
        raise ConfigError(f"--fix {out}: exists already", hint="nothing is overwritten: name a new file")
    if out.suffix.casefold() != ".csv":
        raise ConfigError(f"--fix {out}: the copy is CSV", hint="give it a name that ends in .csv")


def write_clean(dataset: Dataset, out: Path) -> Cleaned:
    """Return what was done after writing the cleaned copy of ``dataset`` to ``out``: CSV, UTF-8, every field quoted.

    Blank rows are gone, exact copies with the same label too, and labels that differ in case or blanks have the
    commonest spelling. Everything else is kept, in order: all columns, near duplicates, copies with another label.

    Args:
        dataset: Read with all its columns; its findings name the blank rows.
        out: A new file.

    Raises:
        SetupError: If it cannot be written; nothing is left then.
    """
    best = commonest_spellings(dataset.labels)
    labels = [best[label] for label in dataset.labels]
    copies: list[int] = []
    kept: list[int] = []
    seen: set[tuple[str, str]] = set()
    for at, pair in enumerate(zip(dataset.texts, labels, strict=True)):
        (copies if pair in seen else kept).append(at)
        seen.add(pair)
    with writing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        # Every field quoted: the csv module leaves a bare carriage return unquoted, and readers take it for a line end.
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow([*dataset.names, *dataset.columns])
        for at in kept:
            writer.writerow([dataset.texts[at], labels[at], *(values[at] for values in dataset.columns.values())])
    return Cleaned(
        path=out,
        rows=len(kept),
        blank=tuple(row for finding in dataset.findings if finding.kind == "blank_texts" for row in finding.rows),
        copies=tuple(dataset.rows[at] for at in copies),
        relabelled=tuple(dataset.rows[at] for at, label in enumerate(labels) if label != dataset.labels[at]),
        spellings={label: name for label, name in sorted(best.items()) if label != name},
    )
