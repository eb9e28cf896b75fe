"""The texts of users that a run shows: worst errors and doubtful labels, with the words that their answers hang on.

Texts reach a run folder from here and from nowhere else, as report.html and doubts.csv.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.doubts import SHOWN, Doubts, doubtful, doubts_csv, find_doubts, judge_of
from tailtune.examine import Tested, worst
from tailtune.explain import Asked, explain_all
from tailtune.learn import Learnt
from tailtune.predict import Predictor
from tailtune.progress import Say
from tailtune.runs import Stopwatch

# Read at most for the highlights of one section: about a second of the default model at depth 18 on two cores.
MOST_TOKENS = 3_000

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quoted:
    """What a run shows with texts, and what may be said of it without.

    Attributes:
        worst: Test rows of the highest loss, for the report.
        doubtful: Training and validation rows of doubtful labels, for the report.
        about: For metrics.json: counts, no text.
        files: Name -> content, for the run folder.
    """

    worst: Rows
    doubtful: Rows = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def quote(
    part: Tested, dataset: Dataset, split: Split, learnt: Learnt, config: TrainConfig, *, watch: Stopwatch, say: Say
) -> Quoted:
    """Return what the run shows with texts.

    Args:
        part: The test part as it was answered.
        dataset: The rows that serve a part.
        split: Of them.
        learnt: The classifier.
        config: The settings.
        watch: Given the seconds of each stage.
        say: Told how many labels are doubtful.
    """
    shown, predictor = Quoted(worst=worst(part)), learnt.predictor
    if config.doubts:
        with watch.stage("doubts"):
            found = find_doubts(split, learnt)
            shown = _with_doubts(shown, found, dataset, learnt, config)
            if shown.doubtful:
                predictor = judge_of(split, learnt, rows=found.at[:SHOWN])
        say(_note(found))
    if config.highlights:
        with watch.stage("highlights"):
            if not part.folds:  # the classifier that is saved has learnt from them there
                _highlight(shown.worst, learnt.predictor)
            _highlight(shown.doubtful, predictor)
    return shown


def _with_doubts(shown: Quoted, found: Doubts, dataset: Dataset, learnt: Learnt, config: TrainConfig) -> Quoted:
    names = learnt.labels.names
    return replace(
        shown,
        doubtful=doubtful(found, dataset, names),
        about={"doubts": found.as_json(dataset)},
        files={"doubts.csv": doubts_csv(found, dataset, names, config.relabel)} if len(found) else {},
    )


def _note(found: Doubts) -> str:
    if not len(found):
        return found.how
    return f"doubts: {int(found.issue.sum()):,} of {len(found):,} labels are probably wrong; doubts.csv has them all"


def _highlight(rows: Rows, predictor: Predictor) -> None:
    """Add to each row the words that its answer hangs on."""
    asked = [Asked(text=row["text"], label=row["predicted"]) for row in rows]
    for row, highlights in zip(rows, explain_all(predictor, asked, tokens=MOST_TOKENS), strict=True):
        row["highlights"] = [(each.start, each.end, each.change) for each in highlights]
