"""The sections on how the classifier came about and what it costs: pure functions of metrics.json, None if empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailtune.report import plots
from tailtune.report.blocks import Block, Code, Figure, Items, Section, Table
from tailtune.report.losses import descent_line, rate_line, trained_line
from tailtune.report.words import (
    UNPRINTABLE,
    Metrics,
    bounds_of,
    decimals,
    flat,
    labels_of,
    one_line,
    part,
    percent,
    percents,
    plain,
    records,
    value_of,
)

_MOST_CLASSES = 20
# Of a curve of very many steps so many are drawn, evenly spaced: more cannot be told apart, and each takes 11 bytes.
_MOST_POINTS = 300
# A gain over a larger step than this says little on what the next doubling would bring.
_WIDEST_STEP = 3
# A step of so many times the rows counts as a doubling.
_DOUBLING = (1.8, 2.2)


def learning(metrics: Metrics) -> Section | None:
    """Return the score by number of training rows: would more labels help?"""
    needs = ("rows", "accuracy", "interval", "log_loss", "log_loss_interval")
    points = records(metrics, "detail", "learning_curve", "points", needs=needs)
    if len(points) < 2:
        return None
    answer = _more_labels(metrics, points)
    figures = []
    for key, title in (("log_loss", "log loss"), ("accuracy", "accuracy, %")):
        said = "; ".join(f"{each['rows']:,} rows {value_of(each[key])}" for each in points)
        better = "lower is better" if key == "log_loss" else "higher is better"
        svg = plots.learning(points, key, title, said=f"Learning curve, {title}: {said}.")
        name = title.removesuffix(", %")
        figures.append(
            Figure(svg=svg, caption=f"{name.capitalize()} on the validation part ({better}), with its 95 % interval.")
        )
    header = ("training rows", "accuracy", "95 % interval", "log loss", "95 % interval")
    rows = [
        (
            value_of(each["rows"]),
            percent(each["accuracy"]),
            percents(each["interval"]),
            f"{each['log_loss']:.4f}",
            bounds_of(each["log_loss_interval"], 3),
        )
        for each in points
    ]
    table = Table(caption="The same in numbers", header=header, rows=rows)
    return Section(
        name="learning",
        title="Would more labels help?",
        lead=f"{answer} {_probe(metrics)}, fitted again on parts of the training rows, each inside the next. "
        "The part it is judged on helped to choose it, so the level flatters a little; the slope is what counts.",
        blocks=(*figures, table),
        layout="pair",
    )


def _probe(metrics: Metrics) -> str:
    depth = part(metrics, "detail", "learning_curve").get("depth")
    return "The same probe" if depth is None else f"A probe at depth {depth} alone, for the sake of time"


def _more_labels(metrics: Metrics, points: list[Metrics]) -> str:
    step = part(metrics, "detail", "learning_curve", "last_step")
    gain, bounds = step.get("gain"), step.get("interval")
    if gain is None or not bounds:
        return ""
    if points[-1]["rows"] > _WIDEST_STEP * points[-2]["rows"]:
        return "Not told: larger parts of the training rows would have taken too long."
    rows = f"Going from {points[-2]['rows']:,} to {points[-1]['rows']:,} training rows"
    told = f"changed the log loss by {-gain:+.4f} ({-bounds[1]:+.4f} to {-bounds[0]:+.4f})"
    if bounds[0] > 0:
        return f"Probably yes. {rows} {told}: a clear gain.{_twice(points, gain)}"
    if bounds[1] < 0:
        return f"Not by themselves. {rows} {told}: no better."
    return f"Not clear. {rows} {told}, which may be chance: many more rows would be needed to see a gain."


def _twice(points: list[Metrics], gain: float) -> str:
    """What to expect of twice the rows, where the last step was a doubling and its gain less than what is left.

    Half of the last gain was off by 0.033 on SNIPS where nothing more would have been off by 0.076; the same factor
    again, as a power law has it, was off as much and too good 9 times of 12; 11 of 12 lay between none of the gain and
    all of it (bench/twice.py).
    """
    now, rows = points[-1]["log_loss"], points[-1]["rows"]
    low, high = _DOUBLING
    if not low <= rows / points[-2]["rows"] <= high or gain >= now:
        return ""
    return (
        f" With twice the labels, {2 * rows:,}, expect a log loss of about {now - gain / 2:.3f}, half of this gain "
        f"again ({now - gain:.3f} if all of it came again, {now:.3f} if none)."
    )


def depth(metrics: Metrics) -> Section | None:
    """Return score and cost of every depth, and where the model was cut."""
    scan = part(metrics, "depth_scan")
    points = records(metrics, "depth_scan", "points", needs=("depth", "loss", "accuracy", "interval"))
    chosen = scan.get("chosen_depth")
    if not points:
        return None
    rows = [
        (
            value_of(each["depth"]) + (" (chosen)" if each["depth"] == chosen else ""),
            f"{each['loss']:.4f}",
            percent(each["accuracy"]),
            percents(each["interval"]),
            "-" if each.get("milliseconds") is None else f"{each['milliseconds']:.1f} ms",
            "-" if each.get("megabytes") is None else f"{each['megabytes']:.0f} MB",
        )
        for each in points
    ]
    strong = next((place for place, each in enumerate(points) if each["depth"] == chosen), None)
    header = ("depth", "log loss", "accuracy", "95 % interval", "one text", "size")
    said = "; ".join(f"depth {each['depth']} {each['loss']:.4f}" for each in points)
    lead = (
        "The model was cut where more blocks stop helping: the shallowest depth within one standard error of the best."
    )
    figure = Figure(
        svg=plots.depths(points, chosen, said=f"Log loss by depth: {said}. Chosen: {plain(chosen)}."),
        caption="Held-out log loss by depth on sampled rows (lower is better); the ring marks the cut.",
    )
    why = metrics.get("reason") or scan.get("why_precision")
    table = Table(caption="Score and cost of each depth", header=header, rows=rows, strong=strong)
    blocks: list[Block] = [figure, *([Items(items=_clauses(why))] if why else []), table]
    return Section(name="depth", title="Where the model was cut", lead=lead, blocks=blocks, layout="pair")


def _clauses(words: object) -> list[str]:
    """The parts of a reason, between its semicolons, as sentences."""
    parts = [clause.strip().removesuffix(".") for clause in one_line(words).split(";")]
    return [f"{clause[:1].upper()}{clause[1:]}." for clause in parts if clause]


def losses(metrics: Metrics) -> Section | None:
    """Return the loss curves of trained blocks."""
    figures = []
    steps = _columns(metrics, "steps", "step", "loss")
    if steps:
        svg = plots.losses(
            {"training": steps}, ("step", "loss"), said=f"Training loss, from {steps[0][1]:.3g} to {steps[-1][1]:.3g}."
        )
        figures.append(Figure(svg=svg, caption="Loss of each training step."))
    epochs = {
        name: points
        for name, key in (("training", "train_loss"), ("validation", "validation_loss"))
        if (points := _columns(metrics, "epochs", "epoch", key))
    }
    if epochs:
        ends = "; ".join(f"{name} {points[-1][1]:.3g}" for name, points in epochs.items())
        svg = plots.losses(epochs, ("epoch", "log loss"), said=f"Log loss by epoch, at the end: {ends}.")
        figures.append(
            Figure(svg=svg, caption="Log loss after each epoch. Validation rising while training falls is overfitting.")
        )
    if not figures:
        return None
    how = [line for line in (descent_line(part(metrics, "config")), rate_line(metrics)) if line]
    told = [Items(items=[f"{line[:1].upper()}{line[1:]}." for line in how])] if how else []
    title = "Training the blocks" if metrics.get("method") in ("lora", "full") else "Training the tail"
    lead = f"{trained_line(metrics)} The epoch with the best validation loss was kept."
    blocks = (*figures, *told, *_rates(metrics))
    return Section(name="training", title=title, lead=lead, blocks=blocks, layout="pair")


def _rates(metrics: Metrics) -> list[Block]:
    """The learning rates tried and what they came to, where one was looked for."""
    tried = records(metrics, "learning_rate", "tried", needs=("rate",))
    before = part(metrics, "learning_rate").get("loss_before")
    rows = [("before any step", decimals(before, 4), "")] if tried else []
    rows += [
        (
            f"{each['rate']:.2g}",
            "diverged" if each.get("loss") is None else decimals(each["loss"], 4),
            "yes" if each.get("enough") else "",
        )
        for each in tried
    ]
    header = ("learning rate", "log loss", "gained nearly as much as the best")
    caption = "Short trainings at several rates, judged on training rows kept out of them"
    return [Table(caption=caption, header=header, rows=rows, words=(2,))] if tried else []


def _columns(metrics: Metrics, name: str, x: str, y: str) -> list[tuple[float, float]]:
    columns = part(metrics, "curves", name)
    pairs = zip(columns.get(x) or [], columns.get(y) or [], strict=False)
    points = [(float(across), float(up)) for across, up in pairs if across is not None and up is not None]
    last = len(points) - 1
    return (
        points if last < _MOST_POINTS else [points[round(at * last / _MOST_POINTS)] for at in range(_MOST_POINTS + 1)]
    )


def tried(metrics: Metrics) -> Section | None:
    """Return every setting that was compared, with its held-out scores."""
    choices = [flat(each) for each in metrics.get("choices") or [] if isinstance(each, Mapping)]
    if not choices:
        return None
    keys = list(dict.fromkeys(key for each in choices for key in each if key != "chosen"))
    keys.sort(key=lambda key: key != "candidate")
    rows = [[value_of(each.get(key)) for key in keys] for each in choices]
    strong = next((place for place, each in enumerate(choices) if each.get("chosen")), None)
    header = [one_line(key).replace("_", " ") for key in keys]
    table = Table(caption="Held-out scores; the chosen one is set off", header=header, rows=rows, strong=strong)
    return Section(name="tried", title="What was tried", lead="", blocks=(table,))


def data(metrics: Metrics) -> Section | None:
    """Return what the data are and what was found in them."""
    found = part(metrics, "data")
    if not found:
        return None
    told = ("source", "rows", "duplicates", "leaked_test_rows", "split")
    facts = [(one_line(key).replace("_", " "), value_of(found[key])) for key in told if key in found]
    facts += [(f"{one_line(name)} rows", value_of(rows)) for name, rows in part(found, "parts").items()]
    blocks: list[Block] = [Table(caption="The labelled texts", header=("fact", "value"), rows=facts, words=(1,))]
    classes = part(found, "classes")
    known = {name: rows for name, rows in classes.items() if isinstance(rows, int)}
    names = [name for name in labels_of(metrics) if name in known] or list(known)
    total = sum(known.values()) or 1
    rows = [(one_line(name), value_of(known[name]), f"{100 * known[name] / total:.1f} %") for name in names]
    if rows:
        folded = len(rows) > _MOST_CLASSES
        blocks.append(Table(caption="Rows of each class", header=("class", "rows", "share"), rows=rows, folded=folded))
    messages = [one_line(each["message"]) for each in records(metrics, "data", "findings", needs=("message",))]
    if messages:
        blocks.append(Items(items=messages))
    lead = (
        "Near-duplicates were kept in one part, so no test row is a copy of a training row." if _sealed(found) else ""
    )
    return Section(name="data", title="Data", lead=lead, blocks=blocks, layout="pair")


def _sealed(found: Metrics) -> bool:
    return found.get("split") in ("grouped", "folds") and found.get("leaked_test_rows") == 0


def cost(metrics: Metrics) -> Section | None:
    """Return what making it and using it costs on this machine."""
    blocks: list[Block] = []
    facts: list[tuple[str, str]] = []
    if (speed := part(metrics, "detail").get("milliseconds_per_text")) is not None:
        facts.append(("one text of middling length, alone", f"{speed:.1f} ms"))
    if (size := metrics.get("bundle_bytes")) is not None:
        facts.append(("saved classifier (bundle)", f"{size / 1e6:,.1f} MB"))
    if (memory := metrics.get("peak_rss_mib")) is not None:
        facts.append(("most memory while training", f"{memory:,.0f} MiB"))
    tokens = part(metrics, "tokens")
    for key, words in (
        ("texts", "texts read"),
        ("total", "tokens in them"),
        ("computed", "tokens computed in this run"),
    ):
        if tokens.get(key) is not None:
            facts.append((words, value_of(tokens[key])))
    if facts:
        blocks.append(Table(caption="Use and memory", header=("what", "cost"), rows=facts))
    seconds = part(metrics, "seconds")
    stages = [(one_line(name), f"{value:,.1f}") for name, value in seconds.items() if isinstance(value, float | int)]
    stages.sort(key=lambda entry: entry[0] == "total")
    if stages:
        strong = len(stages) - 1 if stages[-1][0] == "total" else None
        blocks.append(Table(caption="Seconds by stage", header=("stage", "seconds"), rows=stages, strong=strong))
    return (
        Section(
            name="cost", title="Cost", lead="Measured on the machine that trained it.", blocks=blocks, layout="pair"
        )
        if blocks
        else None
    )


def again(metrics: Metrics) -> Section | None:
    """Return how to do it again: command, seed, hashes, versions, settings."""
    blocks: list[Block] = []
    if command := metrics.get("command"):
        shown = command if isinstance(command, str) else " ".join(map(str, command))
        blocks.append(Code(text="\n".join(UNPRINTABLE.sub(" ", line) for line in shown.splitlines())))
    facts = _hashes(metrics)
    facts += [(f"version of {one_line(name)}", plain(value)) for name, value in part(metrics, "versions").items()]
    if facts:
        blocks.append(Table(caption="What the result depends on", header=("what", "value"), rows=facts, words=(1,)))
    if config := flat(part(metrics, "config")):
        origins = flat(part(metrics, "origins"))
        rows = [(one_line(key), plain(value), plain(origins.get(key))) for key, value in config.items()]
        header = ("setting", "value", "from")
        blocks.append(Table(caption="All settings", header=header, rows=rows, words=(1, 2), folded=True))
    return Section(name="again", title="How to do it again", lead="", blocks=blocks) if blocks else None


def _hashes(metrics: Metrics) -> list[tuple[str, str]]:
    places = (
        ("seed", metrics.get("seed")),
        ("data, SHA-256", part(metrics, "data").get("sha256")),
        ("model", part(metrics, "model").get("name")),
        ("model, SHA-256", part(metrics, "model").get("sha256")),
        ("test rows, SHA-256", part(metrics, "detail").get("test_sha256")),
    )
    return [(words, one_line(value)) for words, value in places if value is not None]


def headline(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the figures at the top: name, value, and its interval or what it means."""
    test, detail = part(metrics, "test"), part(metrics, "detail")
    spread = part(detail, "intervals")
    shown: list[tuple[str, str | None, str]] = [
        ("accuracy", _share(test.get("accuracy")), percents(test.get("accuracy_interval"))),
        ("macro F1", _share(test.get("macro_f1")), percents(spread.get("macro_f1"))),
        ("log loss", _number(test.get("log_loss")), bounds_of(spread.get("log_loss"), 3)),
        ("Brier score", _number(test.get("brier")), bounds_of(spread.get("brier"))),
        ("calibration error", _share(test.get("ece")), "ECE, 15 bins"),
        (
            "one text",
            None if detail.get("milliseconds_per_text") is None else f"{detail['milliseconds_per_text']:.0f} ms",
            "on this machine",
        ),
    ]
    return [{"name": name, "value": value, "note": "" if note == "-" else note} for name, value, note in shown if value]


def _share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
