"""How a run's settings were chosen where a sweep chose them, in words, from the contents of metrics.json.

The text is plain: the report escapes it.
"""

from __future__ import annotations

from tailtune.report.words import Metrics, one_line, part


def swept_line(metrics: Metrics) -> str:
    """Return one sentence: chosen among how many settings, and what that does to which number; "" without a sweep."""
    swept = part(metrics, "sweep")
    if not isinstance(settings := swept.get("settings"), int):
        return ""
    varied = ", ".join(one_line(name).replace("_", "-") for name in swept.get("varied") or [])
    return (
        f"The settings were chosen among {settings:,} settings by a sweep on validation"
        f"{f' (varied: {varied})' if varied else ''}; the validation scores flatter therefore, the test scores do not: "
        "the sweep did not read the test part."
    )
