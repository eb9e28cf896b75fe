"""Cells of a CSV file that people open in a spreadsheet: none is run as a formula, and every one can be read back."""

from __future__ import annotations

# What spreadsheets take for the start of a formula, full-width twins and leading white space included. The apostrophe
# is among them so that a guarded cell and one that began with it anyway stay apart.
_STARTS = frozenset("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")


def guarded(cell: str) -> str:
    """Return ``cell`` with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell[:1] in _STARTS and cell else cell


def unguarded(cell: str) -> str:
    """Return the cell that ``guarded`` was given."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _STARTS and len(cell) > 1 else cell
