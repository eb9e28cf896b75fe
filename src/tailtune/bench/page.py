"""docs/performance.md from the results: a pure function of the JSON files, so that no figure there is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError
from tailtune.report.markdown import escape, table

Results = Mapping[str, Mapping[str, Any]]

TITLES = {
    "chapter": "(a) the chapter's loop, padded to the longest text",
    "trainer": "(b) the reference library's trainer, dynamic padding, grouped by length",
    "same": "(c) Tailtune, the maths of (a) without its pads",
    "auto": "(d) Tailtune, `auto`",
    "oracle": "the maths of (c) on the reference library's modules",
}
ENGINE_TITLES = {
    "pipeline": "(f) the reference library's pipeline",
    "onnx-fp32": "(g) onnxruntime, fp32",
    "onnx-int8": "(g) onnxruntime, int8",
    "tailtune-equal": "(h) Tailtune, all blocks",
    "tailtune-chosen": "(h) Tailtune, as `auto` chose",
}
_ABSENT = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One thing that the bench has to show.

    Attributes:
        what: In words.
        wanted: In words.
        got: In words.
        met: Whether it does.
    """

    what: str
    wanted: str
    got: str
    met: bool


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results in ``folder`` by part; parts that were not measured are absent.

    Raises:
        ConfigError: If there are none.
    """
    files = {part: folder / f"{part}.json" for part in ("training", "inference", "pass")}
    found = {part: json.loads(file.read_text(encoding="utf-8")) for part, file in files.items() if file.is_file()}
    if not found:
        raise ConfigError(f"--out {folder}: no results of the bench", hint="`tailtune bench` writes them")
    return found


def render(results: Results) -> str:
    """Return the page.

    Args:
        results: At least one part.
    """
    sections = [_opening(results)]
    if targets := list(all_targets(results)):
        rows = [[escape(t.what), escape(t.wanted), escape(t.got), "yes" if t.met else "**no**"] for t in targets]
        sections += ["## Targets", table(["", "wanted", "measured", "met"], rows)]
    for part, section in (("training", _training), ("inference", _inference), ("pass", _pass)):
        if part in results:
            sections += section(results[part])
    return "\n\n".join(sections) + "\n"


def all_targets(results: Results) -> Iterator[Target]:
    """Yield what can be judged from the parts that are there."""
    if "training" in results:
        yield from _training_targets(results["training"])
    if "inference" in results:
        yield from _inference_targets(results["inference"])


def _training_targets(part: Mapping[str, Any]) -> Iterator[Target]:
    ratios, runs, agreement = part["ratios"], part["runs"], part["agreement"]
    for name, other, least in (("same", "chapter", 15), ("same", "trainer", 9), ("auto", "chapter", 30)):
        got = ratios[name][other]
        what = f"{TITLES[name].split()[0]} against {TITLES[other].split()[0]}, end to end"
        yield Target(what=what, wanted=f"at least {least} x", got=f"{got:.1f} x", met=got >= least)
    apart, worst = agreement["test_rows_apart"], agreement["largest_loss_difference"]
    yield Target(what="(c) against its oracle, test rows", wanted="at most 1", got=f"{apart}", met=apart <= 1)
    over = f"{worst:.1e} over {agreement['steps']} steps"
    yield Target(what="(c) against its oracle, loss curve", wanted="within 1e-3", got=over, met=worst <= 1e-3)
    mine, same = (runs[name]["score"]["accuracy"] for name in ("auto", "same"))
    got = f"{100 * mine:.2f} against {100 * same:.2f} %"
    yield Target(what="accuracy of (d)", wanted="not below (c)", got=got, met=mine >= same)


def _inference_targets(part: Mapping[str, Any]) -> Iterator[Target]:
    for name, least in (("tailtune-equal", 2), ("tailtune-chosen", 4)):
        got = part["against_pipeline"][name]
        what = f"{ENGINE_TITLES[name]}, against (f), batched".replace("`", "")
        yield Target(what=what, wanted=f"at least {least} x", got=f"{got:.1f} x", met=got >= least)
    median = part["engines"]["tailtune-chosen"]["single_ms"]["median"]
    what = "(h) as auto chose, one text, median"
    yield Target(what=what, wanted="below 20 ms", got=f"{median:.1f} ms", met=median < 20)


def _opening(results: Results) -> str:
    lines = ["# Performance", "Written by `tailtune bench --table` from `bench/results`; `make bench` measures again."]
    seen: set[str] = set()
    for part, result in results.items():
        said = _about(result)
        if said not in seen:
            seen.add(said)
            lines.append(said)
        if result["quick"]:
            lines.append(f"**{part}: a quick run on few texts, made to see that everything works; not to be quoted.**")
    return "\n\n".join(lines)


def _about(result: Mapping[str, Any]) -> str:
    machine, data = result["machine"], result["data"]
    versions = machine["versions"]
    shown = ("tailtune", "torch", "transformers", "onnxruntime", "python")
    packages = ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)
    return (
        f"{escape(machine['processor'])}, {machine['cores']} cores, {machine['threads']} threads; {escape(packages)}. "
        f"Model {escape(result['model'])}; data {escape(data['name'])} (sha256 {data['sha256'][:12]}), the chapter's "
        f"split: {data['training']:,} / {data['validation']:,} / {data['test']:,} texts."
    )


def _training(part: Mapping[str, Any]) -> list[str]:
    runs, base = part["runs"], {name: part["runs"][name]["seconds"] for name in ("chapter", "trainer")}
    rows = [
        [
            _title(name, run),
            _seconds(run["seconds"]),
            *(f"{base[other] / run['seconds']:,.1f}" for other in ("chapter", "trainer")),
            f"{run['tokens_per_second']:,.0f}",
            f"{run['peak_mib']:,.0f}",
            _accuracy(run["score"]),
        ]
        for name, run in runs.items()
    ]
    header = ["run", "seconds", "(a) / this", "(b) / this", "tokens/s", "peak MiB", "test accuracy"]
    stages = [[_title(name, run), _stages(run["stages"])] for name, run in runs.items()]
    return ["## Training", table(header, rows), _training_notes(part), table(["run", "seconds per stage"], stages)]


def _training_notes(part: Mapping[str, Any]) -> str:
    runs = part["runs"]
    chapter, auto = runs["chapter"], runs["auto"]
    bare = chapter["seconds"] - chapter["stages"]["evaluations"]
    ratios = (f"({letter}) {bare / runs[name]['seconds']:.1f} x" for letter, name in (("c", "same"), ("d", "auto")))
    notes = [
        "Seconds from reading the model to the fitted classifier, imports left out. Tokens are those of training and "
        f"validation texts, each counted once ({part['tokens']:,}).",
        "(a) evaluates on its way and at the end, on all three parts, as the chapter does; all of it is counted. "
        f"Without its evaluations it takes {_seconds(bare)} s, against that: {', '.join(ratios)}.",
    ]
    sampled = [TITLES[name].split()[0] for name in ("chapter", "trainer") if runs[name]["sample"]]
    if sampled:
        notes.append(
            f"{' and '.join(sampled)} are sampled, half before and half after our own runs: seconds of a step times "
            "the number of steps. They end with no classifier; the accuracy of this maths is that of its oracle, "
            "the last row, which trains without pads on the reference library's modules in the order of (c)."
        )
    notes.append(f"(d) is a {auto['method']} at depth {auto['depth']} in {auto['precision']}.")
    return " ".join(notes)


def _inference(part: Mapping[str, Any]) -> list[str]:
    header = [
        "engine", "one text: median ms", "p95 ms", "together: texts/s", "/ (f)", "tokens/s", "load s", "peak MiB",
        "accuracy", "largest difference",
    ]  # fmt: skip
    rows, left_out = [], []
    for name, title in ENGINE_TITLES.items():
        found = part["engines"][name]
        if "skipped" in found:
            left_out.append(f"{title} was left out: {escape(found['skipped'])}.")
            continue
        rows.append([title, *_engine_cells(found, part["against_pipeline"][name])])
    notes = (
        "All but the last row are one classifier, that of (c); the last column says how far its probabilities lie from "
        "those of (h). The pipeline and onnxruntime answer together in batches of 8, padded to the longest text. "
        "Medians over rounds in which the engines take turns, each time in a fresh process."
    )
    return ["## Inference", table(header, rows), " ".join([notes, *left_out])]


def _engine_cells(found: Mapping[str, Any], ratio: float) -> list[str]:
    difference = found.get("largest_difference")
    return [
        f"{found['single_ms']['median']:.1f}",
        f"{found['single_ms']['p95']:.1f}",
        f"{found['batched']['texts_per_second']:,.1f}",
        f"{ratio:.2f}",
        f"{found['batched']['tokens_per_second']:,.0f}",
        f"{found['load_seconds']:.1f}",
        f"{found['peak_mib']:,.0f}",
        _accuracy(found["score"]),
        _ABSENT if difference is None else f"{difference:.1g}",
    ]


def _pass(part: Mapping[str, Any]) -> list[str]:
    shapes = ", ".join(f"{outputs} x {inputs}" for outputs, inputs in part["shapes"])
    alone = part["products_gflops"]
    return [
        "## Backbone pass",
        f"{part['tokens']:,} tokens in {part['batches']} packed batches through {part['blocks']} blocks, fp32: "
        f"{part['pass_gflops']:.0f} GFLOP/s counting its matrix products only. These products alone ({shapes}; "
        f"{part['rows']:,} rows) in the same process: {alone['before']:.0f} GFLOP/s just before, {alone['after']:.0f} "
        f"just after, the fastest of several. The pass, attention and norms included, reaches **{part['share']:.0%}** "
        "of the better one.",
    ]


def _title(name: str, run: Mapping[str, Any]) -> str:
    return TITLES[name] if name in TITLES else f"(e) {escape(run['title'])}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _stages(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_seconds(value)}" for name, value in stages.items())


def _accuracy(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "see below"
    return f"{100 * score['accuracy']:.2f} % ({score['correct']} of {score['tests']})"
