"""What ``tailtune data check`` found, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tailtune.cli import show

if TYPE_CHECKING:
    from tailtune.data.clean import Cleaned
    from tailtune.data.dataset import Finding
    from tailtune.data.review import Reviewed


def as_json(parts: Sequence[Reviewed], cleaned: Cleaned | None) -> None:
    """Print one object: the part that is learnt from, the other given parts by name, and what cleaning did."""
    training, *others = parts
    value = _part(training)
    if others:
        value["parts"] = {part.name: _part(part) for part in others}
    if cleaned is not None:
        value["fixed"] = {
            "path": str(cleaned.path),
            "rows": cleaned.rows,
            "dropped_blank": list(cleaned.blank),
            "dropped_copies": list(cleaned.copies),
            "relabelled": list(cleaned.relabelled),
            "spellings": cleaned.spellings,
        }
    show.as_json(value)


def for_people(parts: Sequence[Reviewed], cleaned: Cleaned | None) -> None:
    """Print the findings of each part, the worst first, each with what it means and what mends it."""
    for part in parts:
        dataset = part.dataset
        named = "" if len(parts) == 1 else f"{part.name}: "
        show.line(f"{named}{dataset.source}: {len(dataset):,} texts, {len(dataset.classes):,} classes")
        for finding in part.findings:
            show.line(f"- {finding.severity}: {finding.message}")
            for said in _advice(finding):
                show.line(f"    {said}")
    if cleaned is not None:
        for said in _account(cleaned):
            show.line(said)


def _part(part: Reviewed) -> dict[str, Any]:
    said = [
        {
            "kind": found.kind,
            "severity": found.severity,
            "message": found.message,
            "means": found.means,
            "mend": found.mend,
            "rows": list(found.rows),
        }
        for found in part.findings
    ]
    return {**part.dataset.about(), "findings": said}


def _advice(finding: Finding) -> list[str]:
    said = [f"why: {finding.means}"] if finding.means else []
    return [*said, f"mend: {finding.mend}"] if finding.mend else said


def _account(cleaned: Cleaned) -> list[str]:
    from tailtune.data.dataset import name_rows

    def counted(what: str, rows: tuple[int, ...]) -> str:
        return f"- {len(rows)} {what}{f': {name_rows(rows)}' if rows else ''}"

    spelt = ", ".join(f"{old!r} to {new!r}" for old, new in cleaned.spellings.items())
    return [
        f"cleaned copy: {cleaned.path}, {cleaned.rows:,} rows",
        counted("blank rows dropped", cleaned.blank),
        counted("exact copies with the same label dropped", cleaned.copies),
        counted(f"labels respelt{f' ({spelt})' if spelt else ''}", cleaned.relabelled),
    ]
