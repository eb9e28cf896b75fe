"""Labels that are probably wrong: confident learning (cleanlab) on probabilities that no row had a part in.

Only training and validation rows: if those test labels were corrected that the classifier disagrees with, and no
others, its test score would flatter. Texts stand in doubts.csv and report.html alone, counts in metrics.json.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.data import corrections as corrected
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.examine import seen_rows
from tailtune.features.store import Indices
from tailtune.learn import Learnt
from tailtune.methods.held_out import held_out_answers, probe_without
from tailtune.predict import Predictor
from tailtune.rules import Doubles

SHOWN = 10
NEEDED = "pip install 'tailtune[cleanlab]', or --no-doubts"
HEADER = (
    *(corrected.ROW, corrected.TEXT, corrected.LABEL, "suggested", "probability", "quality", "issue"),
    *(corrected.CORRECTED, corrected.HASH),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubts:
    """Judged rows, the most doubtful first.

    Attributes:
        at: int [n] positions in the data set.
        suggested: int [n] class ids, the most probable of each row.
        probability: float [n] of the suggested class.
        quality: float [n] in [0, 1]; low where the given label is improbable beside the best other one.
        issue: bool [n] whether confident learning counts the label as wrong.
        unjudged: Training and validation rows without an answer.
        how: By what they were judged, in words; why there are none where there are none.
    """

    at: Indices
    suggested: Indices
    probability: Doubles
    quality: Doubles
    issue: NDArray[np.bool_]
    unjudged: int
    how: str

    def __len__(self) -> int:
        return len(self.at)

    def as_json(self, dataset: Dataset) -> dict[str, Any]:
        """Return counts for metrics.json: no text, no row."""
        issues = Counter(dataset.labels[at] for at in self.at[self.issue].tolist())
        return {
            "rows": len(self),
            "unjudged": self.unjudged,
            "issues": int(self.issue.sum()),
            "issues_by_label": {label: issues[label] for label in dataset.classes if issues[label]},
            "how": self.how,
        }


def find_doubts(split: Split, learnt: Learnt) -> Doubts:
    """Return the training and validation rows by how doubtful their labels are; none where cleanlab is not installed.

    Args:
        split: Of the rows that serve a part.
        learnt: The classifier and the features of all rows.
    """
    rows = seen_rows(split, learnt)
    everything = len(rows.train) + len(rows.validation)
    if importlib.util.find_spec("cleanlab") is None:
        return _none(everything, f"wrong labels were not looked for: cleanlab is not installed ({NEEDED})")
    answers = held_out_answers(learnt.features, rows, learnt.fitted.reads, learnt.pooling, answer=learnt.raw)
    labels = learnt.ids[answers.rows]
    present = np.unique(labels)
    if len(present) < 2:
        return _none(everything, "wrong labels were not looked for: too few rows to hold some out")
    # Classes of no judged row are left out: confident learning estimates a threshold for each.
    places = np.searchsorted(present, labels)
    shares = answers.probabilities[:, present]
    shares = shares / shares.sum(axis=1, keepdims=True)
    quality, issue = _judge(places, shares)
    order = np.lexsort((answers.rows, quality))
    best = shares.argmax(axis=1)
    return Doubts(
        at=answers.rows[order],
        suggested=present[best[order]],
        probability=shares.max(axis=1)[order],
        quality=quality[order],
        issue=issue[order],
        unjudged=everything - len(order),
        how=answers.how,
    )


def _none(rows: int, why: str) -> Doubts:
    nothing = np.empty(0)
    return Doubts(
        at=nothing.astype(np.int64),
        suggested=nothing.astype(np.int64),
        probability=nothing,
        quality=nothing,
        issue=nothing.astype(np.bool_),
        unjudged=rows,
        how=why,
    )


def _judge(labels: Indices, shares: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """Label quality scores and issues, as cleanlab has them."""
    with warnings.catch_warnings():
        # It warns of classes too small to be sure of; the data checks have said so already.
        warnings.simplefilter("ignore")
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        quality = get_label_quality_scores(labels, shares, method="normalized_margin")
        issue = find_label_issues(labels, shares, n_jobs=1)  # processes of its own would take longer to start
    return np.asarray(quality, dtype=np.float64), np.asarray(issue, dtype=np.bool_)


def judge_of(split: Split, learnt: Learnt, *, rows: Indices) -> Predictor:
    """Return a classifier that did not learn from ``rows``, for saying why their labels are doubted.

    Args:
        split: Of the rows that serve a part.
        learnt: The classifier and the features of all rows.
        rows: Positions.
    """
    seen = seen_rows(split, learnt)
    scorer = probe_without(learnt.features, seen, learnt.fitted.reads, learnt.pooling, rows)
    if scorer is None:  # then validation rows alone were judged, by the classifier itself
        return learnt.predictor
    return learnt.language_model.with_scorer(scorer)


def doubts_csv(doubts: Doubts, dataset: Dataset, names: tuple[str, ...], relabel: str | None) -> str:
    """Return doubts.csv: every judged row, the most doubtful first, with a column for the right label.

    Corrections that were applied stand in it already, so the newest file alone says it all.

    Args:
        doubts: Of ``dataset``.
        dataset: After corrections.
        names: The classes, in id order.
        relabel: The file of corrections that was applied.
    """
    known = corrected.read_corrections(Path(relabel)) if relabel else {}
    judged = set(doubts.at.tolist())
    rest = [at for at in _corrected_places(dataset, known) if at not in judged]
    lines = []
    for place, at in enumerate([*doubts.at.tolist(), *rest]):
        label, now = corrected.originals(known, dataset, at)
        found = ("", "", "", "") if place >= len(doubts) else _cells(doubts, place, names)
        text = dataset.texts[at]
        lines.append((str(dataset.rows[at]), text, label, *found, now, corrected.text_hash(text)))
    return corrected.write_rows(HEADER, lines)


def _corrected_places(dataset: Dataset, known: Mapping[corrected.Key, corrected.Correction]) -> list[int]:
    numbers = {row for row, _ in known}
    places = [at for at, row in enumerate(dataset.rows) if row in numbers]
    return [at for at in places if (dataset.rows[at], corrected.text_hash(dataset.texts[at])) in known]


def _cells(doubts: Doubts, place: int, names: tuple[str, ...]) -> tuple[str, str, str, str]:
    return (
        names[doubts.suggested[place]],
        f"{doubts.probability[place]:.4f}",
        f"{doubts.quality[place]:.4f}",
        "yes" if doubts.issue[place] else "no",
    )


def doubtful(doubts: Doubts, dataset: Dataset, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the most doubtful rows whose likeliest class is another than their label, with texts: for the report.

    Args:
        doubts: Of ``dataset``.
        dataset: The rows.
        names: The classes, in id order.
    """
    rows = []
    for place, at in enumerate(doubts.at[:SHOWN].tolist()):
        suggested = names[doubts.suggested[place]]
        if suggested != dataset.labels[at]:
            rows.append(
                {
                    "row": dataset.rows[at],
                    "text": dataset.texts[at],
                    "label": dataset.labels[at],
                    "predicted": suggested,
                    "probability": float(doubts.probability[place]),
                    "quality": float(doubts.quality[place]),
                    "issue": bool(doubts.issue[place]),
                }
            )
    return rows
