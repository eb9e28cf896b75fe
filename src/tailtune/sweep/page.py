"""report.md and report.html of a sweep: the best settings, what they are worth, what mattered, every trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tailtune.report.blocks import Block, Code, Figure, Items, Section, Table
from tailtune.report.markdown import as_text, escape
from tailtune.report.page import filled
from tailtune.report.words import bounds_of, one_line, plain
from tailtune.sweep import plots
from tailtune.sweep.words import TITLES, trials_line, value_text, verdict, worth_lines

_MOST_PLOTS = 6
_MOST_OPEN = 12
Result = Mapping[str, Any]


def render_page(result: Result) -> str:
    """Return report.html."""
    told, tone = verdict(result)
    return filled(
        kicker="Tailtune sweep",
        source=one_line(result["data"]["source"]),
        made=trials_line(result),
        verdict=told,
        tone=tone,
        read="The sweep did not read the test part.",
        figures=_headline(result),
        sections=list(sections_of(result)),
        footer="This page holds no text of the data.",
    )


def render_report(result: Result) -> str:
    """Return report.md: the same without plots."""
    worth = "\n".join(f"- {escape(line)}" for line in worth_lines(result))
    pieces = [
        f"# Sweep: {escape(result['data']['source'])}",
        f"**{escape(verdict(result)[0])}**",
        f"{escape(trials_line(result))}.",
        f"## What the best score is worth\n\n{worth}",
        *(as_text(section) for section in sections_of(result) if section.name != "worth"),
    ]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def sections_of(result: Result) -> Iterator[Section]:
    """Yield the sections of the page in their order."""
    yield _best(result)
    yield Section(name="worth", title="What the best score is worth", blocks=(Items(items=worth_lines(result)),))
    plotted = _complete(result)
    if len(plotted) > 1:
        yield _history(result, plotted)
        yield _settings(result, plotted)
    yield _trials(result)
    yield _again(result)


def _headline(result: Result) -> list[dict[str, str]]:
    best, worth, objective = result["best"], result["worth"], result["objective"]
    figures = [(f"best {TITLES[objective]}", f"{best['scores'][objective]:.4f}", "on validation, flatters")]
    if worth is not None:
        figures.append(
            (f"{TITLES[objective]}, corrected", f"{worth['corrected']:.4f}", bounds_of(worth["interval"], 3))
        )
    figures.append(("settings compared", f"{result['settings_compared']:,}", "on the same rows"))
    figures.append(("validation", f"{result['rows']['validation']:,}", "rows"))
    return [{"name": name, "value": value, "note": note} for name, value, note in figures]


def _best(result: Result) -> Section:
    best, given = result["best"], result["given"]
    space, fixed = result["space"], result["fixed"]
    rows = [(one_line(name.replace("_", "-")), value_text(value), "varied") for name, value in best["varied"].items()]
    rows += [
        (one_line(name.replace("_", "-")), value_text(value), "given")
        for name, value in fixed.items()
        if name not in best["varied"]
    ]
    columns = [("best", best), *([("nothing varied", given)] if given and given["scores"] else [])]
    scores = [(title, *(f"{each['scores'][name]:.4f}" for _, each in columns)) for name, title in TITLES.items()]
    blocks: list[Block] = [
        Table(caption="The best settings", header=("setting", "value", "from"), rows=rows, words=(1, 2)),
        Table(caption="On the validation part", header=("", *(name for name, _ in columns)), rows=scores),
    ]
    unused = [name.replace("_", "-") for name in space if name not in best["varied"]]
    lead = (
        f"Not drawn, for they do not matter to it: {', '.join(unused)}." if unused and best["trial"] is not None else ""
    )
    return Section(name="best", title="The best settings", lead=lead, blocks=blocks, layout="pair")


def _complete(result: Result) -> list[Mapping[str, Any]]:
    return [trial for trial in result["trials"] if trial["state"] == "complete"]


def _value(result: Result, trial: Mapping[str, Any]) -> float:
    return float(trial["scores"][result["objective"]])


def _history(result: Result, plotted: Sequence[Mapping[str, Any]]) -> Section:
    points = [(float(trial["trial"]), _value(result, trial)) for trial in plotted]
    better = min if result["smaller_is_better"] else max
    best: list[tuple[float, float]] = []
    for x, y in points:
        best.append((x, better(y, best[-1][1]) if best else y))
    given = result["given"]
    before = _value(result, given) if given and given["scores"] else None
    title = TITLES[result["objective"]]
    said = f"{title} by trial: the best so far goes from {best[0][1]:.4f} to {best[-1][1]:.4f}."
    svg = plots.history(points, best, before, title=title, said=said)
    caption = "Each completed trial and the best so far; dashed: nothing varied."
    return Section(name="history", title="Trial by trial", blocks=(Figure(svg=svg, caption=caption),))


def _settings(result: Result, plotted: Sequence[Mapping[str, Any]]) -> Section:
    """What mattered: importance, and the objective along each setting."""
    found, title = result["importance"], TITLES[result["objective"]]
    blocks: list[Block] = []
    lead = "Too few trials completed to tell settings apart."
    order = list(result["space"])
    if found is not None:
        shares = {name.replace("_", "-"): share for name, share in found["shares"].items()}
        said = "; ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        caption = f"Importance by fANOVA over the {found['trials']} completed trials that vary these settings."
        blocks.append(Figure(svg=plots.importance(shares, said=f"Importance: {said}."), caption=caption))
        order = [*found["shares"], *(name for name in order if name not in found["shares"])]
        rows = [(name, f"{100 * share:.1f} %") for name, share in shares.items()]
        blocks.append(Table(caption="The same in numbers", header=("setting", "share of the differences"), rows=rows))
        lead = "How much of the differences between trials each setting explains; few trials tell it roughly."
    for name in order[:_MOST_PLOTS]:
        trials = [trial for trial in plotted if name in trial["varied"]]
        if len({str(trial["varied"][name]) for trial in trials}) > 1:
            blocks.append(_along(result, name, trials, title))
    return Section(name="settings", title="What mattered", lead=lead, blocks=blocks, layout="pair")


def _along(result: Result, name: str, trials: Sequence[Mapping[str, Any]], title: str) -> Figure:
    points = [(trial["varied"][name], _value(result, trial)) for trial in trials]
    values = [value for _, value in points]
    best = values.index(min(values) if result["smaller_is_better"] else max(values))
    domain, dashed = result["space"][name], name.replace("_", "-")
    log = isinstance(domain, Mapping) and bool(domain.get("log"))
    said = f"{title} along {dashed}: best {values[best]:.4f} at {value_text(points[best][0])}."
    svg = plots.along(points, best, log=log, titles=(dashed, title), said=said)
    return Figure(svg=svg, caption=f"{title.capitalize()} along {dashed}; the ring marks the best.")


def _trials(result: Result) -> Section:
    names = list(result["space"])
    best = result["best"]["trial"]
    rows = [
        (
            str(trial["trial"]),
            trial["state"],
            *(f"{trial['scores'][score]:.4f}" if trial["scores"] else "-" for score in TITLES),
            *(value_text(trial["varied"][name]) if name in trial["varied"] else "-" for name in names),
        )
        for trial in result["trials"]
    ]
    header = ("trial", "ended", *TITLES.values(), *(name.replace("_", "-") for name in names))
    strong = next((place for place, trial in enumerate(result["trials"]) if trial["trial"] == best), None)
    table = Table(
        caption="Every trial",
        header=header,
        rows=rows,
        strong=strong,
        words=(1,),
        folded=len(rows) > _MOST_OPEN,
    )
    reasons = [(str(trial["trial"]), trial["state"], one_line(trial["reason"])) for trial in result["trials"]]
    told = [row for row in reasons if row[2]]
    why = Table(
        caption="Why some did not complete",
        header=("trial", "ended", "why"),
        rows=told,
        words=(1, 2),
        folded=len(told) > _MOST_OPEN,
    )
    return Section(name="trials", title="Every trial", blocks=(*([table] if rows else []), *([why] if told else [])))


def _again(result: Result) -> Section:
    command = [Code(text=one_line(result["command"]))] if result["command"] else []
    facts = [
        ("data, SHA-256", plain(result["data"]["sha256"])),
        ("training rows", f"{result['rows']['train']:,}"),
        ("validation rows", f"{result['rows']['validation']:,}"),
        ("objective", TITLES[result["objective"]]),
        ("seed", plain(result["seed"])),
        ("study", plain(result["study"])),
        ("space", "the default one" if result["default_space"] else "as given"),
    ]
    facts += [
        (f"{name.replace('_', '-')} varied over", _domain_text(domain)) for name, domain in result["space"].items()
    ]
    facts += [(f"version of {one_line(name)}", plain(version)) for name, version in result["versions"].items()]
    table = Table(caption="What the result depends on", header=("what", "value"), rows=facts, words=(1,))
    return Section(name="again", title="How to do it again", blocks=(*command, table))


def _domain_text(domain: Any) -> str:
    if isinstance(domain, Mapping):
        how = " (log)" if domain.get("log") else f" in steps of {domain['step']:g}" if domain.get("step") else ""
        return f"{domain['low']:g} to {domain['high']:g}{how}"
    return ", ".join(value_text(value) for value in domain)
