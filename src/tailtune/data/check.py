"""What labelled texts have to say about themselves before use. Knows nothing about files, splits or models."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tailtune.data.dataset import Dataset, Finding, is_blank, name_rows, order_labels, similar_labels
from tailtune.data.fold import fold_text
from tailtune.errors import DataError

# Below this a class has 1 validation and 2 test rows or fewer: its figures say next to nothing.
SMALL_CLASS = 10


def check_dataset(dataset: Dataset) -> tuple[Finding, ...]:
    """Return everything worth knowing: what reading found, then class counts, duplicates, conflicts, tiny classes."""
    known = {finding.kind for finding in dataset.findings}
    own = (
        _class_counts(dataset),
        _blank(dataset),
        similar_labels(dataset.labels),
        *_duplicates(dataset),
        _conflicts(dataset),
        _tiny_classes(dataset),
    )
    return (*dataset.findings, *(finding for finding in own if finding is not None and finding.kind not in known))


def require_trainable(dataset: Dataset) -> None:
    """Refuse a Dataset from which no classifier can be trained and tested.

    Raises:
        DataError: If it has no rows, one class only, or a class with one row.
    """
    if not len(dataset):
        raise DataError("no rows with a text", path=dataset.source, hint="labelled texts are needed")
    counts = Counter(dataset.labels)
    if len(counts) == 1:
        name, rows = counts.most_common(1)[0]
        raise DataError(
            f"one class only: all {rows} rows are {name!r}, expected at least two classes",
            path=dataset.source,
            hint="add rows of another class, or name the right column with --label-column",
        )
    single = [name for name in order_labels(counts) if counts[name] == 1]
    if single:
        shown = ", ".join(map(repr, single[:10])) + (f" and {len(single) - 10} more" if len(single) > 10 else "")
        rows_of = sorted(dataset.rows[at] for at, label in enumerate(dataset.labels) if counts[label] == 1)
        raise DataError(
            f"one row only for class {shown} ({name_rows(rows_of)}); one to learn from and one to test are needed",
            path=dataset.source,
            hint="add rows, merge the class into another, remove it, or check --label-column",
        )


def _class_counts(dataset: Dataset) -> Finding:
    counts = Counter(dataset.labels)
    ordered = sorted(order_labels(counts), key=lambda name: -counts[name])
    parts = [f"{name} {counts[name]} ({counts[name] / len(dataset):.1%})" for name in ordered[:12]]
    more = f" and {len(ordered) - 12} more classes" if len(ordered) > 12 else ""
    return Finding(kind="class_counts", message=f"{len(dataset)} rows, {len(counts)} classes: {', '.join(parts)}{more}")


def _blank(dataset: Dataset) -> Finding | None:
    return _rows_finding(
        "blank_texts", "blank", dataset, (at for at, text in enumerate(dataset.texts) if is_blank(text))
    )


def _duplicates(dataset: Dataset) -> tuple[Finding | None, Finding | None]:
    exact, near = [], []
    seen: set[str] = set()
    folded: set[str] = set()
    for at, text in enumerate(dataset.texts):
        fold = fold_text(text)
        if text in seen:
            exact.append(at)
        elif fold in folded:
            near.append(at)
        seen.add(text)
        folded.add(fold)
    says = "equal to an earlier row but for case, digits, punctuation or blanks"
    return (
        _rows_finding("exact_duplicates", "an exact copy of an earlier row", dataset, exact),
        _rows_finding("near_duplicates", says, dataset, near),
    )


def _conflicts(dataset: Dataset) -> Finding | None:
    labels: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(dataset.texts, dataset.labels, strict=True):
        labels[text].add(label)
    torn = (at for at, text in enumerate(dataset.texts) if len(labels[text]) > 1)
    return _rows_finding("conflicting_labels", "a text that appears with more than one label", dataset, torn)


def _tiny_classes(dataset: Dataset) -> Finding | None:
    counts = Counter(dataset.labels)
    tiny = [name for name in order_labels(counts) if counts[name] < SMALL_CLASS]
    if not tiny:
        return None
    shown = ", ".join(f"{name!r} {counts[name]}" for name in tiny[:12])
    more = f" and {len(tiny) - 12} more" if len(tiny) > 12 else ""
    few = set(tiny)
    rows = tuple(dataset.rows[at] for at, label in enumerate(dataset.labels) if label in few)
    message = f"fewer than {SMALL_CLASS} rows, so their figures will be rough: {shown}{more}"
    return Finding(kind="tiny_classes", message=message, rows=rows)


def _rows_finding(kind: str, what: str, dataset: Dataset, positions: Iterable[int]) -> Finding | None:
    rows = tuple(dataset.rows[at] for at in positions)
    if not rows:
        return None
    count = "1 row is" if len(rows) == 1 else f"{len(rows)} rows are"
    return Finding(kind=kind, message=f"{count} {what}: {name_rows(rows)}", rows=rows)
