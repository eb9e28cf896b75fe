"""docs/performance.md from the results: a pure function of the JSON files, so that no figure there is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
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
# In the order in which they happen.
_STAGES = ("model", "tokens", "scan", "backbone", "method", "steps", "training", "evaluations", "fit")
_ABSENT = "-"
_AGAIN = "`tailtune bench` measures again"


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
        ConfigError: If there are none, or one cannot be read.
    """
    files = {part: folder / f"{part}.json" for part in _SECTIONS}
    found = {part: _read(file) for part, file in files.items() if file.is_file()}
    if not found:
        raise ConfigError(f"--out {folder}: no results of the bench", hint="`tailtune bench` writes them")
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint=_AGAIN) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file} holds no result of the bench, but a {type(found).__name__}", hint=_AGAIN)
    return found


def render(results: Results) -> str:
    """Return the page.

    Args:
        results: At least one part.

    Raises:
        ConfigError: If one lacks what this version of the bench writes; it names the part and the first such key.
    """
    opening = [
        "# Performance",
        "Written by `tailtune bench --table` from `bench/results`; `make bench` measures again.",
    ]
    judged: list[Target] = []
    sections: list[str] = []
    for part in (part for part in _SECTIONS if part in results):
        result = results[part]
        try:
            opening += [said for said in _about(part, result) if said not in opening]
            judged += targets(part, result)
            sections += _SECTIONS[part](result)
        except KeyError as missing:
            message = f"the results of {part} were written by another version of the bench: they lack {missing}"
            raise ConfigError(message, hint=_AGAIN) from missing
    rows = [[escape(t.what), escape(t.wanted), escape(t.got), "yes" if t.met else "**no**"] for t in judged]
    opening += ["## Targets", table(["", "wanted", "measured", "met"], rows)]
    return "\n\n".join([*opening, *sections]) + "\n"


def targets(part: str, result: Mapping[str, Any]) -> list[Target]:
    """Return what one part has to show, and whether it does.

    Args:
        part: Its name.
        result: Its content.
    """
    judges = {"training": _training_targets, "inference": _inference_targets, "pass": _pass_targets}
    return list(judges[part](result))


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


def _pass_targets(part: Mapping[str, Any]) -> Iterator[Target]:
    share = part["share"]
    what = "the pass against its own products alone"
    yield Target(what=what, wanted="at least 75 %", got=f"{share:.0%}", met=share >= 0.75)


def _inference_targets(part: Mapping[str, Any]) -> Iterator[Target]:
    for name, least in (("tailtune-equal", 2), ("tailtune-chosen", 4)):
        got = part["against_pipeline"][name]
        what = f"{ENGINE_TITLES[name]}, against (f), batched".replace("`", "")
        yield Target(what=what, wanted=f"at least {least} x", got=f"{got:.1f} x", met=got >= least)
    median = part["engines"]["tailtune-chosen"]["single_ms"]["median"]
    what = "(h) as auto chose, one text, median"
    yield Target(what=what, wanted="below 20 ms", got=f"{median:.1f} ms", met=median < 20)


def _about(part: str, result: Mapping[str, Any]) -> list[str]:
    """Where and on what it was measured, and a warning where nothing of it is to be quoted."""
    warning = f"**{part}: a quick run on few texts, made to see that everything works; not to be quoted.**"
    return [_machine_and_data(result), *([warning] if result["quick"] else [])]


def _machine_and_data(result: Mapping[str, Any]) -> str:
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
    ordered = [(name, runs[name]) for name in _in_order(runs)]
    rows = [
        [
            _title(name, run),
            _seconds(run["seconds"]),
            *(f"{base[other] / run['seconds']:,.1f}" for other in ("chapter", "trainer")),
            f"{run['tokens_per_second']:,.0f}",
            _millions(run["positions"]),
            f"{run['peak_mib']:,.0f}",
            _accuracy(run["score"]),
        ]
        for name, run in ordered
    ]
    header = [
        "run", "seconds", "(a) / this", "(b) / this", "tokens/s", "positions (millions)", "peak MiB", "test accuracy",
    ]  # fmt: skip
    stages = [[_title(name, run), _stages(run["stages"])] for name, run in ordered]
    return ["## Training", table(header, rows), _training_notes(part), table(["run", "seconds per stage"], stages)]


def _in_order(runs: Mapping[str, Any]) -> list[str]:
    """(a) to (d), the n-grams, the oracle last: a file does not keep the order in which they were measured."""
    named = list(TITLES)
    return [*named[:-1], *sorted(set(runs) - set(named)), named[-1]]


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
        _positions_note(runs, part["ratios"]["same"]),
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


def _positions_note(runs: Mapping[str, Any], ratios: Mapping[str, float]) -> str:
    """What part of a ratio is less work."""
    a, b = (runs[name]["positions"] / runs["same"]["positions"] for name in ("chapter", "trainer"))
    return (
        "Positions are the tokens and pads sent through all blocks, those sent through some of them as that share; the "
        "trained block's backward pass and its steps on stored states are not in them. "
        f"(b) sends {b:.1f} times as many positions through the blocks as (c), (a) {a:.1f} times: at equal rates of "
        f"products (c) would be {b:.1f} and {a:.1f} times faster; it is {ratios['trainer']:.1f} and "
        f"{ratios['chapter']:.1f} times, all that a run does besides included."
    )


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


def _millions(positions: int | None) -> str:
    return _ABSENT if positions is None else f"{positions / 1e6:,.3f}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _stages(stages: Mapping[str, float]) -> str:
    named = [*(name for name in _STAGES if name in stages), *sorted(set(stages) - set(_STAGES))]
    return ", ".join(f"{name} {_seconds(stages[name])}" for name in named)


def _accuracy(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "see below"
    return f"{100 * score['accuracy']:.2f} % ({score['correct']} of {score['tests']})"


_SECTIONS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "training": _training,
    "inference": _inference,
    "pass": _pass,
}
