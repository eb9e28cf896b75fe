"""The sections that show texts of users: worst errors and doubtful labels, the words that answers hang on shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tailtune.report.blocks import Mark, Quote, Quotes, Section
from tailtune.report.words import UNPRINTABLE, Metrics, confusions, one_line, part, percent, value_of

LONGEST_TEXT = 400
# Changes of probability from which a word is shaded, shaded more and most. The same in every text, so that two compare.
_LEVELS = (0.005, 0.05, 0.25)
_FAINT = _LEVELS[0]
_NAMED = 3

Span = tuple[int, int, float]


def worst(metrics: Metrics, rows: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the test rows with the highest loss, with their texts, and how many errors are not shown.

    Args:
        metrics: Of the run.
        rows: Each with ``text``, ``label``, ``predicted``, ``probability``, ``probability_of_label`` and ``row``, and
            where there are any ``highlights``: (start, end, change) in order.
    """
    if not rows:
        return None
    here = sum(row["label"] != row["predicted"] for row in rows)
    left = max(0, _errors(metrics) - here)
    lead = f"The {len(rows)} test rows whose true class got the least probability; {here} of them are errors. "
    lead += f"{left:,} more errors are not shown." if left else "No error is left out."
    lead += " These texts stand in this file alone; the bundle and metrics.json hold none."
    quotes = []
    for row in rows:
        wrong = row["label"] != row["predicted"]
        said = [
            ("Wrong: called " if wrong else "Right, but unsure: called ", False),
            (one_line(row["predicted"]), True),
        ]
        said.append((f" with {percent(row['probability'])}", False))
        if wrong:
            said += [(", is ", False), (one_line(row["label"]), True)]
            said.append((f" ({percent(row['probability_of_label'])})", False))
        quotes.append(quote(row, said, wrong=wrong))
    return Section(name="worst", title="Worst errors", lead=lead + _explained(rows), blocks=(Quotes(rows=quotes),))


def doubtful(metrics: Metrics, rows: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the rows whose labels are most doubtful, with what was found among all.

    Args:
        metrics: Of the run.
        rows: Each with ``text``, ``label``, ``predicted`` (the label suggested), ``probability``, ``issue`` and
            ``row``, and where there are any ``highlights``: (start, end, change) in order.
    """
    found = part(metrics, "doubts")
    if not found.get("rows") or found.get("issues") is None:
        return None
    lead = f"{found['issues']:,} of {found['rows']:,} training and validation labels are probably wrong (confident "
    lead += f"learning), judged by {one_line(found.get('how') or 'others')}. All rows stand in doubts.csv, the most "
    lead += (
        "doubtful first; write the right label into its column “corrected” and train again with --relabel doubts.csv."
    )
    quotes = []
    for row in rows:
        said = [("Labelled ", False), (one_line(row["label"]), True), (", perhaps ", False)]
        said += [(one_line(row["predicted"]), True), (f" ({percent(row['probability'])})", False)]
        said.append((", counted as wrong" if row["issue"] else ", not counted as wrong", False))
        quotes.append(quote(row, said, wrong=bool(row["issue"])))
    blocks = (Quotes(rows=quotes),) if quotes else ()
    explained = _explained(rows)
    explained += " Here a classifier answers that did not learn from these rows." if explained else ""
    return Section(name="doubts", title="Doubtful labels", lead=lead + explained, blocks=blocks)


def _errors(metrics: Metrics) -> int:
    """Wrong labels among the test rows: as they were decided, where there is a rule for that."""
    decided = part(metrics, "decision", "test", "accuracy")
    if isinstance(decided.get("of"), int) and isinstance(decided.get("count"), int):
        return int(decided["of"] - decided["count"])
    return sum(count for count, _, _ in confusions(metrics))


def _explained(rows: Sequence[Mapping[str, Any]]) -> str:
    if not any(row.get("highlights") for row in rows):
        return ""
    return (
        " Shaded words: without them the probability of the class that the text is called would be lower (a line "
        "below) or higher (a dotted line), each left out alone; these changes do not add up."
    )


def quote(row: Mapping[str, Any], said: Sequence[tuple[str, bool]], *, wrong: bool) -> Quote:
    """Return one row with its text.

    Args:
        row: With ``row``, ``text`` and perhaps ``highlights``.
        said: What is said of it: words, and whether they are a label.
        wrong: Whether it is set off as wrong.
    """
    highlights = row.get("highlights") or ()
    return Quote(
        row=value_of(row["row"]),
        pieces=_pieces(str(row["text"]), highlights),
        said=said,
        strongest=_strongest(str(row["text"]), highlights),
        wrong=wrong,
    )


def _pieces(text: str, highlights: Sequence[Span]) -> list[Mark]:
    """The text in order, cut where it is long, with what each word changes."""
    bare: list[tuple[str, float]] = []
    at = 0
    for start, end, change in highlights:
        bare += [(text[at:start], 0.0), (text[start:end], change)]
        at = end
    bare.append((text[at:], 0.0))
    marks: list[Mark] = []
    shown, blank = 0, True
    for piece, change in bare:
        clean = _blanks(piece)
        clean = clean.lstrip() if blank else clean
        blank = clean.endswith(" ") if clean else blank
        marks.append(_mark(clean[: max(0, LONGEST_TEXT - shown)], change))
        shown += len(clean)
    if shown > LONGEST_TEXT:
        marks.append(Mark(text=f" … ({shown - LONGEST_TEXT:,} more characters)"))
    return [mark for mark in marks if mark.text]


def _blanks(piece: str) -> str:
    """The piece with one blank for each run of blanks and of signs that cannot be printed."""
    # Fenced, so that those at its ends are kept too.
    return " ".join(UNPRINTABLE.sub(" ", f"|{piece}|").split())[1:-1]


def _mark(text: str, change: float) -> Mark:
    if abs(change) < _FAINT or not text.strip():
        return Mark(text=text)
    level = sum(abs(change) >= least for least in _LEVELS)
    return Mark(text=text, kind=f"{'for' if change > 0 else 'against'}{level}", said=points(change))


def points(change: float) -> str:
    """Return a change of probability in points: "+12.3 points"."""
    return f"{100 * change:+.1f} points".replace("-", "\u2212")


def _strongest(text: str, highlights: Sequence[Span]) -> list[tuple[str, str]]:
    """The words that change most, each with its change."""
    ordered = sorted(highlights, key=lambda each: -abs(each[2]))[:_NAMED]
    return [(one_line(text[start:end])[:60], points(change)) for start, end, change in ordered if abs(change) >= _FAINT]
