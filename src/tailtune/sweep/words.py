"""What a sweep came to, in sentences, for screen and report; from what ``results.summary`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailtune.report.words import bounds_of, one_line

TITLES: Mapping[str, str] = {"log-loss": "log loss", "accuracy": "accuracy", "macro-f1": "macro F1"}
_STATES: Mapping[str, str] = {
    "complete": "completed",
    "pruned": "ended early",
    "contradiction": "contradictory",
    "diverged": "diverged",
    "failed": "failed",
    "interrupted": "interrupted",
}


def trials_line(result: Mapping[str, Any]) -> str:
    """Return how many trials there were and how they ended."""
    counts = result["counts"]
    told = [f"{counts[state]:,} {words}" for state, words in _STATES.items() if counts.get(state)]
    return f"{sum(counts.values()):,} trials: {', '.join(told) or 'none'}"


def verdict(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return one sentence on whether the sweep found something better than what there was, and its tone."""
    best, worth = result["best"], result["worth"] or {}
    title = TITLES[result["objective"]]
    value = f"{title} {best['scores'][result['objective']]:.4f}"
    if best["trial"] is None:
        return f"No trial was better than the settings as they are: {value} on validation.", "even"
    if "gain" not in worth:
        return f"Best on validation: trial {best['trial']}, {value}.", "even"
    low, high = worth["gain_interval"]
    told = (
        f"corrected for the choice, the gain in {title} over the settings as they were is {worth['gain']:+.4f} "
        f"({low:+.4f} to {high:+.4f})"
    )
    if low > 0:
        return f"Trial {best['trial']} is better: {told}.", "good"
    return f"Trial {best['trial']} is best on validation, but that may be chance: {told}.", "even"


def worth_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what the best score is worth: among how many it was chosen, and what is left when that is taken off."""
    best, worth, count = result["best"], result["worth"], result["settings_compared"]
    title, rows = TITLES[result["objective"]], result["rows"]["validation"]
    early = result["counts"].get("pruned", 0)
    lines = [
        f"{count:,} settings were compared on the same {rows:,} validation rows, and the best was kept: its {title} "
        f"there, {best['scores'][result['objective']]:.4f}, flatters."
        + (f" {early:,} more were ended early by these rows." if early else "")
    ]
    if worth is not None:
        bounds = bounds_of(worth["interval"])
        lines.append(
            f"Corrected for having been chosen: {title} {worth['corrected']:.4f} ({bounds}), {worth['optimism']:.4f} "
            "worse: rows are drawn again and again, the best setting on those drawn is judged on the others."
        )
        lines.append(
            "That covers the choice among settings alone: within a trial a tail's epoch and a probe's depth were "
            "chosen on these rows too."
        )
    elif result["objective"] == "macro-f1":
        lines.append("Macro F1 is no mean over rows, so how much it flatters is not told.")
    lines.append(
        "The sweep did not read the test part: only a run trained with these settings tells what they are worth."
    )
    return lines


def varied_text(varied: Mapping[str, Any]) -> str:
    """Return settings and their values on one line."""
    told = [f"{name.replace('_', '-')} {value_text(value)}" for name, value in varied.items()]
    return ", ".join(told) or "nothing varied"


def value_text(value: Any) -> str:
    """Return one value of a setting, numbers to four digits."""
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else one_line(value)
