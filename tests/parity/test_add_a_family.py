"""docs/how-to/add-a-family.md is a walk that works: its code, run, makes a family that equals the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support.architectures import Architecture
from support.parity import CHECKS, pair_of
from tailtune.models import families

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-family.md"


def test_the_walk_adds_a_family(tmp_path: Path) -> None:
    """Every block of the page runs, in order, and its lines of the parity test pass every check."""
    before = dict(families.FAMILIES)
    names: dict[str, Any] = {}
    try:
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), names)
        added = set(families.FAMILIES) - set(before)
        assert added == {"starcoder2"}
        lines: dict[str, Architecture] = names["lines"]
        assert len(lines) == 2
        for name, architecture in lines.items():
            for check in CHECKS.values():
                check(pair_of(architecture, tmp_path / name))
    finally:
        for name in set(families.FAMILIES) - set(before):
            del names["FAMILIES"][name]
    assert dict(families.FAMILIES) == before


def test_the_files_it_names_are_there() -> None:
    """A walk to a file that moved ends nowhere."""
    root = PAGE.parents[2]
    named = set(re.findall(r"`((?:src|tests|docs)/[\w./]+)`", PAGE.read_text(encoding="utf-8")))
    assert named
    assert not [name for name in named if not (root / name).exists()]
