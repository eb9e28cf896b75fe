"""How texts look to a frozen backbone: their vectors and, where there is a classifier, what it says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailtune.bundle import Bundle
from tailtune.features.backbone import Backbone, Floats, Wanted, choose_device
from tailtune.features.passes import Passes, store_of
from tailtune.features.store import Features
from tailtune.labels import LabelSet
from tailtune.methods.scan import usual_depth
from tailtune.methods.scorers import (
    NoScorer,
    Pooling,
    ProbeScorer,
    in_order,
    pool,
    pooling_of,
    probabilities,
    score_features,
)
from tailtune.models.parts import load_part, read_shape
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint
from tailtune.predict import Predictor
from tailtune.progress import Progress, silent
from tailtune.storage import read_json
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import Windows


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Some texts as they look.

    Attributes:
        vectors: [texts, F] pooled at the cut.
        labels: Of the classifier; None where there is none yet.
        probabilities: [texts, C] after its rules; None where there is none yet.
        source: By what, as a person would say it.
    """

    vectors: Floats
    labels: LabelSet | None = None
    probabilities: NDArray[np.float64] | None = None
    source: str = ""


def classifier_view(bundle: Bundle, texts: Sequence[str], *, store: Path, progress: Progress = silent) -> View:
    """Return how ``texts`` look to a classifier and what it says of them.

    A probe's features go through the store, under the name of the pretrained weights: asking again costs nothing, and
    the next training finds them there. A tail's token states are 20 to 100 times as large: those texts are read twice,
    to be answered and to be compared.

    Args:
        bundle: The classifier.
        texts: At least one.
        store: Folder of the feature stores.
        progress: Told tokens done.
    """
    tokens, windows = bundle.tokenizer.read(texts)
    backbone = Backbone(bundle.decoder, device=choose_device("auto", bundle.precision))
    weights, scorer = bundle.about.get("model", {}).get("sha256"), bundle.scorer
    if isinstance(scorer, ProbeScorer) and weights and bundle.blend is None:
        kept = store_of(store, weights=weights, precision=bundle.precision)
        features = kept.features(backbone, tokens, scorer.wanted, progress=progress)
        features.windows = windows
        scores = score_features(scorer, features, np.arange(len(texts)))
        answers = bundle.rules.apply(probabilities(scores, several=bundle.labels.several))
        return View(
            vectors=_pooled(features, scorer.depth, scorer.pooling), labels=bundle.labels, probabilities=answers
        )
    answers = Predictor(bundle).predict_proba(texts, progress=progress)
    if isinstance(scorer, NoScorer):  # n-grams alone: what they say of the texts is all there is to compare
        return View(vectors=answers.astype(np.float32), labels=bundle.labels, probabilities=answers)
    cut, pooled = scorer.wanted.depth, []
    for piece in backbone.run(tokens, Wanted(pooled=(cut,))):
        pooled.append((piece.batch.texts, pool(piece.pooled[cut], "last+mean")))
        progress("comparing", sum(len(places) for places, _ in pooled), len(tokens), "texts")
    return View(vectors=_of_texts(in_order(pooled), windows), labels=bundle.labels, probabilities=answers)


def model_view(model: str, texts: Sequence[str], *, store: Path, progress: Progress = silent) -> View:
    """Return how ``texts`` look to a pretrained model at its ``usual_depth``: without labels nothing tells better.

    Args:
        model: Catalogue name, local folder or hub id.
        texts: At least one.
        store: Folder of the feature stores.
        progress: Told bytes fetched and tokens done.

    Raises:
        TailtuneError: If the model cannot be had or used.
    """
    found = resolve(model, progress=progress)
    shape = read_shape(read_json(found.path / "config.json"))
    depth = max(1, round(usual_depth(shape)))
    passes = Passes(
        load_part(found.path, depth=depth, final_norm=False),
        weights=fingerprint(found.path),
        store=store,
        device="auto",
    )
    tokens, windows = Tokenizer.of_model(found.path, max_tokens=shape.context).read(texts)
    wanted = Wanted(pooled=(depth,))
    features = passes.features(tokens, wanted, precision="fp32", windows=windows, progress=progress)
    vectors = _pooled(features, depth, pooling_of("auto", causal=shape.causal))
    return View(vectors=vectors, source=f"{found.name} at depth {depth} of {shape.blocks}")


def _pooled(features: Features, depth: int, pooling: Pooling) -> Floats:
    return _of_texts(pool(features.pooled(depth), pooling), features.windows)


def _of_texts(vectors: Floats, windows: Windows) -> Floats:
    """[texts, F] the mean over the windows of each text."""
    if windows.single:
        return vectors
    sums = np.add.reduceat(vectors, windows.offsets[:-1], axis=0)
    return np.asarray(sums / windows.counts[:, None], dtype=np.float32)
