"""Which score tells texts of no class: AUROC of several, on frozen features of the default model in int8.

CLINC150 with its own out-of-scope texts (150 classes), SNIPS with two of seven intents left out (5), SMS against
YouTube comments and SNIPS (2). Writes bench/results/scope.json.

    TAILTUNE_DATA=DIR .venv/bin/python bench/scope.py [--depth 9]

DIR holds clinc150/data_small.json, snips/train_*_full.json, sms_spam/SMSSpamCollection and youtube_spam/*.csv.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from public_sets import Labelled, clinc150, sms_spam, snips, youtube_spam
from tailtune.evaluate.scope import told_apart
from tailtune.features.backbone import Floats, Wanted
from tailtune.features.passes import Passes
from tailtune.features.store import Features
from tailtune.labels import LabelSet
from tailtune.methods.familiar import fit_scope
from tailtune.methods.linear import fit_linear
from tailtune.methods.probe import Rows
from tailtune.methods.scorers import pool
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint, load_decoder
from tailtune.preparing import store_root
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.text.tokenizer import Tokenizer

RESULTS = Path(__file__).resolve().parent / "results"
MODEL = "smollm2-135m-instruct"
Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Texts to learn from, to compare with, to test with, and texts of no class."""

    name: str
    train: Sequence[Labelled]
    validation: Sequence[Labelled]
    test: Sequence[Labelled]
    outside: Sequence[str]


def materials(root: Path) -> Iterator[Material]:
    """Yield every set of texts, drawn with one seed."""
    draw = random.Random(0)
    held_out = [draw.sample(clinc150(root, name), 1500) for name in ("val", "test")]
    outside = [text for text, _ in clinc150(root, "oos_test")]
    train = clinc150(root, "train")
    yield Material(name="clinc150", train=train, validation=held_out[0], test=held_out[1], outside=outside)
    intents: dict[str, list[str]] = {}
    for text, name in snips(root):
        intents.setdefault(name, []).append(text)
    intents = {name: texts[:260] for name, texts in intents.items()}
    names = sorted(intents)
    for left_out in (names[:2], names[2:4], names[4:6]):
        rows = [(text, name) for name in names if name not in left_out for text in intents[name]]
        strange = [text for name in left_out for text in intents[name]]
        yield _material(f"snips without {' and '.join(left_out)}", draw.sample(rows, len(rows)), strange)
    messages, comments = draw.sample(sms_spam(root), 1800), [text for text, _ in youtube_spam(root)]
    yield _material("sms against comments", messages, draw.sample(comments, 250))
    yield _material(
        "sms against snips", messages, draw.sample([text for texts in intents.values() for text in texts], 250)
    )


def _material(name: str, rows: Sequence[Labelled], outside: Sequence[str]) -> Material:
    first, second = round(0.6 * len(rows)), round(0.75 * len(rows))
    return Material(name=name, train=rows[:first], validation=rows[first:second], test=rows[second:], outside=outside)


def scores(features: Features, rows: Rows, others: NDArray[np.int64], depth: int) -> dict[str, Doubles]:
    """Return name -> strangeness of the texts ``others``, higher is stranger."""
    vectors = pool(features.pooled(depth), "last+mean")
    linear = fit_linear(vectors[rows.train], rows.labels[rows.train], penalty=0.1, classes=rows.classes)
    logits = linear.scores(vectors[others]).astype(np.float64)
    energy = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1)
    placed = (vectors - linear.mean) / linear.scale
    train, labels = placed[rows.train], rows.labels[rows.train]
    means = np.stack([train[labels == label].mean(axis=0) for label in range(rows.classes)])
    near = _nearest(placed[others], means, train - means[labels])
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (placed[others], train)]
    return {
        "1 - largest probability": 1 - np.exp(logits.max(axis=1) - energy),
        "energy": -energy,
        "Mahalanobis": near,
        "relative Mahalanobis": near - _nearest(placed[others], train.mean(axis=0, keepdims=True), train),
        "10th nearest cosine": -np.partition(unit[0] @ unit[1].T, -10, axis=1)[:, -10].astype(np.float64),
        "angle to class means, whitened": fit_scope(features, rows, depth).strangeness(features.pooled(depth)[others]),
    }


def _nearest(vectors: Floats, means: Floats, apart: Floats) -> Doubles:
    """[n] squared Mahalanobis distance to the nearest mean; a tenth of the spread is taken to be alike everywhere."""
    spread = (apart.T @ apart).astype(np.float64) / len(apart)
    shrunk = 0.9 * spread + 0.1 * np.trace(spread) / len(spread) * np.eye(len(spread))
    weight = np.linalg.cholesky(np.linalg.inv(shrunk))
    left, right = vectors @ weight, means @ weight
    squares = (left**2).sum(axis=1)[:, None] - 2 * left @ right.T + (right**2).sum(axis=1)
    return np.asarray(squares.min(axis=1))


def measured(material: Material, passes: Passes, tokenizer: Tokenizer, depth: int) -> dict[str, Any]:
    """Return what each score comes to on one set of texts."""
    labelled = [*material.train, *material.validation, *material.test]
    features = passes.features(
        tokenizer.encode([*(text for text, _ in labelled), *material.outside]),
        Wanted(pooled=(depth,)),
        precision="int8",
    )
    labels = LabelSet.of(label for _, label in material.train)
    known = np.append(labels.ids(label for _, label in labelled), np.full(len(material.outside), -1))
    borders = np.cumsum([len(material.train), len(material.validation), len(material.test)]).tolist()
    rows = Rows(
        train=np.arange(borders[0]),
        validation=np.arange(borders[0], borders[1]),
        labels=known,
        groups=np.arange(len(known)),
        classes=len(labels),
    )
    test = borders[2] - borders[1]
    found = scores(features, rows, np.arange(borders[1], len(known)), depth)
    told = {name: told_apart(values[:test], values[test:]) for name, values in found.items()}
    return {"classes": len(labels), "train": borders[0], "test": test, "outside": len(material.outside), "scores": told}


def main() -> None:
    """Measure every score on every set and print the areas."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depth", type=int, default=9)
    given = parser.parse_args()
    model = resolve(MODEL)
    tokenizer = Tokenizer.of_model(model.path, max_tokens=256)
    result: dict[str, Any] = {"versions": versions(), "model": MODEL, "depth": given.depth, "precision": "int8"}
    with store_root(keep=True) as store:
        decoder = load_decoder(model.path, depth=given.depth)
        passes = Passes(decoder, weights=fingerprint(model.path), store=store, device="cpu")
        for material in materials(Path(os.environ["TAILTUNE_DATA"])):
            found = result[material.name] = measured(material, passes, tokenizer, given.depth)
            print(
                f"{material.name}: {found['classes']} classes, {found['test']} tested, {found['outside']} of no class"
            )
            for name, told in found["scores"].items():
                print(
                    f"  {name:32}{told['auroc']:.3f}, {100 * told['passed']['share']:.0f} % pass where 95 % do",
                    flush=True,
                )
    write_json(RESULTS / "scope.json", result)


if __name__ == "__main__":
    main()
