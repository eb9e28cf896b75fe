"""What every run of the bench is given: the chapter's split of the data, its recipe, and one pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split, without_unused
from tailtune.evaluate.metrics import correct_rows
from tailtune.labels import LabelSet
from tailtune.models.parts import read_shape
from tailtune.models.sources import catalog
from tailtune.parts import prepare
from tailtune.resolving import resolve
from tailtune.storage import read_json
from tailtune.text.tokenizer import Tokenizer, Tokens

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Texts, labels and model. The test texts stand apart: no training reads them, and none is timed on them.

    Attributes:
        config: The chapter's recipe.
        seen: Training and validation rows.
        parts: Which of them serve what; the test part is empty.
        labels: The classes.
        test_texts: Texts of the test part.
        test_ids: [tests] their class ids.
        sha256: Of the data file.
        model: The pretrained model's folder.
    """

    config: TrainConfig
    seen: Dataset
    parts: Split
    labels: LabelSet
    test_texts: tuple[str, ...]
    test_ids: Ids
    sha256: str
    model: Path

    @property
    def ids(self) -> Ids:
        """[rows of ``seen``] class ids."""
        return self.labels.ids(self.seen.labels)

    def texts(self, rows: Ids) -> list[str]:
        """Return the texts of those rows of ``seen``."""
        return [self.seen.texts[row] for row in rows.tolist()]

    def tokenizer(self) -> Tokenizer:
        """Return the model's tokenizer; it cuts texts at the model's context, as training does."""
        context = read_shape(read_json(self.model / "config.json")).context
        return Tokenizer.of_model(self.model, max_tokens=context)

    def score(self, probabilities: NDArray[np.floating[Any]]) -> dict[str, Any]:
        """Return the accuracy on the first texts of the test part, as counts and share.

        Args:
            probabilities: [texts, C], or the logits.
        """
        right = correct_rows(self.test_ids[: len(probabilities)], probabilities.astype(np.float64))
        return {"correct": int(right.sum()), "tests": len(right), "accuracy": float(right.mean())}


def load_material(request: Mapping[str, Any]) -> Material:
    """Return the material that a request asks for.

    Args:
        request: ``data`` (file or name), ``model``, and ``rows``: most rows of the training part, of which the other
            parts get their share; None takes all.

    Raises:
        TailtuneError: If data or model cannot be had.
    """
    config = resolve({"data": request["data"], "model": request["model"], "recipe": "chapter"}).config
    dataset, split = prepare(config)
    if request["rows"] is not None:
        split = _fewer(split, int(request["rows"]))
    seen, parts = without_unused(dataset, replace(split, test=split.test[:0]))
    labels = LabelSet.of(seen.labels)
    return Material(
        config=config,
        seen=seen,
        parts=parts,
        labels=labels,
        test_texts=tuple(dataset.texts[row] for row in split.test.tolist()),
        test_ids=labels.ids([dataset.labels[row] for row in split.test.tolist()]),
        sha256=dataset.sha256,
        model=catalog.resolve(config.model).path,
    )


def _fewer(split: Split, rows: int) -> Split:
    share = rows / len(split.train)
    kept = {part: getattr(split, part) for part in ("train", "validation", "test")}
    return replace(split, **{part: held[: max(2, round(share * len(held)))] for part, held in kept.items()})


def pieces(tokens: Tokens) -> list[Ids]:
    """Return the token ids of each text, int64."""
    return [part.astype(np.int64) for part in np.split(tokens.ids, tokens.offsets[1:-1])]
