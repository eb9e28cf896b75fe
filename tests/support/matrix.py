"""The matrix in docs/models.md, made from the lines that the parity tests run over.

``PYTHONPATH=tests:src python tests/support/matrix.py`` writes it anew; a test says when it is stale.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from support.architectures import ARCHITECTURES
from support.parity import CHECKS
from tailtune.models.families import FAMILIES, family_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def families_table() -> str:
    """Return the table of families: ``model_type``, variants that are compared, and what is compared."""
    rows = ["| family | `model_type` | variants compared | kind |", "|---|---|---|---|"]
    for title, group in groupby(ARCHITECTURES.values(), key=lambda architecture: architecture.family):
        architectures = list(group)
        family = family_of({"model_type": architectures[0].model_type})
        assert family is not None
        variants = [architecture.variant for architecture in architectures if architecture.variant]
        kind = "encoder" if architectures[0].encoder else "decoder"
        types = ", ".join(f"`{name}`" for name in family.model_types)
        rows.append(f"| {title} | {types} | {'; '.join(variants) or '-'} | {kind} |")
    checks = "\n".join(f"- {title}" for title in CHECKS)
    count = len(ARCHITECTURES)
    return (
        "\n".join(rows) + f"\n\nEach of the {count} lines and variants, {len(FAMILIES)} families, passes:\n\n{checks}\n"
    )


TABLES = {"families": families_table}


def rendered(page: str) -> str:
    """Return the page with every table between its marks made anew."""
    for name, table in TABLES.items():
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, mark, after = rest.partition(f"<!-- /{name} -->")
        assert mark, f"no marks for {name}"
        page = f"{before}<!-- {name} -->\n{table()}{mark}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
