"""What stands beside the classifier that was trained: n-grams, probes on sentence embeddings and on random weights.

All are fitted on the same training rows with the same class weights. The embeddings go through the feature store, so
that they cost once. Knows nothing about files of texts and reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tailtune.aims import Settled
from tailtune.choosing import MODEL
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.evaluate.baselines import COUNTED, SENTENCES, TITLES, UNTAUGHT, Baseline, brought_to_shares, fit_baselines
from tailtune.examine import seen_rows
from tailtune.features.passes import Passes
from tailtune.learn import Learnt
from tailtune.methods.entrants import Counted, Embedded, Encoder
from tailtune.methods.scorers import probabilities, score_features
from tailtune.models.random_weights import random_fingerprint, random_part
from tailtune.models.sources.catalog import pull
from tailtune.progress import Progress, silent
from tailtune.rules import Doubles, Indices
from tailtune.text.ngrams import Kind

_NAMES: Mapping[Kind, str] = {"word": "word_tfidf_lr", "char": "char_tfidf_lr"}


def fetch_rivals(config: TrainConfig, *, progress: Progress = silent) -> None:
    """Fetch what the baselines asked for need, before anything is computed that a failure would lose.

    Args:
        config: Says which.
        progress: Told the bytes fetched.

    Raises:
        SetupError: If it cannot be fetched.
    """
    if "minilm" in config.asked_baselines:
        pull(MODEL, progress=progress)


def baselines_of(
    config: TrainConfig, dataset: Dataset, split: Split, learnt: Learnt, *, store: Path, progress: Progress = silent
) -> dict[str, Baseline]:
    """Return the baselines fitted on the training rows, by name; none where none are wanted.

    Where they are left open sentence embeddings are among them if their model is in the cache, unless it is the one
    that the classifier itself is made of; n-grams, unless the classifier is nothing else. What stood beside the
    classifier on the ladder is not fitted again.

    Args:
        config: Says which.
        dataset: Of the texts.
        split: Its parts.
        learnt: On the same parts: classes are weighed as there, and brought back to the same shares.
        store: Folder of the feature stores.
        progress: Told how far they are.
    """
    asked = config.asked_baselines
    if not asked:
        return {}

    def of(rows: Indices) -> tuple[list[str], Indices]:
        return [dataset.texts[row] for row in rows], learnt.ids[rows]

    fitted = fit_baselines(*of(split.train), classes=len(learnt.labels), names=COUNTED[:1], progress=progress)
    if asked == ("auto",) or "tfidf" in asked:
        alone = learnt.fitted.parts if learnt.fitted.method == "ngrams" and "tfidf" not in asked else ()
        others = [entrant for entrant in learnt.beside.counted if entrant.name not in alone]
        counted = [_counted(entrant, several=learnt.labels.several) for entrant in others]
        fitted |= {baseline.name: baseline for baseline in counted}
    if learnt.beside.embedded is not None and (asked == ("auto",) or "minilm" in asked):
        fitted[SENTENCES] = _embedded(learnt.beside.embedded, SENTENCES, several=learnt.labels.several)
    if "random" in asked:
        untaught = _untaught(config, dataset, split, learnt, store=store, progress=progress)
        fitted[UNTAUGHT] = _embedded(untaught, UNTAUGHT, several=learnt.labels.several)
    settled = learnt.settled
    if isinstance(settled, Settled) and settled.moved is not None:
        return brought_to_shares(fitted, settled.moved, *of(split.validation))
    return fitted


def _counted(entrant: Counted, *, several: bool) -> Baseline:
    model, name = entrant.final(), _NAMES[entrant.kind]

    def classify(texts: Sequence[str]) -> Doubles:
        return probabilities(model.scores(texts), several=several)

    return Baseline(
        name=name, title=TITLES[name], seconds=entrant.seconds, converged=entrant.converged, classify=classify
    )


def _untaught(
    config: TrainConfig, dataset: Dataset, split: Split, learnt: Learnt, *, store: Path, progress: Progress
) -> Embedded:
    """The language model as it was before its pretraining, at the depth of the classifier: what that brings."""
    bundle, seed = learnt.language_model.bundle, config.seed
    shape, depth = bundle.decoder.config, max(1, learnt.fitted.scorer.depth)

    def drawn() -> Encoder:
        passes = Passes(
            random_part(shape, depth=depth, seed=seed, final_norm=False),
            weights=random_fingerprint(shape, seed),
            store=store,
            device=config.device,
        )
        return Encoder(model="random weights", tokenizer=bundle.tokenizer, passes=passes)

    rows = seen_rows(split, learnt)
    return Embedded(open=drawn, base="random", texts=dataset.texts, rows=rows, progress=progress)


def _embedded(entrant: Embedded, name: str, *, several: bool) -> Baseline:
    """A probe on the mean of each text's states, its penalty chosen as the classifier's own is."""
    way = entrant.way("top")

    def classify(texts: Sequence[str]) -> Doubles:
        if not texts:
            return np.empty((0, entrant.rows.classes))
        features = entrant.encoder.features(texts, way.depths)  # from the store: all texts of the data set were read
        return probabilities(score_features(way.scorer, features, np.arange(len(texts))), several=several)

    return Baseline(name=name, title=TITLES[name], seconds=way.seconds, converged=True, classify=classify)
