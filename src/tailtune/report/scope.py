"""How texts unlike the training texts are told, in words, from the contents of metrics.json; screen and report."""

from __future__ import annotations

from tailtune.report.blocks import Items, Section
from tailtune.report.decisions import counted
from tailtune.report.words import Metrics, part


def scope_lines(metrics: Metrics) -> list[str]:
    """Return what was measured of ``out_of_scope``, a sentence each; none where it was not asked for."""
    found = part(metrics, "out_of_scope")
    lines = []
    if test := part(found, "test"):
        lines.append(
            f"out of scope: what is stranger than 95 % of {found['reference_rows']:,} validation texts is marked, "
            f"{counted(test['marked'])} of the test rows"
        )
    if outside := part(found, "outside"):
        low, high = outside.get("interval") or (outside["auroc"], outside["auroc"])
        lines.append(
            f"texts of no class: {counted(outside['marked'])} are marked; AUROC {outside['auroc']:.4f} "
            f"({low:.3f} to {high:.3f}) against the test rows; where 95 % of these pass, "
            f"{counted(outside['passed'])} do"
        )
    return lines


def scope(metrics: Metrics) -> Section | None:
    """Return the section of the report; None where there is nothing to tell."""
    lines = scope_lines(metrics)
    if not lines:
        return None
    lead = "How unlike the training texts a text is: its place among held-out ones. 0.99 is stranger than 99 % of them."
    return Section(name="scope", title="Texts of no class", lead=lead, blocks=(Items(items=lines),))
