"""The results of bench/service.py as Markdown: what was wanted beside what was measured, then every figure.

Those who are let in wait for at most what may wait, at the offline rate; twice that is the bound of their time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from tailtune.service.limits import Limits

Found = Mapping[str, Any]
Row = tuple[str, str, str, bool]


def table(found: Found) -> str:
    """Return the results; parts that were not measured are left out.

    Args:
        found: The content of bench/results/service.json.
    """
    parts = [_about(found), _wanted(found), _loads(found), _beside(found), _ends(found)]
    return "\n\n".join(part for part in parts if part)


def _about(found: Found) -> str:
    if "machine" not in found or "offline" not in found:
        return ""
    machine, offline = found["machine"], found["offline"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, which the load client shares; {versions}. "
        f"{offline['texts']:,} texts, {offline['tokens'] / offline['texts']:.1f} tokens each."
    )


def _wanted(found: Found) -> str:
    rows = [*_speeds(found), *_overload(found), *_counts(found)]
    lines = [f"| {name} | {want} | {got} | {'yes' if met else '**no**'} |" for name, want, got, met in rows]
    return "\n".join(["|  | wanted | measured | met |", "| :-- | --: | --: | --: |", *lines]) if rows else ""


def _speeds(found: Found) -> Iterator[Row]:
    if part := found.get("sustained"):
        share = part["share_of_offline"]
        yield "sustained rate against the offline one", "at least 0.8", f"{share:.2f}", share >= 0.8
    if part := found.get("half"):
        for name, said in (("p50", "median"), ("mean", "mean"), ("p99", "p99")):
            times = part[f"p99_by_single_{name}"]
            yield f"p99 at half load by the {said} of a single text", "below 3", f"{times:.2f}", times < 3
    if (part := found.get("beside")) and part["times"]:
        yield "rate in time against the plain service", "at least 3", f"{part['times']:.1f}", part["times"] >= 3
    if part := found.get("kill"):
        more = median(part["again_seconds"]) - median(part["first_start_seconds"])
        yield "start after SIGKILL less a start before, s", "about 0", f"{more:+.2f}", more < 1


def _overload(found: Found) -> Iterator[Row]:
    part, offline = found.get("overload"), found.get("offline")
    if not part or not offline:
        return
    most = max(offline["per_second_apart"], offline["per_second_together"])
    bound = 2 * Limits().waiting_tokens / (most * offline["tokens"] / offline["texts"])
    p99, grown = part["answer_seconds"]["p99"], (part["rss_end"] - part["rss_after_a_minute"]) / 1e6
    without = part["without_retry_after"]
    yield "ten times the load: p99 of the answered, s", f"at most {bound:.1f}", f"{p99:.2f}", p99 <= bound
    yield "ten times the load: 429 without Retry-After", "0", f"{without:,}", without == 0
    yield "ten times the load: MB at the end less those after a minute", "at most 20", f"{grown:.1f}", grown <= 20


def _counts(found: Found) -> Iterator[Row]:
    loads = [found[name] for name in ("single", "sustained", "half", "overload") if name in found]
    if loads:
        wrong, lost = (sum(part[name] for part in loads) for name in ("wrong", "lost"))
        answered = sum(part["answered"] for part in loads)
        yield f"wrong answers of {answered:,}", "0", f"{wrong:,}", wrong == 0
        yield "lost requests", "0", f"{lost:,}", lost == 0
    if part := found.get("stop"):
        lost = part["accepted_lost"]
        yield "SIGTERM under load: accepted requests lost", "0", f"{lost:,}", lost == 0


def _loads(found: Found) -> str:
    lines = [
        "| load | requests/s | answered/s | refused | p50 ms | p99 ms | most ms |",
        "| :-- | --: | --: | --: | --: | --: | --: |",
    ]
    if part := found.get("offline"):
        apart, together = part["per_second_apart"], part["per_second_together"]
        lines.append(f"| offline, chunks of 256, one batch per core | | {apart:.1f} | | | | |")
        lines.append(f"| offline, chunks of 256, one batch on {part['threads']} threads | | {together:.1f} | | | | |")
        for threads, times in part["single_seconds"].items():
            name = f"offline, one text at a time, {threads} thread{'s' if threads != '1' else ''}"
            lines.append(f"| {name} | | {1 / times['mean']:.1f} | | {_times(times)} |")
    named = {"single": "one connection", "sustained": "", "half": "half of that", "overload": "ten times that"}
    for key, name in named.items():
        if part := found.get(key):
            many = f"{part.get('connections')} connections"
            refused = ", ".join(f"{count:,} x {status}" for status, count in part["refused"].items())
            asked, times = part["sent"] / part["seconds"], _times(part["answer_seconds"])
            lines.append(f"| {name or many} | {asked:.1f} | {part['per_second']:.1f} | {refused} | {times} |")
    if (part := found.get("overload")) and part["health_seconds"].get("p50"):
        failed = f"{part['health_failed']} failed"
        lines.append(f"| GET /health meanwhile | | | {failed} | {_times(part['health_seconds'])} |")
        lines.append(f"| the refusals meanwhile | | | | {_times(part['refusal_seconds'])} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _times(seconds: Found) -> str:
    if not seconds["count"]:
        return "- | - | -"
    return " | ".join(f"{1000 * seconds[name]:,.1f}" for name in ("p50", "p99", "max"))


def _beside(found: Found) -> str:
    part = found.get("beside")
    if not part:
        return ""
    named = {
        "tailtune": f"`tailtune serve`, depth {part['depth']} of {part['blocks_total']}, {part['precision']}",
        "plain_def": "FastAPI + pipeline, whole depth, `def`",
        "plain_async": "FastAPI + pipeline, whole depth, `async def`",
    }
    target = f"{part['target_seconds']:g} s"
    lines = [f"| service | requests/s with p99 within {target} | 16 connections, answers/s |", "| :-- | --: | --: |"]
    lines += [
        f"| {name} | {part[key]['rate']:.1f} | {part[key]['closed_per_second']:.1f} |" for key, name in named.items()
    ]
    return "\n".join(lines)


def _ends(found: Found) -> str:
    said = []
    if part := found.get("overload"):
        sizes = {60 * minute: _size_at(part["rss"], 60 * minute) for minute in (0, 1, 2, 4, 6, 8, 9, 10)}
        told = ", ".join(f"{size / 1e6:.0f} ({seconds // 60} min)" for seconds, size in sizes.items() if size)
        said.append(f"Memory at ten times the load, MB: {told}.")
    if part := found.get("stop"):
        inside, later = _outcomes(part["inside"]), _outcomes(part["later"])
        said.append(
            f"SIGTERM under load: of the requests inside {inside}; of those sent at that moment or later {later}; "
            f"gone after {part['seconds_to_stop']:.1f} s, exit code {part['exit_code']}."
        )
    if part := found.get("kill"):
        said.append(
            f"First answer {_seconds(part['first_start_seconds'])} after a start, "
            f"{_seconds(part['again_seconds'])} after a start that follows SIGKILL under load."
        )
    return " ".join(said)


def _size_at(sizes: Sequence[Sequence[float]], seconds: float) -> float | None:
    """The first size from then on; the last one is taken a moment before the end."""
    return next((size for at, size in sizes if at >= seconds - 5), None)


def _seconds(values: Sequence[float]) -> str:
    return f"{median(values):.1f} s ({min(values):.1f} to {max(values):.1f})"


def _outcomes(counts: Found) -> str:
    named = {"lost": "closed without an answer", "unaccepted": "met nobody"}
    return ", ".join(f"{count:,} {named.get(name, name)}" for name, count in counts.items()) or "none"
