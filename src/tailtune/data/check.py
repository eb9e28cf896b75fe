"""What labelled texts have to say about themselves before use. Knows nothing about files, splits or models."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tailtune.data.dataset import (
    Dataset,
    Finding,
    Severity,
    is_blank,
    name_rows,
    order_labels,
    similar_labels,
)
from tailtune.data.groups import find_near
from tailtune.data.scripts import script_mix
from tailtune.errors import DataError

# Below this a class has 1 validation and 2 test rows or fewer: its figures say next to nothing.
SMALL_CLASS = 10
# The largest class beside the smallest: from here on a classifier that never names the smallest looks good.
UNBALANCED = 10
_LONG_LABEL = 60
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}

# What findings mean and how they are mended; reading finds some of them and knows only what it found.
_ADVICE: dict[str, tuple[Severity, str, str]] = {
    "source": ("note", "", ""),
    "byte_order_mark": (
        "note",
        "some readers take it for a part of the first column's name",
        "none needed here; --fix",
    ),
    "quotes_kept": (
        "note",
        "a reader that takes these quotes for quoting merges the lines between two of them",
        "none needed here; elsewhere read with quoting off, or write a quoted copy with --fix",
    ),
    "blank_texts": (
        "warning",
        "there is nothing to read in these rows, so training leaves them out",
        "--fix drops them",
    ),
    "similar_labels": (
        "warning",
        "one class written in several ways is learnt as several",
        "--fix takes the commonest spelling",
    ),
    "exact_duplicates": (
        "warning",
        "copies weigh more than other texts, and on both sides of a split they are tested as if they were new",
        "none needed: copies stay in one part; --fix drops those with the same label",
    ),
    "near_duplicates": (
        "note",
        "tested as if they were new when they lie on both sides of a split",
        "none needed: they stay in one part",
    ),
    "word_duplicates": (
        "note",
        "tested as if they were new when they lie on both sides of a split",
        "none needed: they stay in one part, unless --near-duplicates marks says otherwise",
    ),
    "conflicting_labels": (
        "error",
        "no classifier can be right about both",
        "decide on one label and correct the file",
    ),
    "near_conflicts": ("warning", "at least one of the labels may be wrong", "look at these rows and correct the file"),
    "tiny_classes": ("warning", "two test rows or fewer tell nothing", "add rows, or merge the class into another"),
    "unbalanced": (
        "warning",
        "accuracy hides what happens to the smallest class: look at macro F1 and at its own row",
        "--class-weights auto, or add rows of the small classes",
    ),
    "odd_labels": ("warning", "such labels are often a shifted column or a stray quote", "check --label-column"),
    "many_classes": ("warning", "texts or numbers were perhaps taken for labels", "check --label-column"),
    "script_mix": (
        "note",
        "a model that has read one script may do worse on the others, and one score hides that",
        "look at the scores by script in the report",
    ),
    "language_mix": (
        "note",
        "a model that has read one language may do worse on the others; codes are guesses, of longer texts only",
        "look at the scores by language in the report: --slice-by detected-language",
    ),
    "odd_characters": (
        "warning",
        "texts were decoded with the wrong encoding once, so some words are spelt in two ways",
        "export them again as UTF-8 from where they came",
    ),
}


def check_dataset(dataset: Dataset) -> tuple[Finding, ...]:
    """Return everything worth knowing: what reading found, then class counts, duplicates, conflicts, tiny classes.

    Each says how bad it is, what it means and what mends it.
    """
    known = {finding.kind for finding in dataset.findings}
    own = (
        _class_counts(dataset),
        _blank(dataset),
        similar_labels(dataset.classes),
        _odd_labels(dataset),
        _many_classes(dataset),
        _odd_characters(dataset),
        *_duplicates(dataset),
        *_conflicts(dataset),
        _tiny_classes(dataset),
        _unbalanced(dataset),
        script_mix(dataset),
    )
    found = [*dataset.findings, *(finding for finding in own if finding is not None and finding.kind not in known)]
    return tuple(_with_rows(advised(finding), dataset) for finding in found)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return errors, then warnings, then notes, each in the order in which they came."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def advised(finding: Finding) -> Finding:
    """Return ``finding`` with severity, meaning and what mends it, where it does not say so itself."""
    if finding.means or finding.mend or finding.kind not in _ADVICE:
        return finding
    severity, means, mend = _ADVICE[finding.kind]
    return replace(finding, severity=severity, means=means, mend=mend)


def commonest_spellings(labels: Sequence[str]) -> dict[str, str]:
    """Return label -> the commonest spelling, without outer blanks, of labels that differ in case or blanks only.

    Labels that are spelt in one way stand for themselves, blanks included. Of equally common spellings the first in
    text order is taken.
    """
    counts: Counter[str] = Counter(labels)
    spelt: dict[str, Counter[str]] = defaultdict(Counter)
    for label, count in counts.items():
        spelt[label.strip().casefold()][label.strip()] += count
    ways = Counter(label.strip().casefold() for label in counts)
    best = {key: min(names, key=lambda name: (-names[name], name)) for key, names in spelt.items()}
    keys = {label: label.strip().casefold() for label in counts}
    return {label: best[key] if ways[key] > 1 else label for label, key in keys.items()}


def require_trainable(dataset: Dataset) -> None:
    """Refuse a Dataset from which no classifier can be trained and tested.

    Raises:
        DataError: If it has no rows, one class only, or a class with one row; where a text can have several labels, a
            label that every row has.
    """
    if not len(dataset):
        raise DataError("no rows with a text", path=dataset.source, hint="labelled texts are needed")
    counts = dataset.counts
    if dataset.sets is not None:
        _require_some_with_and_some_without(dataset)
    elif len(counts) == 1:
        name, rows = counts.most_common(1)[0]
        raise DataError(
            f"one class only: all {rows} rows are {name!r}, expected at least two classes",
            path=dataset.source,
            hint="add rows of another class, or name the right column with --label-column",
        )
    single = [name for name in order_labels(counts) if counts[name] == 1]
    if single:
        shown = ", ".join(map(repr, single[:10])) + (f" and {len(single) - 10} more" if len(single) > 10 else "")
        few = set(single)
        rows_of = sorted(dataset.rows[at] for at, names in enumerate(dataset.members) if few & set(names))
        raise DataError(
            f"one row only for class {shown} ({name_rows(rows_of)}); one to learn from and one to test are needed",
            path=dataset.source,
            hint="add rows, merge the class into another, remove it, or check --label-column",
        )


def _require_some_with_and_some_without(dataset: Dataset) -> None:
    counts = dataset.counts
    if not counts:
        raise DataError("no row has a label", path=dataset.source, hint="labelled texts are needed")
    if everywhere := [name for name in order_labels(counts) if counts[name] == len(dataset)]:
        raise DataError(
            f"label {everywhere[0]!r} is on all {len(dataset)} rows, so there is nothing to tell it from",
            path=dataset.source,
            hint="add rows without it, or leave the label out",
        )


def _class_counts(dataset: Dataset) -> Finding:
    counts = dataset.counts
    ordered = sorted(order_labels(counts), key=lambda name: -counts[name])
    parts = [f"{name} {counts[name]} ({counts[name] / len(dataset):.1%})" for name in ordered[:12]]
    more = f" and {len(ordered) - 12} more classes" if len(ordered) > 12 else ""
    message = f"{len(dataset)} rows, {len(counts)} classes: {', '.join(parts)}{more}"
    if dataset.sets is not None:
        sizes = Counter(map(len, dataset.sets))
        several = sum(rows for size, rows in sizes.items() if size > 1)
        message += f"; {several} rows have several labels, {sizes[0]} none"
    return Finding(kind="class_counts", message=message)


def _with_rows(finding: Finding, dataset: Dataset) -> Finding:
    """Name the rows whose label is not the commonest spelling; where labels are found alike, rows have no numbers."""
    if finding.kind != "similar_labels" or finding.rows:
        return finding
    best = commonest_spellings([name for names in dataset.members for name in names])
    rows = (
        row
        for row, names in zip(dataset.rows, dataset.members, strict=True)
        if any(best[name] != name for name in names)
    )
    return replace(finding, rows=tuple(rows))


def _blank(dataset: Dataset) -> Finding | None:
    positions = (at for at, text in enumerate(dataset.texts) if is_blank(text))
    return _rows_finding("blank_texts", "blank", dataset, positions)


def _odd_labels(dataset: Dataset) -> Finding | None:
    def odd(label: str) -> bool:
        return len(label) > _LONG_LABEL or not label.isprintable() or label[:1] in {'"', "'"}

    names = {label for label in dataset.classes if odd(label)}
    what = "labelled with something long, quoted or unprintable"
    return _rows_finding("odd_labels", what, dataset, _having(dataset, names))


def _many_classes(dataset: Dataset) -> Finding | None:
    classes = len(dataset.classes)
    if len(dataset) < 20 or classes <= len(dataset) / 3:
        return None
    return Finding(
        kind="many_classes", message=f"{classes} classes for {len(dataset)} rows: fewer than three rows each"
    )


def _odd_characters(dataset: Dataset) -> Finding | None:
    """Return the rows with marks of a wrong decoding: U+FFFD, C1 controls, and UTF-8 that was read as Windows-1252."""
    # U+0085 is white space to Python and common in old texts; it says little about the encoding.
    odd = {chr(code) for code in (*range(0x80, 0x85), *range(0x86, 0xA0), 0xFFFD)}
    twice = ("â€", "Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "Â£", "Â°")

    def decoded_wrong(text: str) -> bool:
        return not text.isascii() and (not odd.isdisjoint(text) or any(mark in text for mark in twice))

    what = "with characters that a wrong decoding leaves behind"
    positions = (at for at, text in enumerate(dataset.texts) if decoded_wrong(text))
    return _rows_finding("odd_characters", what, dataset, positions)


def _duplicates(dataset: Dataset) -> tuple[Finding | None, ...]:
    near = find_near(dataset.texts)
    folds, chains = near.folds.tolist(), near.chains().tolist()
    exact, marks, word = [], [], []
    texts: set[str] = set()
    folded: set[int] = set()
    chained: set[int] = set()
    for at, (text, fold, chain) in enumerate(zip(dataset.texts, folds, chains, strict=True)):
        if text in texts:
            exact.append(at)
        elif fold in folded:
            marks.append(at)
        elif chain in chained:
            word.append(at)
        texts.add(text)
        folded.add(fold)
        chained.add(chain)
    says = "equal to an earlier row but for case, digits, punctuation or blanks"
    return (
        _rows_finding("exact_duplicates", "an exact copy of an earlier row", dataset, exact),
        _rows_finding("near_duplicates", says, dataset, marks),
        _rows_finding("word_duplicates", "a word, or a few in long texts, away from another row", dataset, word),
    )


def _conflicts(dataset: Dataset) -> tuple[Finding | None, Finding | None]:
    labels: dict[str, set[str]] = defaultdict(set)
    of_fold: dict[int, set[str]] = defaultdict(set)
    folds = find_near(dataset.texts).folds.tolist()
    for text, fold, label in zip(dataset.texts, folds, dataset.labels, strict=True):
        labels[text].add(label)
        of_fold[fold].add(label)
    torn = [at for at, text in enumerate(dataset.texts) if len(labels[text]) > 1]
    near = [at for at, fold in enumerate(folds) if len(of_fold[fold]) > len(labels[dataset.texts[at]])]
    what = "label" if dataset.sets is None else "set of labels"
    says = f"a text that appears with another {what} but for case, digits, punctuation or blanks"
    return (
        _rows_finding("conflicting_labels", f"a text that appears with more than one {what}", dataset, torn),
        _rows_finding("near_conflicts", says, dataset, near),
    )


def _tiny_classes(dataset: Dataset) -> Finding | None:
    counts = dataset.counts
    tiny = [name for name in order_labels(counts) if counts[name] < SMALL_CLASS]
    if not tiny:
        return None
    shown = ", ".join(f"{name!r} {counts[name]}" for name in tiny[:12])
    more = f" and {len(tiny) - 12} more" if len(tiny) > 12 else ""
    rows = tuple(dataset.rows[at] for at in _having(dataset, set(tiny)))
    message = f"fewer than {SMALL_CLASS} rows, so their figures will be rough: {shown}{more}"
    return Finding(kind="tiny_classes", message=message, rows=rows)


def _unbalanced(dataset: Dataset) -> Finding | None:
    ranked = dataset.counts.most_common()
    if dataset.sets is not None or len(ranked) < 2 or ranked[0][1] < UNBALANCED * ranked[-1][1]:
        return None
    (large, most), (small, least) = ranked[0], ranked[-1]
    message = f"{most / least:.0f} rows of {large!r} for each of {small!r} ({most} and {least})"
    return Finding(kind="unbalanced", message=message)


def _having(dataset: Dataset, names: set[str]) -> Iterable[int]:
    """Return the places of the rows that have one of ``names``."""
    return (at for at, own in enumerate(dataset.members) if not names.isdisjoint(own))


def _rows_finding(kind: str, what: str, dataset: Dataset, positions: Iterable[int]) -> Finding | None:
    rows = tuple(dataset.rows[at] for at in positions)
    if not rows:
        return None
    count = "1 row is" if len(rows) == 1 else f"{len(rows)} rows are"
    return Finding(kind=kind, message=f"{count} {what}: {name_rows(rows)}", rows=rows)
