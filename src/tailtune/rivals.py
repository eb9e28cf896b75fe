"""The cheap classifiers that stand beside the one that was trained: n-grams, and a probe on sentence embeddings.

All are fitted on the same training rows with the same class weights. The embeddings go through the feature store, so
that they cost once. Knows nothing about files of texts and reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailtune.aims import Settled
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.split import Split
from tailtune.evaluate.baselines import COUNTED, KINDS, SENTENCES, TITLES, Baseline, brought_to_shares, fit_baselines
from tailtune.examine import seen_rows
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.features.store import Features
from tailtune.learn import Learnt
from tailtune.methods.ngrams import NgramMember
from tailtune.methods.probe import choose_probe
from tailtune.methods.scorers import probabilities, score_features
from tailtune.models.sources.catalog import is_cached, pull
from tailtune.models.weights import fingerprint, load_decoder
from tailtune.progress import Progress, silent
from tailtune.rules import Doubles, Indices
from tailtune.text.tokenizer import Tokenizer

# What people use on a processor: 22 million weights, made for sentence embeddings.
MODEL = "minilm-l6"


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
    config: TrainConfig,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    *,
    store: Path,
    progress: Progress = silent,
) -> dict[str, Baseline]:
    """Return the baselines fitted on the training rows, by name; none where none are wanted.

    Where they are left open sentence embeddings are among them if their model is in the cache, unless it is the one
    that the classifier itself is made of; n-grams too, unless the classifier is nothing else.

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
    is_open = asked == ("auto",)

    def of(rows: Indices) -> tuple[list[str], Indices]:
        return [dataset.texts[row] for row in rows], learnt.ids[rows]

    fitted = fit_baselines(
        *of(split.train),
        classes=len(learnt.labels),
        weights=learnt.weights,
        seed=config.seed,
        names=_counted(asked, learnt),
        progress=progress,
    )
    if "minilm" in asked or (is_open and is_cached(MODEL)):
        folder = pull(MODEL, progress=progress).path
        weights = fingerprint(folder)
        if not is_open or weights != learnt.model["sha256"]:
            sentences = _Sentences.of(folder, weights=weights, store=store, device=config.device)
            fitted[SENTENCES] = _sentence_baseline(sentences, dataset, split, learnt, progress=progress)
    settled = learnt.settled
    if isinstance(settled, Settled) and settled.moved is not None:
        return brought_to_shares(fitted, settled.moved, *of(split.validation))
    return fitted


def _counted(asked: tuple[str, ...], learnt: Learnt) -> list[str]:
    """Names of the baselines that count; left open, without the one that is the classifier itself."""
    if "tfidf" in asked:
        return list(COUNTED)
    if asked != ("auto",):
        return list(COUNTED[:1])
    blend = learnt.fitted.blend
    own = {member.model.kind for member in blend.members if isinstance(member, NgramMember)} if blend else set()
    alone = learnt.fitted.method == "ngrams"
    return [name for name in COUNTED if not (alone and KINDS.get(name) in own)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sentences:
    """A sentence encoder: texts become the mean of their tokens' states above its last block."""

    tokenizer: Tokenizer
    passes: Passes

    @classmethod
    def of(cls, folder: Path, *, weights: str, store: Path, device: str) -> _Sentences:
        decoder = load_decoder(folder)
        return cls(
            tokenizer=Tokenizer.of_model(folder, max_tokens=decoder.config.context),
            passes=Passes(decoder, weights=weights, store=store, device=device),
        )

    @property
    def depth(self) -> int:
        return self.passes.decoder.config.blocks

    def features(self, texts: Sequence[str], progress: Progress = silent) -> Features:
        def told(stage: str, done: int, total: int, unit: str) -> None:
            progress(f"{stage}, sentence embeddings", done, total, unit)

        wanted = Wanted(pooled=(self.depth,))
        return self.passes.features(self.tokenizer.encode(texts), wanted, precision="fp32", progress=told)


def _sentence_baseline(
    sentences: _Sentences, dataset: Dataset, split: Split, learnt: Learnt, *, progress: Progress
) -> Baseline:
    """A probe on sentence embeddings, its penalty chosen as the classifier's own is."""
    started = time.perf_counter()
    rows, several = seen_rows(split, learnt), learnt.labels.several
    features = sentences.features(dataset.texts, progress)
    scorer, _, _ = choose_probe(
        features, rows, depths=(sentences.depth,), pooling="mean", penalties=rows.penalties, progress=progress
    )

    def classify(texts: Sequence[str]) -> Doubles:
        if not texts:
            return np.empty((0, rows.classes))
        read = sentences.features(texts)  # from the store: all texts of the data set were just read
        return probabilities(score_features(scorer, read, np.arange(len(texts))), several=several)

    seconds = time.perf_counter() - started
    return Baseline(name=SENTENCES, title=TITLES[SENTENCES], seconds=seconds, converged=True, classify=classify)
