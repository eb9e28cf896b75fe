"""Texts and stored features of the public sets for the scripts on few labels: rows to draw from, and rows to test."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from public_sets import sms_spam, snips
from tailtune.data.dataset import Dataset
from tailtune.data.groups import group_rows
from tailtune.data.read import dataset_from_lists
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.features.store import Features
from tailtune.methods.auto import plan
from tailtune.methods.scorers import Pooling, pooling_of
from tailtune.models.parts import Shape, load_part
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint
from tailtune.preparing import store_root
from tailtune.text.tokenizer import Tokenizer

SETS = {"sms": sms_spam, "snips": snips}
TEST, POOL = 1000, 2000
Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """One set of texts.

    Attributes:
        name: Of the set.
        model: Name of the model.
        dataset: The texts, one of each group of near duplicates.
        labels: [texts] class ids.
        features: Pooled vectors at ``depths``.
        depths: Those that a scan would compare, ascending.
        pooling: That a probe reads.
        shape: Of the model.
        pool: [POOL] rows to draw from.
        test: [TEST] rows to test.
    """

    name: str
    model: str
    dataset: Dataset
    labels: Indices
    features: Features
    depths: tuple[int, ...]
    pooling: Pooling
    shape: Shape
    pool: Indices
    test: Indices

    @property
    def classes(self) -> int:
        """C."""
        return len(self.dataset.classes)


def material(name: str, model: str) -> Material:
    """Return ``TEST`` + ``POOL`` rows of a set and their features, from the store where they are there.

    One text of each group of near duplicates is kept, so that no test row has a twin in what is learnt.

    Args:
        name: In SETS; TAILTUNE_DATA names the folder.
        model: Catalogue name.
    """
    rows = SETS[name](Path(os.environ["TAILTUNE_DATA"]))
    whole = dataset_from_lists([text for text, _ in rows], [label for _, label in rows], source=name)
    _, first = np.unique(group_rows(whole).ids, return_index=True)
    chosen = np.random.default_rng(0).permutation(first)[: TEST + POOL]
    dataset = whole.take(chosen.tolist())
    found = resolve(model)
    shape = load_part(found.path, depth=1).config
    planned = plan("probe", "auto", blocks=1, total=shape.blocks, causal=shape.causal)
    with store_root(keep=True) as store:
        part = load_part(found.path, depth=planned.top)
        passes = Passes(part, weights=fingerprint(found.path), store=store, device="cpu")
        tokens = Tokenizer.of_model(found.path, max_tokens=shape.context).encode(dataset.texts)
        features = passes.features(tokens, Wanted(pooled=planned.depths), precision="fp32")
    return Material(
        name=name,
        model=model,
        dataset=dataset,
        labels=dataset.ids(dataset.label_set),
        features=features,
        depths=planned.depths,
        pooling=pooling_of("auto", causal=shape.causal),
        shape=shape,
        pool=np.arange(TEST, TEST + POOL),
        test=np.arange(TEST),
    )


def draw(given: Material, each: int, seed: int) -> Indices:
    """Return ``each`` rows of the pool of every class, drawn with ``seed``."""
    order = np.random.default_rng(seed).permutation(given.pool)
    return np.concatenate([order[given.labels[order] == label][:each] for label in range(given.classes)])
