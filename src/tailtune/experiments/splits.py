"""The texts of an experiment and which of them serve what: the book's two splits, one without leaks, the reviews'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.data import catalog
from tailtune.data.chapter import CHAPTER_SEED, chapter_split
from tailtune.data.check import require_trainable
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split, split_dataset, split_ids
from tailtune.errors import DataError
from tailtune.experiments.imdb import MISSING, WANTED
from tailtune.experiments.settings import SplitName
from tailtune.labels import LabelSet
from tailtune.progress import Progress, silent
from tailtune.storage import canonical_json, sha256_bytes

Indices = NDArray[np.int64]

ABOUT: Mapping[SplitName, str] = {
    "chapter": "the chapter's own split",
    "bonus": "the split of the bonus experiments: the chapter's rows, shuffled once more",
    "leak-free": "the chapter's rows split anew, near-duplicates in one part",
    "imdb": "the reviews, shuffled: 70 % to learn from, 10 % to choose by, 20 % to test with",
}
_LEAK_FREE_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """The rows that serve a part.

    Attributes:
        name: Of the split.
        source: Name of the file or data set, without its folder.
        dataset: Those rows alone.
        split: Which of them serve what.
        labels: The classes.
        copied: [tests] whether a test text is, letter for letter, a training text too.
    """

    name: SplitName
    source: str
    dataset: Dataset
    split: Split
    labels: LabelSet
    copied: NDArray[np.bool_]

    @property
    def ids(self) -> Indices:
        """[rows] class ids."""
        return self.dataset.ids(self.labels)

    @property
    def parts(self) -> Mapping[str, Indices]:
        """Positions of each part, by its name."""
        return {"train": self.split.train, "validation": self.split.validation, "test": self.split.test}

    def identity(self) -> dict[str, Any]:
        """Return what a result depends on: the file, and a hash of the rows of each part in their order."""
        rows = split_ids(self.dataset, self.split)
        parts = {name: rows[name] for name in self.parts}
        return {"name": self.name, "data": self.dataset.sha256, "rows": sha256_bytes(canonical_json(parts).encode())}


def load_texts(data: str, name: SplitName, progress: Progress = silent) -> Texts:
    """Return the texts of the file or data set ``data`` under the split ``name``.

    On other data than the SMS collection the book's steps are taken with what is there: as many rows of each class as
    the rarest has, 70/10/20.

    Raises:
        DataError: If they cannot be read, a part is left empty, or there is only one class.
        SetupError: If a named set cannot be had.
    """
    if name == "imdb":
        dataset, split = _reviews(data, progress)
    else:
        named = catalog.locate(data, progress)
        dataset, split = chapter_split(named.path, bonus=name == "bonus", progress=progress)
        dataset, split = _used(catalog.with_source(dataset, named), split)
        if name == "leak-free":
            split = split_dataset(dataset, seed=_LEAK_FREE_SEED)
    require_trainable(dataset)
    texts = Texts(
        name=name,
        source=Path(data).name,
        dataset=dataset,
        split=split,
        labels=dataset.label_set,
        copied=_copied(dataset, split),
    )
    for part, rows in texts.parts.items():
        if not len(rows):
            raise DataError(f"no rows are left for the {part} part", path=dataset.source, hint="give more rows")
    return texts


def _used(dataset: Dataset, split: Split) -> tuple[Dataset, Split]:
    """The rows that serve a part, in the order of the file, and the same split of them."""
    kept = np.sort(np.concatenate([split.train, split.validation, split.test]))
    moved = {name: np.searchsorted(kept, getattr(split, name)) for name in ("train", "validation", "test")}
    groups = split.groups[kept]
    return dataset.take(kept.tolist()), replace(split, **moved, unused=split.unused[:0], groups=groups)


def _reviews(data: str, progress: Progress) -> tuple[Dataset, Split]:
    """The reviews, shuffled twice as the book does; another file goes through the same steps with what it holds."""
    if data == "sms-spam":
        raise DataError(MISSING, hint=WANTED)
    dataset = catalog.open_dataset(data, progress=progress)
    random = np.random.RandomState(CHAPTER_SEED)
    order = np.arange(len(dataset))
    for _ in range(2):
        order = order[random.permutation(len(order))]
    train, held = int(0.7 * len(order)), int(0.1 * len(order))
    split = Split(
        train=order[:train],
        validation=order[train : train + held],
        test=order[train + held :],
        unused=order[:0],
        groups=np.arange(len(order)),
        kind="imdb",
        seed=CHAPTER_SEED,
    )
    return dataset, split


def _copied(dataset: Dataset, split: Split) -> NDArray[np.bool_]:
    known = {dataset.texts[at] for at in split.train}
    return np.array([dataset.texts[at] in known for at in split.test], dtype=np.bool_)
