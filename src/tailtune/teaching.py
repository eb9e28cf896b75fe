"""What a classifier is taught beyond the labels: soft labels of the data, and the answers of a larger classifier.

Distillation (Hinton, Vinyals and Dean 2015): a smaller depth or model learns the probabilities of a teacher, on the
training texts and on any number of unlabelled ones. Held-out rows and the test keep their labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset, is_blank
from tailtune.data.groups import find_near
from tailtune.data.read import read_texts
from tailtune.data.shares import likeliest
from tailtune.data.split import Split
from tailtune.errors import ConfigError, DataError
from tailtune.evaluate.metrics import score
from tailtune.ledger import overlap
from tailtune.predict import Predictor
from tailtune.progress import Progress, Say
from tailtune.rules import Doubles, Indices
from tailtune.runs import Stopwatch
from tailtune.template import Template

# Shares below this are not worth remembering: of 150 classes most have less.
SMALLEST = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Taught:
    """The rows to learn from.

    Attributes:
        dataset: The rows that serve a part, unlabelled texts behind them; its ``shares`` are what is learnt.
        split: Its training part holds the unlabelled texts too.
        teacher: Who taught; None without one.
        about: The teaching, for metrics.json; empty without a teacher.
    """

    dataset: Dataset
    split: Split
    teacher: Predictor | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def tested(self, test: Indices, truth: Indices) -> dict[str, Any]:
        """Return ``teacher`` of metrics.json, with its own scores on the test rows; {} without one.

        Args:
            test: Positions.
            truth: int [test] class ids.
        """
        if self.teacher is None:
            return {}
        rows = self.teacher.predict_proba([self.dataset.texts[at] for at in test.tolist()])
        scores = score(truth, rows, self.teacher.labels).as_json()
        kept = {name: scores[name] for name in ("accuracy", "accuracy_interval", "macro_f1", "log_loss")}
        return {"teacher": {**self.about, "test": kept}}


def teach(
    config: TrainConfig, dataset: Dataset, split: Split, *, watch: Stopwatch, progress: Progress, say: Say
) -> Taught:
    """Return what is to be learnt: labels, soft labels, or a teacher's answers mixed with them.

    Args:
        config: Says who teaches, on which further texts, and how much the teacher counts beside the labels.
        dataset: The rows that serve a part.
        split: Of them.
        watch: Given the seconds of the teacher.
        progress: Told how far the teacher is.
        say: Told how many unlabelled texts are used.

    Raises:
        ConfigError: If the teacher knows other labels.
        DataError: If it learnt from test rows: its answers would carry their labels into this classifier.
    """
    if config.teacher is None:
        return Taught(dataset=dataset, split=split)
    with watch.stage("teacher"):
        teacher = Predictor.load(config.teacher, device=config.device)
        return _by_teacher(teacher, config, dataset, split, progress=progress, say=say)


def _by_teacher(
    teacher: Predictor, config: TrainConfig, dataset: Dataset, split: Split, *, progress: Progress, say: Say
) -> Taught:
    assert config.teacher is not None
    _require_fits(config.teacher, teacher, config, dataset)
    _require_unseen(config.teacher, [dataset.texts[at] for at in split.test.tolist()], say)
    extended, parts, left_out = _with_unlabelled(config, dataset, split, progress)
    count = len(extended) - len(dataset)
    if config.unlabelled:
        say(f"the teacher answers {count} unlabelled texts; {left_out} were left out: blank, or like held-out rows")
    asked = np.concatenate((split.train, np.arange(len(dataset), len(extended))))
    answers = teacher.predict_proba([extended.texts[at] for at in asked.tolist()], progress=progress)
    shares, labels = list(dataset.shared), list(extended.labels)
    shares += [{}] * count
    for at, row in zip(asked.tolist(), _softened(answers, config.teacher_temperature), strict=True):
        said = dict(zip(teacher.labels, row.tolist(), strict=True))
        shares[at] = _mixed(said, shares[at], config.teacher_share if at < len(dataset) else 1.0)
        if at >= len(dataset):
            labels[at] = likeliest(shares[at])
    about = {
        "teacher": config.teacher,
        "share": config.teacher_share,
        "temperature": config.teacher_temperature,
        "unlabelled": count,
        "left_out": left_out,
    }
    taught = replace(extended, labels=tuple(labels), shares=tuple(shares))
    return Taught(dataset=taught, split=parts, teacher=teacher, about=about)


def _mixed(said: Mapping[str, float], labelled: Mapping[str, float], share: float) -> dict[str, float]:
    """The teacher's answer and the label together, very small shares left out."""
    mixed = {name: share * value + (1 - share) * labelled.get(name, 0.0) for name, value in said.items()}
    kept = {name: value for name, value in mixed.items() if value >= SMALLEST}
    total = sum(kept.values())
    return {name: value / total for name, value in kept.items()}


def _joined_by(template: Template | None) -> tuple[tuple[str, ...], ...] | None:
    """What a text is made of where that is several columns; the words around it are each classifier's own."""
    return (template.columns, template.between) if template is not None and template.joins else None


def _require_fits(path: str, teacher: Predictor, config: TrainConfig, dataset: Dataset) -> None:
    if teacher.bundle.labels.several or dataset.sets is not None:
        raise ConfigError("--teacher is for one label per text", hint="leave it away")
    if teacher.labels != dataset.label_set.names:
        raise ConfigError(
            f"--teacher {path} knows {', '.join(map(repr, teacher.labels[:10]))}; the data have "
            f"{', '.join(map(repr, dataset.label_set.names[:10]))}",
            hint="teach with a classifier of the same labels",
        )
    if _joined_by(teacher.bundle.tokenizer.template) != _joined_by(config.made_by):
        said = f"--teacher {path} reads texts of other columns, or joined in another way, than --template makes here"
        raise ConfigError(said, hint="teach with a classifier of the same template")


def _require_unseen(path: str, texts: Sequence[str], say: Say) -> None:
    learnt = overlap(Path(path), texts)
    if not learnt:
        say(f"--teacher {path} kept no account of its texts: whether it learnt from test rows cannot be told")
    if seen := sum(count for part, count in learnt.items() if part != "test"):
        raise DataError(
            f"--teacher {path} learnt from or was chosen by {seen} of the {len(texts)} test rows, so its answers "
            "would give their labels away",
            hint="train the teacher on the same parts: the same data, settings of the split and --seed",
        )


def _with_unlabelled(
    config: TrainConfig, dataset: Dataset, split: Split, progress: Progress
) -> tuple[Dataset, Split, int]:
    """The rows with the unlabelled texts behind them, in training; and how many were left out."""
    if config.unlabelled is None:
        return dataset, split, 0
    read = read_texts(
        Path(config.unlabelled), text_column=config.text_column, template=config.made_by, progress=progress
    ).texts
    texts = [text for text in read if not is_blank(text)]
    chains = find_near((*dataset.texts, *texts), config.near_duplicates).chains()
    held_out = chains[np.concatenate((split.validation, split.test))]
    new = np.flatnonzero(~np.isin(chains[len(dataset) :], held_out)).tolist()
    if not new:
        raise DataError("no text that is not blank or like a held-out row", path=config.unlabelled)
    return *_extended(dataset, split, [texts[at] for at in new]), len(read) - len(new)


def _extended(dataset: Dataset, split: Split, texts: Sequence[str]) -> tuple[Dataset, Split]:
    count, first = len(texts), len(dataset)
    # They stand in no file of labelled rows: numbers below 1 can be mistaken for none there.
    extended = replace(
        dataset,
        texts=(*dataset.texts, *texts),
        labels=(*dataset.labels, *[dataset.labels[0]] * count),
        rows=(*dataset.rows, *(-at for at in range(1, count + 1))),
        columns={name: (*values, *[""] * count) for name, values in dataset.columns.items()},
        shares=None,
    )
    groups = np.concatenate((split.groups, split.groups.max(initial=-1) + 1 + np.arange(count)))
    train = np.concatenate((split.train, np.arange(first, first + count)))
    return extended, replace(split, train=train, groups=groups)


def _softened(rows: Doubles, temperature: float) -> Doubles:
    """The probabilities [n, C] to the power 1 / temperature, summing to 1 again."""
    powers = np.maximum(rows, np.finfo(np.float64).tiny) ** (1 / temperature)
    softened: Doubles = powers / powers.sum(axis=1, keepdims=True)
    return softened
